import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { GrowingPool, type GrowingPoolConfig } from '../../src/database/pool.js'
import { TcpProxy, type Wire } from '../support/tcp-proxy.js'
import { freshStore, storage } from '../support/server.js'
import { until } from '../support/poll.js'

const skip = storage === 'embedded' && 'embedded storage has one connection'
const SIZE = 20

t.test(
  'a crowd that comes at once: few connections are opened at a time and serve it, and more where those are busy',
  { skip },
  async (t) => {
    const { line, pool } = await openBehindLine(t, { openingMs: 60_000 })
    const opening = holdAnswers(line)
    const crowd = ask(pool, 'SELECT 1', 100)
    await until('connections to be opened', () => opening.size > 0)
    t.equal(pool.totalCount, 4)
    line.release()
    t.strictSame(await crowd, ['fulfilled'])

    const busy = ask(pool, 'SELECT pg_sleep(0.2)', 30)
    await until('the pool to grow', () => pool.totalCount === SIZE)
    t.strictSame(await busy, ['fulfilled'])
  }
)

t.test(
  'a distant database delays no caller: a connection that opens slowly does not keep others from being opened',
  { skip },
  async (t) => {
    const { line, pool } = await openBehindLine(t, {})
    const opening = holdAnswers(line)
    const crowd = ask(pool, 'SELECT pg_sleep(0.2)', SIZE)
    await until('connections to be opened beside those that are', () => opening.size >= 12)
    line.release()
    t.strictSame(await crowd, ['fulfilled'])
  }
)

t.test(
  'connections that are refused or not answered are given up, and block no later caller',
  { skip },
  async (t) => {
    const { line, pool } = await openBehindLine(t, {})
    line.cut()
    t.strictSame(await ask(pool, 'SELECT 1', 30), ['rejected'])
    line.mend()
    line.watch(() => 'hold')
    t.strictSame(await ask(pool, 'SELECT 1', 30), ['rejected'])
    line.release()
    t.strictSame(await ask(pool, 'SELECT 1', 30), ['fulfilled'])
    t.ok(pool.totalCount <= SIZE)
  }
)

t.test(
  'a connection that cannot even be begun is told of, and everybody is answered',
  { skip },
  async (t) => {
    const certificate = join(t.testdir(), 'ca.pem')
    writeFileSync(certificate, 'read anew for each connection')
    const { pool, line, errors } = await openBehindLine(t, {
      parameters: { sslmode: 'disable', sslrootcert: certificate }
    })
    const opening = holdAnswers(line)
    const crowd = Promise.allSettled(
      Array.from({ length: SIZE }, () => pool.query('SELECT pg_sleep(0.1)'))
    )
    await until('connections to be opened', () => opening.size > 0)
    rmSync(certificate)
    line.release()
    const answers = await crowd
    t.ok(
      answers.filter(({ status }) => status === 'fulfilled').length >= 4,
      'open connections still serve'
    )
    t.match(errors[0], { code: 'ENOENT' })
    // Where openings fail, the pool goes on to the next in pg's own callback.
    const cut = await openBehindLine(t, {
      parameters: { sslmode: 'disable', sslrootcert: certificate }
    })
    writeFileSync(certificate, 'here again')
    const begun = holdAnswers(cut.line)
    const refused = ask(cut.pool, 'SELECT 1', SIZE)
    await until('connections to be opened', () => begun.size > 0)
    rmSync(certificate)
    cut.line.cut()
    t.strictSame(await refused, ['rejected'])
    t.match(cut.errors[0], { code: 'ENOENT' })
    writeFileSync(certificate, 'and again')
    t.strictSame(await ask(pool, 'SELECT 1', 30), ['fulfilled'])
  }
)

/**
 * Holds all answers of the database.
 *
 * @returns the connections that have begun
 */
function holdAnswers(line: TcpProxy): ReadonlySet<Wire> {
  const opening = new Set<Wire>()
  line.watch((_text, direction, wire) => {
    opening.add(wire)
    return direction === 'toClient' ? 'hold' : 'pass'
  })
  return opening
}

/** The results of this many concurrent queries, in one word each. */
async function ask(pool: GrowingPool, sql: string, times: number): Promise<string[]> {
  const asked = await Promise.allSettled(Array.from({ length: times }, () => pool.query(sql)))
  return [...new Set(asked.map(({ status }) => status))]
}

/** Opens a pool on a database through a TCP proxy. */
async function openBehindLine(
  t: Test,
  {
    parameters = {},
    ...config
  }: Partial<GrowingPoolConfig> & { parameters?: Record<string, string> }
) {
  const { databaseUrl = '' } = await freshStore(t)
  const url = new URL(databaseUrl)
  const line = await TcpProxy.to(Number(url.port))
  t.teardown(() => line.close())
  url.port = String(line.port)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  const pool = new GrowingPool({
    connectionString: url.href,
    max: SIZE,
    maxWaitMs: 900,
    connectionTimeoutMillis: 900,
    ...config
  })
  const errors: Error[] = []
  pool.on('error', (error) => errors.push(error))
  t.teardown(() => pool.end())
  return { line, pool, errors }
}
