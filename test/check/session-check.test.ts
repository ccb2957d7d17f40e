import { gzipSync } from 'node:zlib'
import { Redis } from 'ioredis'
import t from 'tap'
import { accessTokenOf, makeDevices, type Device } from '../support/refresh-fixtures.js'
import type { HoldfastOptions } from '../../src/config.js'
import { mintSessionToken } from '../../src/session/session-token.js'
import {
  build,
  makeAdmin,
  redisUrl,
  signUp,
  start,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { counting as countingAll, GATEWAY_READS } from '../support/count.js'
import { until } from '../support/poll.js'

const counting = (work: () => Promise<unknown>) => countingAll(work, GATEWAY_READS)
const secret = 'a-secret-of-the-gateway-in-this-test'
const authorization = `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`
const settings = {
  gatewayClients: [`edge:${secret}`],
  accessTokenAudience: 'https://api.example.com'
}
const onlyWithRedis = { skip: storage === 'embedded' && 'the embedded store has no shared cache' }

const running = await build(t, settings)

interface Item {
  active: boolean
  cause?: string
  age_ms: number
  sub?: string
  sid?: string
  iss?: string
  aud?: string
  jti?: string
}
interface Answer {
  consistency: string
  checked_at: string
  results: Item[]
}

async function post(
  { url }: Running,
  body: unknown,
  query = ''
): Promise<{ status: number; answer: Answer }> {
  const response = await fetch(`${url}/sessions/check${query}`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  return { status: response.status, answer: (await response.json()) as Answer }
}

t.test('P12: a compressed question is 415, before and after the gateway is known', async (t) => {
  const json = { authorization, 'content-type': 'application/json' }
  for (const round of [1, 2]) {
    for (const [path, type, body] of [
      ['/sessions/check', 'application/json', '{"tokens":[]}'],
      ['/oauth2/introspect', 'application/x-www-form-urlencoded', 'token=x']
    ] as const) {
      const ask = async (headers: Record<string, string>, sent: BodyInit) =>
        (
          await fetch(running.url + path, {
            method: 'POST',
            headers: { ...json, 'content-type': type, ...headers },
            body: sent
          })
        ).status
      t.equal(
        await ask({ 'content-encoding': 'gzip' }, new Uint8Array(gzipSync(body))),
        415,
        `${path} ${round}`
      )
      t.equal(await ask({ 'content-encoding': 'identity' }, body), 200, `${path} ${round}`)
      t.equal(await ask({}, body), 200, `${path} ${round}`)
    }
  }
})

const checkAll = async (running: Running, tokens: string[], query = ''): Promise<Item[]> =>
  (await post(running, { tokens }, query)).answer.results

/** A user with that many sessions. */
async function devices(running: Running, count: number): Promise<[Person, ...Device[]]> {
  const ada = await signUp(running.url)
  return [ada, ...(await makeDevices(running, ada.id, count - 1))]
}

/** Waits until this node answers from its caches. */
async function warm(running: Running, { bearer }: Device): Promise<void> {
  await until(
    'the cache to answer',
    async () => (await counting(() => checkAll(running, [bearer]))).queries === 0
  )
}

// Tests that count queries and commands come first: a change that the outbox announces would be
// counted as well.
t.test('a thousand tokens cost one query, and then nothing', async (t) => {
  const people = await devices(running, 20)
  await warm(running, people[0])
  const strict = await counting(async () => {
    t.ok(
      (await checkAll(running, tokensOf(people), '?consistency=strict')).every(
        ({ active, age_ms: age }) => active && age === 0
      )
    )
  })
  t.match(strict, { queries: 1, commands: 0 })
  const known = await counting(async () => {
    t.ok((await checkAll(running, tokensOf(people))).every(({ active }) => active))
  })
  t.strictSame(known, { queries: 0, commands: 0 })
  const slow = await counting(async () => {
    const credentials = tokensOf(people).map(
      (token) =>
        ({
          kind: 'signed',
          get value() {
            return slowly(decodeURIComponent(token))
          }
        }) as const
    )
    t.ok(
      (await running.app.holdfast.reader.checkAll(credentials, { maxAgeMs: Infinity })).every(
        ({ check }) => check.active
      )
    )
    t.ok((await checkAll(running, tokensOf(people))).every(({ active }) => active))
  })
  t.strictSame(
    slow,
    { queries: 0, commands: 0 },
    'a slow batch is not mistaken for a clock change, which would cost the lease and all copies'
  )
  const garbage = await counting(async () => {
    t.ok(
      (
        await checkAll(
          running,
          Array.from({ length: 1000 }, (_, i) => `hst1_${i}`)
        )
      ).every(({ cause }) => cause === 'credential_malformed')
    )
  })
  t.strictSame(garbage, { queries: 0, commands: 0 })
})

t.test('a copy is as old as it says, and answers no request for a younger one', async (t) => {
  const [ada] = (await devices(running, 1)) as [Person]
  await warm(running, ada)
  const [first] = await checkAll(running, [ada.bearer])
  const readBefore = Date.now() - (first?.age_ms ?? 0)
  await until(
    'the copy to be 200 ms old',
    async () => ((await checkAll(running, [ada.bearer]))[0]?.age_ms ?? 0) > 200
  )
  const [older] = await checkAll(running, [ada.bearer])
  t.ok(
    Math.abs(Date.now() - (older?.age_ms ?? 0) - readBefore) < 1_000,
    'the age counts from the same read'
  )
  const young = await counting(async () => {
    t.ok(((await checkAll(running, [ada.bearer], '?max_age_ms=100'))[0]?.age_ms ?? 1e9) <= 100)
  })
  t.ok(young.queries <= 1)
  const none = await counting(async () => {
    t.equal((await checkAll(running, [ada.bearer], '?max_age_ms=0'))[0]?.age_ms, 0)
  })
  t.equal(none.queries, 1)
})

t.test('each token is answered in its place, with its cause', async (t) => {
  const [ada, revoked, expired] = (await devices(running, 3)) as [Person, Device, Device]
  await ada.browser.delete(`/sessions/${revoked.sessionId}`)
  const { prisma } = running.app.holdfast
  await prisma.session.update({
    where: { id: expired.sessionId },
    data: { expiresAt: new Date(0) }
  })
  await until(
    'the expiry to be heard of',
    async () => (await checkAll(running, [expired.bearer]))[0]?.active === false
  )
  const before = Date.now()
  const tokens = [
    ada.bearer,
    'foreign',
    revoked.bearer,
    `${ada.bearer}x`,
    expired.bearer,
    mintSessionToken().token,
    decodeURIComponent(ada.bearer),
    ''
  ]
  const { status, answer } = await post(running, { tokens })
  t.equal(status, 200)
  t.strictSame(
    answer.results.map(({ active, cause }) => (active ? 'active' : cause)),
    [
      'active',
      'credential_malformed',
      'session_revoked',
      'credential_malformed',
      'session_expired',
      'credential_malformed',
      'active',
      'credential_malformed'
    ]
  )
  t.match(answer.results[0], { active: true, sub: ada.id, sid: ada.sessionId })
  t.equal(answer.consistency, 'bounded')
  t.ok(Date.parse(answer.checked_at) >= before - 1 && Date.parse(answer.checked_at) <= Date.now())
  t.strictSame(await checkAll(running, []), [])
  for (const [body, query] of [
    [{ tokens: 'x' }, ''],
    [{ tokens: [1] }, ''],
    [{}, ''],
    [{ tokens: [], other: 1 }, ''],
    [{ tokens: Array.from({ length: 1001 }, () => 'x') }, ''],
    [{ tokens: [] }, '?consistency=eventual'],
    [{ tokens: [] }, '?max_age_ms=-1'],
    [{ tokens: [] }, '?maxage=1']
  ] as const) {
    t.match(
      await post(running, body, query),
      { status: 400, answer: { cause: 'invalid_input' } },
      JSON.stringify(body).slice(0, 60) + query
    )
  }
})

t.test('access tokens stand beside session tokens, each for its session', async (t) => {
  const [ada, revoked, expired] = (await devices(running, 3)) as [Person, Device, Device]
  const old = await accessTokenOf(running, ada.sessionId, {
    exp: Math.floor(Date.now() / 1000) - 60
  })
  const tokens = [
    ada.bearer,
    await accessTokenOf(running, ada.sessionId),
    await accessTokenOf(running, ada.sessionId),
    old,
    await accessTokenOf(running, ada.sessionId, { sub: 'somebody else' })
  ]
  for (const { sessionId, bearer } of [revoked, expired])
    tokens.push(await accessTokenOf(running, sessionId), bearer)
  const first = await checkAll(running, tokens)
  t.strictSame(
    first.map(({ cause = 'active' }) => cause),
    [
      'active',
      'active',
      'active',
      'token_expired',
      'session_unknown',
      'active',
      'active',
      'active',
      'active'
    ]
  )
  t.match(first.slice(0, 3), [
    {
      sub: ada.id,
      sid: ada.sessionId,
      iss: running.url,
      aud: 'https://api.example.com',
      jti: undefined
    },
    {
      sub: ada.id,
      sid: ada.sessionId,
      iss: running.url,
      aud: 'https://api.example.com',
      jti: String
    },
    { jti: String }
  ])

  t.equal((await ada.browser.delete(`/sessions/${revoked.sessionId}`)).status, 200)
  await running.app.holdfast.prisma.session.update({
    where: { id: expired.sessionId },
    data: { expiresAt: new Date(0) }
  })
  await until(
    'the expiry to be heard of',
    async () => (await checkAll(running, [expired.bearer]))[0]?.active === false
  )
  const causes = [
    'active',
    'active',
    'active',
    'token_expired',
    'session_unknown',
    'session_revoked',
    'session_revoked',
    'session_expired',
    'session_expired'
  ]
  for (const query of ['', '?consistency=strict'])
    t.strictSame(
      (await checkAll(running, tokens, query)).map(({ cause = 'active' }) => cause),
      causes
    )
  await warm(running, ada)
  await until('this process to answer alone', async () => {
    const { queries, commands } = await counting(() => checkAll(running, tokens.slice(0, 4)))
    return queries + commands === 0
  })
})

t.test(
  'what one node has read costs another one command to Redis; what neither has, one query as well',
  onlyWithRedis,
  async (t) => {
    const one = await build(t, { ...settings, localCache: false })
    const people = await devices(one, 20)
    for (const person of people) await warm(one, person)
    const mine = new Set<string>()
    const redis = new Redis(redisUrl)
    t.teardown(() => redis.disconnect())
    const keys = (
      await Promise.all(
        people.map(({ sessionId }) => redis.keys(`holdfast:*{${sessionId}}:session`))
      )
    ).flat()
    t.equal(await redis.del(keys), people.length, 'all copies were deleted')
    const cold = await counting(async () => {
      await checkAll(one, tokensOf(people))
    })
    t.equal(cold.queries, 1, 'there is one query for all sessions')
    t.ok(
      cold.commands <= 1 + people.length,
      'there is one command to read, and one fill for each session'
    )
    await until(
      'the fills',
      async () => (await counting(() => checkAll(one, tokensOf(people)))).queries === 0
    )
    const filled = await counting(async () => {
      for (const { age_ms: age, sid = '' } of await checkAll(one, tokensOf(people))) {
        t.ok(age >= 0)
        mine.add(sid)
      }
    })
    t.strictSame(filled, { queries: 0, commands: 1 })
    t.equal(mine.size, people.length)
  }
)

t.test('a strict check sees what no cache was told of', async (t) => {
  const [ada, phone] = (await devices(running, 2)) as [Person, Device]
  for (const person of [ada, phone]) await warm(running, person)
  // By hand, without the trigger that would announce it to the caches.
  const { prisma } = running.app.holdfast
  await prisma.$transaction([
    prisma.$executeRaw`ALTER TABLE "session" DISABLE TRIGGER USER`,
    prisma.$executeRaw`UPDATE "session" SET "revokedAt" = now(), "revokedReason" = 'by hand' WHERE "id" = ${phone.sessionId}`,
    prisma.$executeRaw`ALTER TABLE "session" ENABLE TRIGGER USER`
  ])
  t.match(await checkAll(running, [ada.bearer, phone.bearer], '?consistency=strict'), [
    { active: true },
    { active: false, cause: 'session_revoked', age_ms: 0 }
  ])
})

t.test('a batch never answers with what was revoked before it was asked', async (t) => {
  const people = await devices(running, 8)
  const [ada, ...others] = people
  for (const person of people) await warm(running, person)
  const gone = new Set<string>()
  let checks = 0
  const asking = (async () => {
    while (gone.size < others.length) {
      const before = new Set(gone)
      const answers = await checkAll(running, tokensOf(people))
      checks++
      for (const { active, sid = '' } of answers)
        if (active && before.has(sid)) t.fail('a revoked session was called active')
    }
  })()
  for (const { sessionId } of others) {
    if ((await ada.browser.delete(`/sessions/${sessionId}`)).status === 200) gone.add(sessionId)
  }
  await asking
  t.ok(checks > 0)
})

const forms: [form: string, change: HoldfastOptions | null][] =
  storage === 'postgres'
    ? [
        ['with Redis', null],
        ['without Redis', { redisUrl: undefined }],
        ['without a local cache', { localCache: false }]
      ]
    : [['embedded', null]]
for (const [form, change] of forms) {
  t.test(`every kind of check says the same of a session: ${form}`, async (t) => {
    const asked = change === null ? running : await build(t, { ...settings, ...change })
    const [ada, phone, tablet] = (await devices(asked, 3)) as [Person, Device, Device]
    const boss = await signUp(asked.url)
    await makeAdmin(asked, boss)
    for (let round = 0; round < 2; round++) {
      for (const person of [ada, phone, boss]) {
        for (const token of await tokensOfBothKinds(asked, person))
          t.strictSame(
            new Set(await everyAnswer(asked, token)),
            new Set([
              `active ${person.id} ${person.sessionId} ${person === boss ? 'admin' : 'user'}`
            ])
          )
      }
      for (const token of await tokensOfBothKinds(asked, ada))
        t.strictSame(
          new Set(await everyAnswer(asked, `${token}x`)),
          new Set(['credential_malformed'])
        )
    }
    const [, ofTablet = ''] = await tokensOfBothKinds(asked, tablet)
    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    for (const token of await tokensOfBothKinds(asked, phone))
      t.strictSame(new Set(await everyAnswer(asked, token)), new Set(['session_revoked']))
    await asked.app.holdfast.prisma.session.update({
      where: { id: tablet.sessionId },
      data: { expiresAt: new Date(0) }
    })
    for (const token of [tablet.bearer, ofTablet])
      await until('the expiry to be heard of', async () =>
        (await everyAnswer(asked, token)).every((answer) => answer === 'session_expired')
      )
  })
}

t.test('two nodes say the same', onlyWithRedis, async (t) => {
  const one = await build(t, settings)
  const two = await start(t, { ...one.options, port: undefined })
  const people = await devices(one, 10)
  const [ada, ...others] = people
  for (const node of [one, two])
    t.ok((await checkAll(node, tokensOf(people))).every(({ active }) => active))
  t.equal((await ada.browser.delete('/sessions?except=current')).status, 200)
  for (const node of [two, one])
    t.strictSame(
      (await checkAll(node, tokensOf(people))).map(({ cause = 'active' }) => cause),
      ['active', ...others.map(() => 'session_revoked')]
    )
})

function tokensOf(people: readonly Device[]): string[] {
  return people.map(({ bearer }) => bearer)
}

/** Blocks this thread for 8 ms first: a dozen of them take longer than a clock may step. */
function slowly(token: string): string {
  const end = performance.now() + 8
  while (performance.now() < end);
  return token
}

const tokensOfBothKinds = async (
  running: Running,
  { bearer, sessionId }: Device
): Promise<string[]> => [bearer, await accessTokenOf(running, sessionId)]

/**
 * The answer of each way of checking, in the same words. A session token is also sent as a cookie.
 */
async function everyAnswer(running: Running, bearer: string): Promise<string[]> {
  const { url, app } = running
  const asBearer = { authorization: `Bearer ${bearer}` }
  const asCookie = { cookie: `${app.holdfast.auth.cookieName}=${bearer}` }
  const answers: string[] = []
  for (const headers of bearer.startsWith('hst1_') ? [asBearer, asCookie] : [asBearer]) {
    const session = await fetch(`${url}/session`, { headers })
    const body = (await session.json()) as {
      cause: string
      user: { id: string; roles: string[] }
      session: { id: string }
    }
    answers.push(
      session.ok
        ? `active ${body.user.id} ${body.session.id} ${body.user.roles.join()}`
        : body.cause
    )
    for (const path of ['/verify', '/verify/for/*/some/path']) {
      const verified = await fetch(`${url}${path}`, { headers })
      answers.push(
        verified.ok
          ? `active ${verified.headers.get('remote-user')} ${verified.headers.get('x-session-id')} ${verified.headers.get('remote-groups')}`
          : (/error_description="(\w+)"/.exec(
              verified.headers.get('www-authenticate') ?? ''
            )?.[1] ?? '')
      )
    }
  }
  for (const query of ['', '?consistency=strict', '?max_age_ms=0', '?max_age_ms=1000']) {
    const [item] = (await checkAll(running, [bearer], query)) as (Item & { roles: string[] })[]
    answers.push(
      item?.active ? `active ${item.sub} ${item.sid} ${item.roles.join()}` : (item?.cause ?? '')
    )
  }
  const introspected = await fetch(`${url}/oauth2/introspect`, {
    method: 'POST',
    headers: { authorization },
    body: new URLSearchParams({ token: bearer })
  })
  const told = (await introspected.json()) as Item & { roles: string[] }
  // Introspection does not give the reason. It must only agree on whether the session is active.
  const why = answers.at(-1) ?? ''
  answers.push(
    told.active
      ? `active ${told.sub} ${told.sid} ${told.roles.join()}`
      : why.startsWith('active')
        ? 'inactive'
        : why
  )
  return answers
}
