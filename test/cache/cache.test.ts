import t from 'tap'
import { systemClock } from '../../src/clock.js'
import { Counters } from '../../src/counters.js'
import { DatabaseClock } from '../../src/cluster/database-clock.js'
import { decodeCopy, encodeRecord, encodeUnknown } from '../../src/cache/session-codec.js'
import { isRevoked } from '../../src/cache/store-lookup.js'
import { LocalCache } from '../../src/cache/local-cache.js'
import { connectRedis } from '../../src/redis/redis.js'
import { SessionCache } from '../../src/cache/session-cache.js'
import {
  build,
  redisUrl,
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
import type { SessionRecord, SessionRow, UserRow } from '../../src/session/session.js'

const onlyWithRedis =
  storage === 'postgres' ? {} : { skip: 'the embedded store has no shared cache' }

/** Waits until the server answers a repeated check without a query. */
async function warm(running: Running, bearer: string): Promise<void> {
  await until(
    'the cache to answer',
    async () => (await counting(() => check(running, bearer))).queries === 0
  )
}

async function check({ url }: Running, bearer: string): Promise<number> {
  const response = await fetch(`${url}/session`, { headers: { authorization: `Bearer ${bearer}` } })
  await response.text()
  return response.status
}

t.test('a check of a session that this process knows does no I/O', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  await warm(running, ada.bearer)
  const counts = await counting(async () => {
    for (let i = 0; i < 50; i++) t.equal(await check(running, ada.bearer), 200)
  })
  t.strictSame(counts, { queries: 0, commands: 0 })
})

t.test('without the local cache it is one command to Redis', onlyWithRedis, async (t) => {
  const running = await build(t, { localCache: false })
  const ada = await signUp(running.url)
  await warm(running, ada.bearer)
  const counts = await counting(async () => {
    for (let i = 0; i < 20; i++) await check(running, ada.bearer)
  })
  t.strictSame(counts, { queries: 0, commands: 20 })
})

t.test(
  'a thousand simultaneous checks of one uncached session cost two reads at most',
  async (t) => {
    const running = await build(t)
    const ada = await signUp(running.url)
    const phone = await signIn(running.url, ada.email)
    await warm(running, ada.bearer)
    const other = await start(t, { ...running.options, port: undefined }).catch(() => running)
    await until(
      'the lease',
      async () => (await counting(() => check(other, ada.bearer))).queries === 0
    )
    const { reader } = other.app.holdfast
    const counts = await counting(() =>
      Promise.all(
        Array.from({ length: 1000 }, async () => {
          const { active } = await reader.check({ kind: 'signed', value: phone.bearer })
          if (!active) t.fail('a valid session was refused')
        })
      )
    )
    t.ok(counts.queries <= 2, `${counts.queries} queries`)
  }
)

t.test('garbage costs no I/O', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  const [token = '', signature = ''] = ada.bearer.split('.')
  const flipped = token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A')
  const garbage = [
    'hst1_',
    `${token}.`,
    token,
    `${flipped}.${signature}`,
    `${token}.${signature.slice(2)}AA`,
    `hst1_${'A'.repeat(72)}.${signature}`
  ]
  const counts = await counting(async () => {
    for (const bearer of garbage) t.equal(await check(running, bearer), 401)
  })
  t.strictSame(counts, { queries: 0, commands: 0 })
})

t.test(
  'while Redis is away every session stays valid, and the cache comes back by itself',
  onlyWithRedis,
  async (t) => {
    const redis = await startRedis()
    if (!redis) throw new Error('redis-server is not on the PATH')
    t.teardown(() => redis.stop())
    const running = await build(t, { redisUrl: redis.url })
    const ada = await signUp(running.url)
    await warm(running, ada.bearer)

    await redis.stop()
    for (let i = 0; i < 20; i++) t.equal(await sessionState(ada.browser), 'valid')
    const gone = await signIn(running.url, ada.email)
    const response = await ada.browser.delete(`/sessions/${gone.sessionId}`)
    t.equal(response.status, 202, 'the answer says that the revocation is not final on all nodes')
    const body = (await response.json()) as { revoked: number; effective_by: string }
    t.equal(body.revoked, 1)
    t.ok(new Date(body.effective_by).getTime() > Date.now())
    t.equal(
      await sessionState(gone.browser),
      '401 session_revoked',
      'the session has ended on this node'
    )
    const second = await signIn(running.url, ada.email)
    const signedOut = await second.browser.post('/api/auth/sign-out')
    t.match(signedOut.headers.get('session-revocation'), /^pending; effective-by="[^"]+"$/)

    await redis.start()
    await until(
      'the outbox to be relayed',
      async () =>
        (await running.app.holdfast.prisma.outbox.count({ where: { doneAt: null } })) === 0
    )
    await warm(running, ada.bearer)
    await redis.flush()
    for (let i = 0; i < 20; i++)
      t.equal(await sessionState(ada.browser), 'valid', 'the session is still valid after a flush')
    await warm(running, ada.bearer)
  }
)

