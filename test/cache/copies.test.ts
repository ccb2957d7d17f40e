import { createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import { deriveKeys } from '../../src/secrets/keys.js'
import { CopyMac, type CopyPlace } from '../../src/cache/copy-mac.js'
import { DatabaseClock } from '../../src/cluster/database-clock.js'
import { encodeRecord } from '../../src/cache/session-codec.js'
import { connectRedis } from '../../src/redis/redis.js'
import { findSession } from '../../src/session/store.js'
import {
  build,
  redisUrl,
  sessionState,
  signIn,
  signUp,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { TestClock } from '../support/clock.js'
import { counting } from '../support/count.js'
import { until } from '../support/poll.js'

const onlyWithRedis =
  storage === 'postgres' ? {} : { skip: 'the embedded store has no shared cache' }

const keys = deriveKeys('a secret of these tests alone, of 32 bytes or more', [
  'the secret that it had before, of 32 bytes or more'
])
const place: CopyPlace = {
  kind: 'copy',
  storeId: 'store',
  sessionId: 'session',
  version: 3,
  stamp: 'history'
}

t.test('S9: the MAC is HMAC-SHA256, and covers all that a text is about', async (t) => {
  const mac = new CopyMac(keys.all)
  for (const text of ['["a"]', '["浏览器"]', 'x'.repeat(10_000)]) {
    const sealed = mac.seal(place, text)
    const expected = createHmac('sha256', keys.copies)
      .update(`copy\nstore\nsession\n3\nhistory\n${keys.id}\n${text}`)
      .digest('base64url')
    t.equal(sealed, `${keys.id}.${expected.slice(0, 22)}.${text}`)
    t.equal(mac.open(place, sealed), text)
    const others: Partial<CopyPlace>[] = [
      { kind: 'tombstone' },
      { storeId: 'other' },
      { sessionId: 'other' },
      { version: 4 },
      { version: NaN },
      { stamp: 'other' }
    ]
    for (const other of others)
      t.equal(mac.open({ ...place, ...other }, sealed), null, JSON.stringify(other))
    for (let at = 0; at < Math.min(sealed.length, 40); at++) {
      if (at === 8) continue // the dot after the key id, which is not compared
      t.equal(
        mac.open(
          place,
          `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`
        ),
        null,
        `character ${at}`
      )
    }
  }
  for (const text of ['', '[]', '[1,60000]', 'signed_out', `${keys.id}.`, `${keys.id}..signed_out`])
    t.equal(mac.open(place, text), null, text)
})

t.test(
  'S9: copies made with the previous secret count, and those of a stranger do not',
  async (t) => {
    const previous = keys.all[1]
    if (!previous) throw new Error('there is no previous secret')
    const sealed = new CopyMac([previous]).seal(place, 'text')
    t.equal(new CopyMac(keys.all).open(place, sealed), 'text')
    t.equal(new CopyMac([keys]).open(place, sealed), null)
    t.match(
      new CopyMac(keys.all).seal(place, 'text'),
      keys.id,
      'new ones are made with the current one'
    )
  }
)

t.test("S9: the database's clock is known within bounds that all answers agree on", async (t) => {
  const clock = new TestClock()
  const database = new DatabaseClock(clock)
  const aheadMs = 3_600_000
  const note = (tookMs: number, ahead = aheadMs) =>
    database.note(new Date(clock.now() + ahead), clock.monotonic() - tookMs)
  /** The bounds, less what the database's clock shows. */
  const bounds = (ahead = aheadMs) =>
    [database.earliest(clock.monotonic()), database.latest(clock.monotonic())].map((bound) =>
      bound === null ? null : Math.round(bound - clock.now() - ahead)
    )
  t.strictSame(bounds(), [null, null], 'before the first answer')
  note(500)
  t.strictSame(bounds(), [0, 501], 'a late answer may be as old as its question')
  note(0)
  t.strictSame(bounds(), [0, 1])
  note(500)
  t.strictSame(bounds(), [0, 1], 'a slow answer makes nothing worse')
  clock.advance(1_000)
  t.strictSame(bounds(), [-50, 51], 'clocks drift')
  note(0, 0)
  t.strictSame(bounds(0), [0, 1], 'a clock that was set is believed')
})

t.test("S9: the database's clock is unknown once this machine's was set", async (t) => {
  for (const [ms, isKnown] of [
    [100, true],
    [101, false],
    [-101, false]
  ] as const) {
    const clock = new TestClock()
    const database = new DatabaseClock(clock)
    database.note(new Date(), clock.monotonic())
    clock.set(ms)
    t.equal(database.latest(clock.monotonic()) !== null, isKnown, `${ms} ms`)
    database.note(new Date(), clock.monotonic())
    t.not(database.latest(clock.monotonic()), null, 'until the next answer')
  }
})

/** Reads and writes a session's entry as an attacker who can write to Redis. */
async function intruder(t: Test, { app }: Running) {
  const redis = connectRedis(redisUrl, { enableOfflineQueue: true, commandTimeout: 5_000 })
  t.teardown(() => redis.disconnect())
  const keyOf = ({ sessionId }: Pick<Person, 'sessionId'>) =>
    `holdfast:${app.holdfast.storeId()}:{${sessionId}}:session`
  return {
    redis,
    keyOf,
    read: (person: Person): Promise<Record<string, string>> => redis.hgetall(keyOf(person)),
    write: async (person: Person, fields: Record<string, string | number>): Promise<void> => {
      await redis.del(keyOf(person))
      await redis.hset(keyOf(person), fields)
    }
  }
}

async function shownTo({ url }: Running, { bearer }: Person): Promise<string> {
  const response = await fetch(`${url}/session`, { headers: { authorization: `Bearer ${bearer}` } })
  const body = (await response.json()) as { cause?: string; user?: { id: string; roles: string[] } }
  return body.user
    ? `${body.user.id} ${body.user.roles.join()}`
    : `${response.status} ${body.cause}`
}

/** Waits until Redis answers instead of the store. */
async function warm(running: Running, person: Person): Promise<void> {
  await until(
    'the cache to answer',
    async () => (await counting(() => shownTo(running, person))).queries === 0
  )
}

t.test(
  'S9: an attacker who can write to Redis gets no other user or role, and signs no user out',
  onlyWithRedis,
  async (t) => {
    const running = await build(t, { localCache: false })
    const { counters, prisma } = running.app.holdfast
    const [ada, eve] = [await signUp(running.url), await signUp(running.url)]
    await warm(running, ada)
    await warm(running, eve)
    const { redis, keyOf, read, write } = await intruder(t, running)
    const [hers, own] = [await read(ada), await read(eve)]
    const [body = '', ownBody = ''] = [hers['body'], own['body']]
    const record = await findSession(prisma, ada.sessionId)
    if (!record?.user) throw new Error('no record')
    const admin = encodeRecord({ ...record, user: { ...record.user, role: 'admin' } }, 60_000)
    const strange = new CopyMac(keys.all)
    const thatPlace: CopyPlace = {
      kind: 'copy',
      storeId: running.app.holdfast.storeId() ?? '',
      sessionId: ada.sessionId,
      version: Number(hers['v']),
      stamp: hers['stamp'] ?? ''
    }
    const forgeries: [what: string, fields: Record<string, string>][] = [
      ['a copy without a MAC', { ...hers, body: admin }],
      ['a copy with the MAC of another text', { ...hers, body: body.slice(0, 32) + admin }],
      ['a role that was changed in it', { ...hers, body: body.replace('"user"', '"admin"') }],
      ['a copy that a stranger has sealed', { ...hers, body: strange.seal(thatPlace, admin) }],
      ['the copy of another session', { ...hers, body: ownBody }],
      ['another version', { ...hers, v: String(Number(hers['v']) + 1) }],
      ['"there is no such session", as version 0.1 said it', { ...hers, v: '0', body: '' }],
      [
        '"there is no such session", made up',
        { ...hers, v: '0', body: `${body.slice(0, 32)}[2,5000,${Date.now()}]` }
      ],
      ['a tombstone without a MAC', { v: '99', tomb: 'signed_out' }],
      ['a tombstone without a version', { tomb: 'user_banned' }],
      ['a tombstone with the MAC of a copy', { v: hers['v'] ?? '', tomb: body }],
      ['a version that is none', { ...hers, v: 'x' }],
      ['nothing but a version', { v: '1', stamp: hers['stamp'] ?? '' }]
    ]
    for (const [what, fields] of forgeries) {
      const before = counters.copiesRefused.forged
      await write(ada, fields)
      const counts = await counting(async () => {
        t.equal(await shownTo(running, ada), `${ada.id} user`, what)
      })
      t.equal(counts.queries, 1, `${what}: the store is asked`)
      // A busy node that loses its lease for a moment asks the store at once.
      if (counters.copiesRefused.forged === before) t.comment(`${what}: not looked at`)
    }
    t.ok(counters.copiesRefused.forged > 0)
    await redis.del(keyOf(ada))
    await redis.set(keyOf(ada), 'no hash')
    t.equal(await shownTo(running, ada), `${ada.id} user`, 'a key of another type')
    await until(
      'the cache to be mended',
      async () => (await counting(() => shownTo(running, ada))).queries === 0
    )
    await redis.set(keyOf(eve), 'no hash')
    t.equal(
      (await ada.browser.post('/api/auth/update-user', { name: 'Ada' })).headers.get(
        'session-revocation'
      ),
      null
    )
    t.equal(
      (await eve.browser.post('/api/auth/update-user', { name: 'Eve' })).headers.get(
        'session-revocation'
      ),
      null,
      'a change is confirmed all the same'
    )

    const warnings = running.log.filter((line) => line.includes("none of this store's nodes"))
    t.equal(warnings.length, 1, 'it is said once')
    const metrics = await (await fetch(`${running.url}/metrics`)).text()
    t.match(
      metrics,
      new RegExp(
        `^holdfast_copies_refused_total\\{why="forged"\\} ${counters.copiesRefused.forged}$`,
        'm'
      )
    )
  }
)

t.test(
  'S9: a copy that an attacker writes back lives no longer than it would have',
  onlyWithRedis,
  async (t) => {
    const running = await build(t, { localCache: false, cacheTtlSeconds: 3 })
    const { counters } = running.app.holdfast
    const ada = await signUp(running.url)
    const phone = await signIn(running.url, ada.email)
    const { read, write, redis, keyOf } = await intruder(t, running)
    const copyOf = (person: Person) =>
      until('a copy to be there', async () => {
        await shownTo(running, person)
        const copy = await read(person)
        return copy['body'] === undefined ? null : copy
      })
    const kept = await copyOf(phone)
    t.match(kept, { body: /^[0-9a-f]{8}\.[\w-]{22}\.\[/ })

    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    await write(phone, kept)
    t.equal(
      await sessionState(phone.browser),
      '401 session_revoked',
      'a node that has heard of the end refuses older copies'
    )
    await until('the copy to be older than any may be', async () => {
      await write(phone, { ...kept, v: kept['v'] ?? '' })
      t.equal(await sessionState(phone.browser), '401 session_revoked')
      return counters.copiesRefused.old > 0
    })

    await redis.del(keyOf(ada))
    const copy = await copyOf(ada)
    const writtenBack = async () => {
      await write(ada, copy)
      const counts = await counting(() => shownTo(running, ada))
      return counts.queries
    }
    await until(
      'the copy to be too old, though Redis would keep it for ever',
      async () => (await writtenBack()) === 1 && counters.copiesRefused.old > 1
    )
    t.equal(await redis.pttl(keyOf(ada)), -1, 'nothing but its age speaks against it')
    await until('a warning that it was written back', async () => {
      await writtenBack()
      return running.log.some((line) => line.includes('older than any copy can be'))
    })
  }
)

t.test(
  'S9: a tombstone that this store has written answers without the store',
  onlyWithRedis,
  async (t) => {
    const running = await build(t, { localCache: false })
    const ada = await signUp(running.url)
    const phone = await signIn(running.url, ada.email)
    await warm(running, phone)
    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    t.match(await (await intruder(t, running)).read(phone), {
      tomb: /^[0-9a-f]{8}\.[\w-]{22}\.revoked_by_user$/
    })
    await until('an answer from Redis alone', async () => {
      const counts = await counting(async () => {
        t.equal(await shownTo(running, phone), '401 session_revoked')
      })
      return counts.queries === 0 && counts.commands === 1
    })
  }
)
