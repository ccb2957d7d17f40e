import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import {
  build,
  freshStore,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Running
} from '../support/server.js'
import { counting } from '../support/count.js'
import { until } from '../support/poll.js'
import { startRedis } from '../support/redis.js'
import { runCli, startServer } from '../support/server-process.js'

// Nodes that could not hear each other's revocations refuse to work on one store.
const skip =
  storage === 'embedded' && 'an embedded store has one process, which locks its directory'
const withoutRedis: HoldfastOptions = { redisUrl: undefined }

const beside = (one: Running, overrides: HoldfastOptions): HoldfastOptions => ({
  ...one.options,
  port: undefined,
  ...overrides
})

const check = async ({ url }: Running, bearer: string): Promise<number> => {
  const response = await fetch(`${url}/session`, { headers: { authorization: `Bearer ${bearer}` } })
  await response.text()
  return response.status
}

const warm = (running: Running, bearer: string) =>
  until(
    'the cache to answer',
    async () => (await counting(() => check(running, bearer))).queries === 0
  )

t.test('a node is refused beside one that would not hear it', { skip }, async (t) => {
  const shared = await build(t)
  const sole = await build(t, withoutRedis)
  const uncached = await build(t, { ...withoutRedis, localCache: false })
  const otherRedis = await startRedis()
  if (!otherRedis) throw new Error('redis-server is not on the PATH')
  t.teardown(() => otherRedis.stop())
  const pairs: [first: Running, second: HoldfastOptions, refusal: RegExp][] = [
    [
      shared,
      withoutRedis,
      /^REDIS_URL: another node is at work on this store with Redis, and would not hear/
    ],
    [
      shared,
      { ...withoutRedis, localCache: false },
      /^REDIS_URL: another node is at work on this store with Redis, and would not hear/
    ],
    [shared, { nodeLeaseMs: 2_000 }, /^NODE_LEASE_MS: is 2000, and 1000 on a node that is at work/],
    [
      shared,
      { cacheTtlSeconds: 30 },
      /^CACHE_TTL_SECONDS: is 30, and 60 on a node that is at work/
    ],
    [
      shared,
      { redisUrl: otherRedis.url },
      /^REDIS_URL: names another Redis than the nodes that are at work/
    ],
    [
      sole,
      withoutRedis,
      /^REDIS_URL: another node is at work on this store: several need the same REDIS_URL, or LOCAL_CACHE=off/
    ],
    [
      sole,
      { redisUrl: shared.options.redisUrl },
      /^REDIS_URL: another node is at work on this store without Redis/
    ],
    [
      uncached,
      { redisUrl: shared.options.redisUrl },
      /^REDIS_URL: another node is at work on this store without Redis/
    ],
    [
      uncached,
      { localCache: true },
      /^REDIS_URL: another node is at work on this store: several need/
    ]
  ]
  await Promise.all(
    pairs.map(async ([first, second, refusal]) => {
      await t.rejects(
        start(t, beside(first, second)),
        { name: 'ConfigError', message: refusal },
        String(refusal)
      )
    })
  )
  await start(t, beside(uncached, {}))
  await start(t, beside(shared, { localCache: false }))
  for (const running of [shared, sole, uncached])
    t.equal(
      await check(running, (await signUp(running.url)).bearer),
      200,
      'the first server continues to work'
    )
})

t.test(
  'the only node without Redis has a cache, and its killed predecessor is waited for',
  { skip },
  async (t) => {
    const options = await freshStore(t)
    const { redisUrl: _redisUrl, ...alone } = options
    const first = await startServer(t, alone)
    const ada = await signUp(first.url)
    await first.kill('SIGKILL')
    const killed = performance.now()
    const second = await start(t, { rateLimit: false, ...alone })
    await until('the second to serve', async () => (await check(second, ada.bearer)) === 200)
    t.ok(
      performance.now() - killed > 3_500,
      'the start waited for the row of the killed server to expire'
    )
    await warm(second, ada.bearer)
    const phone = await signIn(second.url, ada.email)
    await warm(second, phone.bearer)
    await second.app.holdfast.revoker.revoke([phone.sessionId], null, 'revoked_by_operator')
    t.equal(await check(second, phone.bearer), 401)
  }
)

t.test(
  'without its registration a node answers from no cache, and promises nothing alone',
  { skip },
  async (t) => {
    const running = await build(t, withoutRedis)
    const { prisma } = running.app.holdfast
    const ada = await signUp(running.url)
    await warm(running, ada.bearer)
    // As if it had been paused until its row expired, and a node of another mode had registered.
    await prisma.$transaction([
      prisma.$executeRaw`DELETE FROM "node"`,
      prisma.$executeRaw`
      INSERT INTO "node" ("id", "mode", "leaseMs", "cacheTtlSeconds", "startedAt", "renewedAt", "expiresAt")
      VALUES (${randomUUID()}, 'shared', 1000, 60, now(), now(), now() + interval '1 hour')`
    ])
    // Several checks must all ask the store, because a single query may be a batch of notes of use.
    await until(
      'its right to have ended',
      async () =>
        (
          await counting(async () => {
            for (let i = 0; i < 5; i++) await check(running, ada.bearer)
          })
        ).queries >= 5
    )
    t.match(
      running.log.join(''),
      /the caches are off, for this node has lost its registration: REDIS_URL: another node/
    )
    const phone = await signIn(running.url, ada.email)
    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 202)
    await prisma.$executeRaw`DELETE FROM "node" WHERE "mode" = 'shared'`
    await warm(running, ada.bearer)
    await until(
      'the pending revocation to be confirmed',
      async () => (await prisma.outbox.count({ where: { doneAt: null } })) === 0
    )
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

t.test(
  'the command line without Redis reports what a running node has confirmed',
  { skip },
  async (t) => {
    const one = await build(t)
    const two = await start(t, beside(one, {}))
    const ada = await signUp(one.url)
    for (const running of [one, two]) await warm(running, ada.bearer)
    const { redisUrl: _redisUrl, ...options } = one.options
    const run = runCli(t, ['session', 'revoke', ada.sessionId], { ...options, baseUrl: one.url })
    t.equal(await run.exited, 0, run.stderr)
    t.strictSame(
      JSON.parse(run.stdout),
      { revoked: 1 },
      'the revocation is final, so there is no effective_by'
    )
    for (const running of [one, two]) t.equal(await check(running, ada.bearer), 401)
  }
)

t.test('nodes find each other by the store, whatever their secrets', { skip }, async (t) => {
  const one = await build(t)
  const storeId = one.app.holdfast.storeId()
  t.match(storeId, /^[\w-]{12}$/)
  const two = await start(t, beside(one, {}))
  t.equal(two.app.holdfast.storeId(), storeId)
  const other = await build(t)
  t.not(other.app.holdfast.storeId(), storeId)
})