t.test(
  'two servers: what one revokes or changes the other knows at once',
  onlyWithRedis,
  async (t) => {
    const one = await build(t)
    const two = await start(t, { ...one.options, port: undefined })
    const ada = await signUp(one.url)
    for (let round = 0; round < 10; round++) {
      const phone = await signIn(one.url, ada.email)
      await warm(one, phone.bearer)
      await warm(two, phone.bearer)
      await ada.browser.post('/api/auth/update-user', { name: `Ada ${round}` })
      const shown = (await (
        await fetch(`${two.url}/session`, { headers: { authorization: `Bearer ${phone.bearer}` } })
      ).json()) as { user: { name: string } }
      t.equal(shown.user.name, `Ada ${round}`)
      t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
      t.equal(await check(two, phone.bearer), 401)
    }
  }
)

t.test(
  'a change is heard through the outbox behind any number of others',
  onlyWithRedis,
  async (t) => {
    const running = await build(t)
    const { prisma } = running.app.holdfast
    const ada = await signUp(running.url)
    await warm(running, ada.bearer)
    // By hand, so that only the outbox announces it.
    await prisma.$transaction([
      prisma.$executeRaw`
      INSERT INTO "outbox" ("sessionId", "version", "reason", "transactionId", "doneAt")
      SELECT 'other-' || n, 1, NULL, pg_current_xact_id()::text::bigint, clock_timestamp() FROM generate_series(1, 5500) n`,
      prisma.$executeRaw`UPDATE "session" SET "revokedAt" = clock_timestamp() WHERE "id" = ${ada.sessionId}`
    ])
    await until('the change to be heard', async () => (await check(running, ada.bearer)) === 401)
  }
)

t.test(
  'a foreign message on the channel of changes costs the lease for a moment, and nothing else',
  onlyWithRedis,
  async (t) => {
    const running = await build(t)
    const ada = await signUp(running.url)
    await warm(running, ada.bearer)
    const redis = connectRedis(redisUrl, { enableOfflineQueue: true })
    t.teardown(() => redis.disconnect())
    t.equal(
      await redis.publish(
        `holdfast:${running.app.holdfast.storeId()}:{nodes}:changes`,
        'not of ours'
      ),
      1
    )
    await until(
      'the local copies to be gone',
      async () => (await counting(() => check(running, ada.bearer))).commands > 0
    )
    await warm(running, ada.bearer)
  }
)

t.test(
  'an unreadable copy in Redis is a miss, and does not affect the others',
  onlyWithRedis,
  async (t) => {
    const running = await build(t, { localCache: false })
    const ada = await signUp(running.url)
    const phone = await signIn(running.url, ada.email)
    const redis = connectRedis(redisUrl, { enableOfflineQueue: true })
    t.teardown(() => redis.disconnect())
    for (const { bearer } of [ada, phone]) await warm(running, bearer)
    for (const body of ['{"a":', 'null', '[]', '7']) {
      await redis.hset(
        `holdfast:${running.app.holdfast.storeId()}:{${phone.sessionId}}:session`,
        'body',
        body
      )
      const counts = await counting(async () => {
        t.strictSame(
          await Promise.all([ada, phone].map(({ bearer }) => check(running, bearer))),
          [200, 200],
          body
        )
      })
      t.equal(counts.queries, 1)
    }
  }
)

t.test('a put replaces an older local copy for the time it has left, and makes none', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  const local = new LocalCache({ maxEntries: 10, maxBytes: 1e6 })
  let held = true
  const cache = new SessionCache({
    db: running.app.holdfast.prisma,
    cacheLease: { isHeld: () => held, epoch: 0, stamp: '' },
    local,
    shared: null,
    ttlMs: 60_000,
    counters: new Counters(),
    clock: systemClock,
    databaseClock: new DatabaseClock(systemClock),
    onWarning: () => {}
  })
  const shown = () => local.find(ada.sessionId, performance.now())
  const read = await cache.find({ sessionId: ada.sessionId, fits: () => true })
  if (read === null || isRevoked(read)) throw new Error('no record')
  const { version } = read.session
  const written = (ahead: number): SessionRecord => ({
    ...read,
    session: { ...read.session, version: version + ahead, name: `write ${ahead}` }
  })
  const before = shown()
  for (const ahead of [2, 1, 0]) cache.put(written(ahead))
  t.equal(shown()?.record.session.name, 'write 2', 'an older version does not replace it')
  t.equal(shown()?.freshUntil, before?.freshUntil)
  held = false
  cache.put(written(3))
  t.equal(shown()?.record.session.name, 'write 2', 'nothing is replaced without the lease')
  held = true
  cache.invalidate([{ sessionId: ada.sessionId, version: version + 5 }])
  for (const ahead of [4, 6]) cache.put(written(ahead))
  t.equal(shown(), null, 'put does not create a copy')
})

