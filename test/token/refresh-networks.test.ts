import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'
import { migrate } from '../../src/database/migrate.js'
import type { PrismaClient } from '../../src/database/database.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import {
  elapse,
  generationOf,
  makeFamilies,
  makeFamily,
  outcomeOf,
  refresh,
  type TestFamily
} from '../support/refresh-fixtures.js'
import { authSecret, build, start, storage } from '../support/server.js'
import { until } from '../support/poll.js'
import { createPostgres, findPostgresPrograms } from '../support/postgres.js'
import { startServer, type ServerProcess } from '../support/server-process.js'

t.test(
  '64 refreshes of one token at once, on all nodes: one generation, one successor, 64 equal answers',
  async (t) => {
    const first = await build(t)
    const { port: _port, ...store } = first.options
    const nodes =
      storage === 'embedded' ? [first] : [first, await start(t, store), await start(t, store)]
    const { sessionId, refreshToken } = await makeFamily(first)
    const answers = await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        refresh(nodes[i % nodes.length]?.url ?? '', refreshToken)
      )
    )
    t.strictSame([...new Set(answers.map(outcomeOf))], ['200'])
    t.equal(new Set(answers.map(({ body }) => body.refresh_token)).size, 1)
    t.strictSame(
      [...new Set(answers.map(({ body }) => `${body.token_type} ${body.session_id}`))],
      [`Bearer ${sessionId}`]
    )
    t.strictSame([...new Set(answers.map(({ body }) => claimsOf(body.access_token).gen))], [1])
    const row = await first.app.holdfast.prisma.session.findUniqueOrThrow({
      where: { id: sessionId }
    })
    t.equal(row.refreshGeneration, 1)
    t.equal(row.replayCount, 63)
    t.equal(
      await first.app.holdfast.prisma.sessionEvent.count({
        where: { sessionId, type: 'refresh_replayed' }
      }),
      1,
      'one event covers any number of replays'
    )
  }
)

t.test('an answer that is cut off on the wire, and asked for again', async (t) => {
  const running = await build(t)
  const { prisma } = running.app.holdfast
  const cases: [seconds: number, key: string | undefined, outcome: string][] = [
    [5, undefined, '200'],
    [29, undefined, '200'],
    [3_600, undefined, '400 invalid_grant refresh_reused'],
    [3_600, 'attempt-0001', '200']
  ]
  for (const [seconds, key, outcome] of cases) {
    const { sessionId, refreshToken } = await makeFamily(running)
    const line = await TcpProxy.to(Number(new URL(running.url).port))
    line.watch((_text, direction) => (direction === 'toClient' ? 'hold' : 'pass'))
    const lost = refresh(
      `http://127.0.0.1:${line.port}`,
      refreshToken,
      key === undefined ? {} : { key }
    )
    lost.catch(() => {})
    await until('the answer to be on its way', () => line.held > 0)
    await line.close()
    await t.rejects(lost, 'the answer does not reach the client')
    const { refreshHash } = await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
    await elapse(prisma, sessionId, seconds)
    const again = await refresh(running.url, refreshToken, key === undefined ? {} : { key })
    t.equal(outcomeOf(again), outcome, `${seconds} s later ${key ? 'with' : 'without'} a key`)
    const row = await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
    t.equal(row.refreshGeneration, 1)
    if (again.status === 200) {
      t.equal(row.refreshHash, refreshHash, 'the stored hash has not changed')
      t.equal(
        (await refresh(running.url, again.body.refresh_token)).status,
        200,
        'the client can refresh again'
      )
    } else t.equal(row.revokedReason, 'refresh_reused')
  }
})

const KILLED_REFRESHES = 1_000
/**
 * How many refreshes in each round lose the answer to the client, and how many the database's
 * answer to the server.
 */
const [ON_THE_WAY_OUT, ON_THE_WAY_IN] = [280, 60]
const programs = findPostgresPrograms()
const withoutPostgres =
  storage === 'embedded'
    ? 'the wire to the embedded store cannot be watched'
    : programs
      ? false
      : "PostgreSQL's programs are not installed"

