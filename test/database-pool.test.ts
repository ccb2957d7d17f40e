import t, { type Test } from 'tap'
import { resolveConfig } from '../src/config.js'
import { openDatabase } from '../src/holdfast.js'
import { Line, type Wire } from './consistency/line.js'
import { freshStore, storage } from './helper.js'
import { until } from './services/poll.js'

const skip = storage === 'embedded' && 'embedded storage has one connection'

t.test('a crowd that comes at once: few connections are opened at a time and serve it, and more where those are busy', { skip }, async (t) => {
  const { line, prisma, pool } = await openBehindLine(t, 20)
  const opening = new Set<Wire>()
  line.watch((_text, direction, wire) => {
    opening.add(wire)
    return direction === 'toClient' ? 'hold' : 'pass'
  })
  const crowd = Promise.all(Array.from({ length: 100 }, () => prisma.$queryRaw`SELECT 1`))
  await until('connections to be opened', () => opening.size === 4)
  t.equal(pool()?.total, 4)
  line.release()
  t.equal((await crowd).length, 100)

  const busy = Promise.all(Array.from({ length: 30 }, () => prisma.$queryRaw`SELECT pg_sleep(0.2)`))
  await until('the pool to grow', () => pool()?.total === 20)
  t.equal((await busy).length, 30)
  t.equal(pool()?.total, 20)
})

t.test('connections that are refused or not answered are given up, and keep nobody out later', { skip }, async (t) => {
  const { line, prisma, pool } = await openBehindLine(t, 20)
  const ask = async () => {
    const asked = await Promise.allSettled(Array.from({ length: 30 }, () => prisma.$queryRaw`SELECT 1`))
    return [...new Set(asked.map(({ status }) => status))]
  }
  line.cut()
  t.strictSame(await ask(), ['rejected'])
  line.mend()
  line.watch(() => 'hold')
  t.strictSame(await ask(), ['rejected'])
  line.release()
  t.strictSame(await ask(), ['fulfilled'])
  t.ok((pool()?.total ?? 0) <= 20)
})

/** Opens a store through a line, with so many connections at most. */
async function openBehindLine(t: Test, databasePoolSize: number) {
  const store = await freshStore(t)
  const databaseUrl = new URL(store.databaseUrl ?? '')
  const line = await Line.to(Number(databaseUrl.port))
  t.teardown(() => line.close())
  databaseUrl.port = String(line.port)
  const database = await openDatabase(resolveConfig({ ...store, databaseUrl: databaseUrl.href, databasePoolSize, baseUrl: 'http://localhost:3000' }), { onWarning: () => {} })
  t.teardown(() => database.close())
  return { line, prisma: database.prisma, pool: () => database.pool() }
}