const then = new Date('2026-01-02T03:04:05.678Z')
const copyOf = (id: string) => encodeRecord(recordWith({ id }), 60_000)

function recordWith(overrides: Partial<SessionRow>): SessionRecord {
  const session: SessionRow = {
    id: 'a',
    token: 'h1_x',
    userId: 'u',
    issuedAt: then,
    updatedAt: then,
    expiresAt: then,
    absoluteExpiresAt: then,
    revokedAt: null,
    revokedReason: null,
    version: 3,
    ipAddress: null,
    userAgent: 'a "browser", 浏览器',
    name: null,
    lastSeenAt: then,
    amr: ['pwd', 'otp'],
    authTime: then,
    impersonatedBy: null,
    clientId: 'holdfast',
    ...overrides
  }
  const user: UserRow = {
    id: 'u',
    name: 'Ada',
    email: 'ada@example.com',
    emailVerified: true,
    image: null,
    role: 'user,admin',
    banned: true,
    banReason: 'a reason',
    banExpires: then,
    twoFactorEnabled: null,
    credentialEpoch: 7,
    createdAt: then,
    updatedAt: then
  }
  return { session, user, now: then }
}

t.test('a copy reads as it was written', (t) => {
  for (const record of [
    recordWith({}),
    recordWith({
      revokedAt: then,
      revokedReason: 'signed_out',
      ipAddress: '::1',
      name: 'phone',
      impersonatedBy: 'admin'
    }),
    { ...recordWith({}), user: null }
  ]) {
    t.strictSame(decodeCopy('a', encodeRecord(record, 59_000)), {
      record,
      livesMs: 59_000,
      readAt: then.getTime()
    })
  }
  t.strictSame(decodeCopy('a', encodeUnknown(7, 5_000)), {
    record: null,
    livesMs: 5_000,
    readAt: 7
  })
  t.equal(decodeCopy('a', '{"session":{}}'), null, 'a copy in an unknown form is ignored')
  t.equal(decodeCopy('a', '[0]'), null)
  t.end()
})

t.test(
  'a local cache in which all is in use drops the oldest, and keeps the newcomer',
  async (t) => {
    const cache = new LocalCache({ maxEntries: 3, maxBytes: 1e9 })
    const set = (id: string) => cache.set(id, { text: copyOf(id), readAt: 0, freshUntil: 100 })
    for (const id of ['a', 'b', 'c']) set(id)
    for (const id of ['a', 'b', 'c']) t.ok(cache.find(id, 1))
    set('d')
    t.ok(cache.find('d', 1))
    t.equal(cache.find('a', 1), null)
    t.equal(cache.size, 3)
  }
)

t.test('checks that share a read share nothing that a caller could change', async (t) => {
  const running = await build(t, { localCache: false })
  const ada = await signUp(running.url)
  const { reader } = running.app.holdfast
  const credential = { kind: 'signed', value: ada.bearer } as const
  const [one, other] = await Promise.all([reader.check(credential), reader.check(credential)])
  if (!one.active || !other.active) throw new Error('the session is active')
  one.session.amr.push('changed')
  one.user.roles.push('changed')
  t.notOk(other.session.amr.includes('changed') || other.user.roles.includes('changed'))
})

t.test('the local cache is bounded by entries and by bytes', (t) => {
  const few = new LocalCache({ maxEntries: 3, maxBytes: 1e9 })
  for (const id of ['a', 'b', 'c']) few.set(id, { text: copyOf(id), readAt: 0, freshUntil: 100 })
  t.ok(few.find('a', 1))
  few.set('d', { text: copyOf('d'), readAt: 0, freshUntil: 100 })
  t.strictSame(
    ['a', 'b', 'c', 'd'].map((id) => few.find(id, 1) !== null),
    [true, false, true, true],
    'the least recently used entry is evicted first'
  )
  t.equal(few.find('a', 100), null, 'an expired entry is gone')

  const small = new LocalCache({ maxEntries: 1000, maxBytes: 5_000 })
  for (let i = 0; i < 100; i++)
    small.set(`session ${i}`, { text: copyOf(`session ${i}`), readAt: 0, freshUntil: 100 })
  t.ok(small.bytes <= 5_000 && small.size > 2 && small.size < 10)
  small.clear()
  t.equal(small.bytes, 0)
  t.end()
})