t.test(
  `kill -9 between commit and answer, ${KILLED_REFRESHES} times: the client's retry succeeds`,
  { skip: withoutPostgres, timeout: 115_000 },
  async (t) => {
    if (!programs) return
    const postgres = await createPostgres(programs, { maxConnections: 2 * ON_THE_WAY_IN })
    t.teardown(() => postgres.remove())
    await postgres.start()
    const { prisma } = await openStore(t, postgres.url)
    const line = await TcpProxy.to(Number(new URL(postgres.url).port))
    t.teardown(() => line.close())
    const databaseUrl = new URL(postgres.url)
    databaseUrl.port = String(line.port)
    const options = { databaseUrl: databaseUrl.href, authSecret, databasePoolSize: ON_THE_WAY_IN }
    let killed = 0
    let interrupted: TestFamily[] = []
    while (killed < KILLED_REFRESHES) {
      const server = await startServer(t, options)
      await retry(t, server.url, interrupted)
      interrupted = await interrupt(t, prisma, server, line)
      killed += interrupted.length
    }
    await retry(t, (await startServer(t, options)).url, interrupted)
    t.comment(`${killed} refreshes were killed between commit and answer`)
    t.equal(
      await prisma.session.count({ where: { revokedAt: { not: null } } }),
      0,
      'no session was revoked'
    )
  }
)

/**
 * Kills a server after refreshes are committed and before they are answered.
 *
 * @returns their families
 */
async function interrupt(
  t: Test,
  prisma: PrismaClient,
  server: ServerProcess,
  toDatabase: TcpProxy
): Promise<TestFamily[]> {
  const families = await makeFamilies(prisma, authSecret, ON_THE_WAY_OUT + ON_THE_WAY_IN)
  const toClients = await TcpProxy.to(Number(new URL(server.url).port))
  t.teardown(() => toClients.close())
  toClients.watch((_text, direction) => (direction === 'toClient' ? 'hold' : 'pass'))
  const ask = (some: TestFamily[]) =>
    some.map(({ refreshToken }) =>
      refresh(`http://127.0.0.1:${toClients.port}`, refreshToken).then(
        () => 'answered',
        () => 'not answered'
      )
    )
  const first = ask(families.slice(0, ON_THE_WAY_OUT))
  // A small machine answers 503 to requests whose turn comes too late. They are not counted, unless
  // they are the majority.
  await until(
    'answers to be on their way',
    async () => (await committed(prisma, families)).size >= ON_THE_WAY_OUT - 10,
    2_500
  ).catch(() => {})
  toDatabase.watch((text, direction, wire) => {
    if (direction === 'toServer') wire.marked = text.includes('rotated AS')
    return direction === 'toClient' && wire.marked ? 'hold' : 'pass'
  })
  const second = ask(families.slice(ON_THE_WAY_OUT))
  // The server gives a statement up after 1.5 s.
  await until(
    'commits to be on their way',
    async () => (await committed(prisma, families)).size >= families.length - 20,
    1_300
  ).catch(() => {})
  await server.kill('SIGKILL')
  toDatabase.release()
  t.strictSame([...new Set(await Promise.all([...first, ...second]))], ['not answered'])
  const ids = await committed(prisma, families)
  t.ok(
    ids.size > families.length / 3,
    `${ids.size} of ${families.length} refreshes of a crowd are committed`
  )
  return families.filter(({ sessionId }) => ids.has(sessionId))
}

/** Retries, as clients do that got no answer, or a 503. Each gets what was committed. */
async function retry(t: Test, url: string, families: TestFamily[]): Promise<void> {
  const answers = await Promise.all(
    families.map(({ refreshToken }) =>
      until('an answer', async () => {
        const answer = await refresh(url, refreshToken)
        if (answer.status !== 503) return answer
        // Hundreds of clients that do not wait would keep a small machine from ever answering.
        await sleep(200 + 300 * Math.random())
        throw new Error(`answered 503: ${JSON.stringify(answer.body)}`)
      })
    )
  )
  t.strictSame(answers.filter(({ status }) => status !== 200).map(outcomeOf), [])
  t.ok(answers.every(({ body }) => generationOf(body.refresh_token) === 1))
}

async function committed(prisma: PrismaClient, families: TestFamily[]): Promise<Set<string>> {
  const rows = await prisma.session.findMany({
    where: { id: { in: families.map(({ sessionId }) => sessionId) }, refreshGeneration: 1 },
    select: { id: true }
  })
  return new Set(rows.map(({ id }) => id))
}

async function openStore(t: Test, databaseUrl: string) {
  const options: HoldfastOptions = { databaseUrl, authSecret, baseUrl: 'http://localhost:3000' }
  const database = await openDatabase(resolveConfig(options), { onWarning: () => {} })
  t.teardown(() => database.close())
  await migrate(database)
  return database
}

function claimsOf(accessToken: string): { gen: number } {
  return JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()) as {
    gen: number
  }
}
