import t from 'tap'
import { touchSessions } from '../../src/session/store.js'
import { makeDevices, outcomeOf, refresh } from '../support/refresh-fixtures.js'
import {
  Browser,
  build,
  makeAdmin,
  password,
  proveAddress,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Person
} from '../support/server.js'
import { inTurn, inTurnAtUser } from '../support/locks.js'
import { until } from '../support/poll.js'

/**
 * Sessions that began by a one-time token end with the session that made the token, however that
 * ends.
 */
const running = await build(t, { oneTimeTokens: true, maxSessionsPerUser: 4 })
const { url } = running
const { prisma } = running.app.holdfast
const nodes = [url]
if (storage === 'postgres')
  nodes.push((await start(t, { ...running.options, port: undefined, baseUrl: url })).url)
const admin = await signUp(url)
await makeAdmin(running, admin)
const inBody = { 'token-transport': 'body' }
const newPassword = 'Tr0ub4dor & three more words'

type Source = Pick<Person, 'id' | 'sessionId' | 'bearer'>

interface Derived extends Source {
  refreshToken: string | null
}

async function makeToken(credential: { browser: Browser } | { bearer: string }): Promise<string> {
  const path = '/api/auth/one-time-token/generate'
  const response =
    'browser' in credential
      ? await credential.browser.get(path)
      : await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${credential.bearer}` } })
  return ((await response.json()) as { token: string }).token
}

const redeem = (token: string, headers: Record<string, string> = {}) =>
  fetch(`${url}/api/auth/one-time-token/verify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ token })
  })

/** Begins a session by a one-time token, in a client that is not a browser. */
async function derive(source: { bearer: string } | { browser: Browser }): Promise<Derived> {
  return begun(await redeem(await makeToken(source)))
}

/** Begins one in an app, with a refresh family. */
async function deriveApp(source: { bearer: string }): Promise<Derived> {
  return begun(await redeem(await makeToken({ bearer: source.bearer }), inBody))
}

async function begun(response: Response): Promise<Derived> {
  const body = (await response.json()) as {
    session: { id: string; userId: string }
    tokens?: { access_token: string; refresh_token: string }
  }
  if (response.status !== 200)
    throw new Error(`one-time-token/verify answered ${response.status} ${JSON.stringify(body)}`)
  const bearer = body.tokens?.access_token ?? response.headers.get('set-auth-token') ?? ''
  return {
    id: body.session.userId,
    sessionId: body.session.id,
    bearer,
    refreshToken: body.tokens?.refresh_token ?? null
  }
}

/** Each node's answer about a session. */
async function statesOf({ bearer }: { bearer: string }): Promise<string[]> {
  const states = await Promise.all(
    nodes.map(async (node) => {
      const response = await fetch(`${node}/session`, {
        headers: { authorization: `Bearer ${bearer}` }
      })
      return response.status === 200
        ? 'valid'
        : `${response.status} ${((await response.json()) as { cause: string }).cause}`
    })
  )
  return [...new Set(states)]
}

const age = (id: string, days: number) =>
  prisma.session.update({
    where: { id },
    data: { issuedAt: new Date(0), lastSeenAt: new Date(Date.now() - days * 86_400_000) }
  })
const expiryOf = async (id: string) =>
  (await prisma.session.findUniqueOrThrow({ where: { id } })).expiresAt.getTime()
const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000)
const expire = (id: string, expiresAt: Date) =>
  prisma.session.update({ where: { id }, data: { expiresAt, version: { increment: 1 } } })
const reasonOf = async ({ sessionId }: { sessionId: string }) =>
  (await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })).revokedReason

interface End {
  what: string
  /** Ends the session of `person`. */
  by: (person: Person) => Promise<Response>
  status?: number
  /** The reason of the derived session, where all of the user's sessions ended. */
  because?: string
  /** Every node's answer afterwards. */
  state?: string
}

const adminPost = (path: string, body: unknown) =>
  admin.browser.post(`/api/auth/admin/${path}`, body)
const ends: End[] = [
  { what: 'its sign-out', by: ({ browser }) => browser.post('/api/auth/sign-out') },
  {
    what: 'its own DELETE',
    by: ({ browser, sessionId }) => browser.delete(`/sessions/${sessionId}`)
  },
  {
    what: 'another session',
    by: async ({ email, sessionId }) =>
      (await signIn(url, email)).browser.delete(`/sessions/${sessionId}`)
  },
  {
    what: 'another session, by better-auth',
    by: async ({ email, sessionId }) =>
      (await signIn(url, email)).browser.post('/api/auth/revoke-session', {
        token: `hsh1_${sessionId}`
      })
  },
  {
    what: 'all others',
    by: async ({ email }) => (await signIn(url, email)).browser.delete('/sessions?except=current'),
    because: 'revoked_by_user'
  },
  {
    what: 'an administrator',
    by: ({ sessionId }) => adminPost('revoke-user-session', { sessionToken: `hsh1_${sessionId}` })
  },
  { what: 'a ban', by: ({ id }) => adminPost('ban-user', { userId: id }), because: 'user_banned' },
  {
    what: 'a new password',
    because: 'password_changed',
    by: async ({ email }) =>
      (await signIn(url, email)).browser.post('/api/auth/change-password', {
        currentPassword: password,
        newPassword
      })
  },
  {
    what: 'signing in again',
    by: ({ browser, email }) => browser.post('/api/auth/sign-in/email', { email, password })
  },
  {
    what: 'a sign-out, asked for again',
    by: async ({ browser, sessionId, email }) => {
      const other = await signIn(url, email)
      await browser.post('/api/auth/sign-out')
      return other.browser.delete(`/sessions/${sessionId}`)
    }
  }
]

for (const { what, by, because = 'source_ended' } of ends) {
  t.test(`S5: a session of a one-time token ends with its source: ${what}`, async (t) => {
    const person = await signUp(url)
    const derived = [await derive(person), await deriveApp(person)]
    for (const session of derived) t.strictSame(await statesOf(session), ['valid'])
    t.equal((await by(person)).status, 200)
    for (const session of derived) {
      t.match(
        await statesOf(session),
        [/^401 (session_revoked|user_banned)$/],
        'every node knows the end once the request is answered'
      )
      t.equal(await reasonOf(session), because)
      t.equal(
        await prisma.sessionEvent.count({
          where: { sessionId: session.sessionId, type: 'revoked' }
        }),
        1,
        'the end has one event'
      )
    }
    t.equal((await refresh(url, derived[1]?.refreshToken ?? '')).status, 400)
  })
}

t.test(
  'S5: a session of a one-time token ends with its source: a refresh token that is used again',
  async (t) => {
    const person = await signUp(url)
    const [source] = await makeDevices(running, person.id, 1)
    if (!source) throw new Error('no session')
    const derived = await deriveApp(source)
    t.strictSame(await statesOf(derived), ['valid'])
    const second = (await refresh(url, source.refreshToken)).body.refresh_token
    t.equal((await refresh(url, second)).status, 200)
    t.equal(outcomeOf(await refresh(url, source.refreshToken)), '400 invalid_grant refresh_reused')
    t.strictSame(await statesOf(derived), ['401 session_revoked'])
    t.equal(await reasonOf(derived), 'source_ended')
    t.strictSame(await statesOf(person), ['valid'], 'no other session has ended')
  }
)

t.test('S5: a session of a one-time token ends with its source: the cap of sessions', async (t) => {
  const person = await signUp(url)
  const [idle] = await makeDevices(running, person.id, 1)
  const derived = await derive(idle ?? person)
  // Only on this node: the other writes the uses later.
  t.equal(
    (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${derived.bearer}` } }))
      .status,
    200
  )
  await signIn(url, person.email)
  const hasNoRoom = (why: string) =>
    signIn(url, person.email).then(
      () => t.fail(why),
      (error: Error) => t.match(error.message, /429/, why)
    )
  await hasNoRoom('all were used within a day')
  await age(idle?.sessionId ?? '', 5)
  await hasNoRoom('one that was not has one that was')
  await age(derived.sessionId, 3)
  await signIn(url, person.email)
  t.equal(await reasonOf({ sessionId: idle?.sessionId ?? '' }), 'session_cap')
  t.strictSame(await statesOf(derived), ['401 session_revoked'])
})

const changes: Record<string, (person: Person) => Promise<Response>> = {
  'a new password': ({ browser }) =>
    browser.post('/api/auth/change-password', { currentPassword: password, newPassword }),
  'a second factor that is about to be turned on': ({ browser }) =>
    browser.post('/api/auth/two-factor/enable', { password }),
  'the end of all other sessions': ({ browser }) => browser.delete('/sessions?except=current')
}
for (const [what, change] of Object.entries(changes)) {
  t.test(
    `S5: a one-time token ends with the credentials, also where the session that made it goes on: ${what}`,
    async (t) => {
      const person = await signUp(url)
      await proveAddress(person)
      const tokens = [await makeToken(person), await makeToken({ bearer: person.bearer })]
      t.equal((await change(person)).status, 200)
      t.equal(await sessionState(person.browser), 'valid')
      const live = await prisma.session.count({ where: { userId: person.id, revokedAt: null } })
      for (const token of tokens) {
        const refused = await redeem(token)
        t.equal(refused.status, 400)
        t.match(await refused.json(), { code: 'INVALID_TOKEN' })
      }
      t.equal(await prisma.session.count({ where: { userId: person.id, revokedAt: null } }), live)
      t.strictSame(
        await statesOf(await derive({ browser: person.browser })),
        ['valid'],
        'a session that begins afterwards is valid'
      )
    }
  )
}

t.test(
  'S5: a one-time token that is redeemed while the credentials change is none',
  { skip: storage === 'embedded' && 'one connection' },
  async (t) => {
    const person = await signUp(url)
    const token = await makeToken(person)
    const [changed, refused] = await inTurnAtUser(
      prisma,
      person.id,
      () =>
        person.browser.post('/api/auth/change-password', {
          currentPassword: password,
          newPassword
        }),
      () => redeem(token)
    )
    t.equal(changed?.status, 200)
    t.equal(refused?.status, 401)
    t.equal(await prisma.session.count({ where: { userId: person.id, revokedAt: null } }), 1)
  }
)

/** An administrator on two devices. The first one impersonates a user. */
async function impersonate(): Promise<{
  laptop: Person
  phone: Person
  acting: { bearer: string }
  id: string
  person: Person
}> {
  const laptop = await signUp(url)
  await makeAdmin(running, laptop)
  const phone = await signIn(url, laptop.email)
  const person = await signUp(url)
  t.equal(
    (await laptop.browser.post('/api/auth/admin/impersonate-user', { userId: person.id })).status,
    200
  )
  const { session } = (await (await laptop.browser.get('/session')).json()) as {
    session: { id: string }
  }
  return {
    laptop,
    phone,
    acting: { bearer: laptop.browser.cookies.get('holdfast.session_token') ?? '' },
    id: session.id,
    person
  }
}

t.test(
  "S5: an impersonation ends with the administrator's session from which it began",
  async (t) => {
    for (const end of [
      (laptop: Person, phone: Person) => phone.browser.delete(`/sessions/${laptop.sessionId}`),
      (laptop: Person, phone: Person) =>
        phone.browser.post('/api/auth/revoke-session', { token: `hsh1_${laptop.sessionId}` }),
      (laptop: Person) =>
        fetch(`${url}/api/auth/sign-out`, {
          method: 'POST',
          headers: { authorization: `Bearer ${laptop.bearer}` }
        })
    ]) {
      const { laptop, phone, acting, id, person } = await impersonate()
      t.strictSame(await statesOf(acting), ['valid'])
      t.equal((await end(laptop, phone)).status, 200)
      t.strictSame(
        await statesOf(acting),
        ['401 session_revoked'],
        'every node knows the end once the request is answered'
      )
      t.equal(await reasonOf({ sessionId: id }), 'source_ended')
      t.equal((await laptop.browser.post('/api/auth/admin/stop-impersonating')).status, 401)
      t.strictSame(
        [await sessionState(person.browser), await sessionState(phone.browser)],
        ['valid', 'valid'],
        'no other session has ended'
      )
    }
  }
)

t.test(
  'an impersonation that is stopped leaves the session from which it began, and says when it began itself',
  async (t) => {
    const { laptop, id } = await impersonate()
    await prisma.session.update({
      where: { id: laptop.sessionId },
      data: { authTime: new Date(0) }
    })
    const { authTime, issuedAt } = await prisma.session.findUniqueOrThrow({ where: { id } })
    t.equal(authTime.getTime(), issuedAt.getTime())
    t.equal((await laptop.browser.post('/api/auth/admin/stop-impersonating')).status, 200)
    t.equal(await sessionState(laptop.browser), 'valid')
    t.equal(await reasonOf({ sessionId: id }), 'impersonation_ended')
  }
)

t.test('S5: by hand as well', async (t) => {
  for (const end of ['update', 'delete'] as const) {
    const person = await signUp(url)
    const derived = await derive(person)
    t.strictSame(await statesOf(derived), ['valid'])
    if (end === 'update')
      await prisma.$executeRaw`UPDATE "session" SET "revokedAt" = now() WHERE "id" = ${person.sessionId}`
    else await prisma.$executeRaw`DELETE FROM "session" WHERE "id" = ${person.sessionId}`
    await until(
      'the caches to hear',
      async () => (await statesOf(derived)).join() === '401 session_revoked'
    )
  }
})

t.test(
  'S5: a session of a one-time token that begins while its source ends does not outlive it',
  { skip: storage === 'embedded' && 'one connection' },
  async (t) => {
    for (const first of ['begin', 'end'] as const) {
      for (const depth of [1, 2]) {
        const person = await signUp(url)
        const token = await makeToken(depth === 1 ? person : await derive(person))
        const begin = () => redeem(token)
        const end = () => person.browser.post('/api/auth/sign-out')
        const [one, two] = await inTurn(
          prisma,
          person.sessionId,
          first === 'begin' ? begin : end,
          first === 'begin' ? end : begin
        )
        t.equal((first === 'begin' ? two : one)?.status, 200)
        const redeemed = first === 'begin' ? one : two
        if (first === 'begin' && redeemed)
          t.strictSame(await statesOf(await begun(redeemed)), ['401 session_revoked'])
        else t.ok([400, 401].includes(redeemed?.status ?? 0), `${redeemed?.status}`)
        t.equal(await prisma.session.count({ where: { userId: person.id, revokedAt: null } }), 0)
      }
    }
  }
)

t.test('S5: of a chain, all end with the first', async (t) => {
  const person = await signUp(url)
  const middle = await derive(person)
  const last = await derive(middle)
  t.strictSame(await statesOf(last), ['valid'])
  t.match(await prisma.session.findUnique({ where: { id: last.sessionId } }), {
    sourceSessionId: person.sessionId
  })
  await person.browser.post('/api/auth/sign-out')
  t.strictSame(await statesOf(middle), ['401 session_revoked'])
  t.strictSame(await statesOf(last), ['401 session_revoked'])
})

t.test(
  'S5: a one-time token that a cookie made gives no refresh token, and is not used up by that',
  async (t) => {
    const person = await signUp(url)
    const middle = await derive(person)
    // A client that has the cookie's one-time token can make another one with the token it got.
    for (const token of [
      await makeToken({ browser: person.browser }),
      await makeToken({ bearer: middle.bearer })
    ]) {
      const before = await prisma.session.count({ where: { userId: person.id } })
      const refused = await redeem(token, inBody)
      t.equal(refused.status, 403)
      t.match(await refused.json(), { code: 'ONE_TIME_TOKEN_BY_COOKIE' })
      t.equal(await prisma.session.count({ where: { userId: person.id } }), before)
      const session = await begun(await redeem(token))
      t.strictSame(await statesOf(session), ['valid'])
      t.match(await prisma.session.findUnique({ where: { id: session.sessionId } }), {
        refreshHash: null
      })
      await fetch(`${url}/api/auth/sign-out`, {
        method: 'POST',
        headers: { authorization: `Bearer ${session.bearer}` }
      })
    }
    const app = await deriveApp(person)
    t.equal((await refresh(url, app.refreshToken ?? '')).status, 200)
  }
)

t.test('S5: a session of a one-time token does not idle longer than its source', async (t) => {
  const person = await signUp(url)
  await expire(person.sessionId, inHours(1))
  const derived = await deriveApp(person)
  t.ok(
    (await expiryOf(derived.sessionId)) <= (await expiryOf(person.sessionId)),
    'the limit holds from the beginning of the session'
  )
  const uses = {
    'when it is used': () => touchSessions(prisma, new Map([[derived.sessionId, 0]]), 604_800, 60),
    'when it is refreshed': async () =>
      t.equal((await refresh(url, derived.refreshToken ?? '')).status, 200)
  }
  for (const [when, use] of Object.entries(uses)) {
    const before = inHours(1)
    await expire(derived.sessionId, before)
    await expire(person.sessionId, inHours(2))
    await use()
    const expiry = await expiryOf(derived.sessionId)
    t.ok(expiry > before.getTime(), when)
    // The server may note the use of the source, and then move its expiry, at any time.
    t.ok(expiry <= (await expiryOf(person.sessionId)), when)
  }
})

t.test(
  'a browser that redeems a one-time token of its own session goes on in a new one',
  async (t) => {
    const person = await signUp(url)
    const other = await derive(person)
    t.equal(
      (
        await person.browser.post('/api/auth/one-time-token/verify', {
          token: await makeToken(person)
        })
      ).status,
      200
    )
    t.equal(await sessionState(person.browser), 'valid')
    t.strictSame(
      await statesOf({ bearer: person.bearer }),
      ['401 session_revoked'],
      'the old session has ended'
    )
    t.strictSame(
      await statesOf(other),
      ['401 session_revoked'],
      'a session derived from the old one has ended as well'
    )
    const { session } = (await (await person.browser.get('/session')).json()) as {
      session: { id: string }
    }
    t.match(await prisma.session.findUnique({ where: { id: session.id } }), {
      sourceSessionId: null
    })
  }
)

t.test('S5: a session that ends its source ends itself, and is told so', async (t) => {
  for (const path of ['/sessions?except=current', null]) {
    const person = await signUp(url)
    const derived = await derive(person)
    const headers = { authorization: `Bearer ${derived.bearer}` }
    t.equal(
      (
        await fetch(`${url}${path ?? `/sessions/${person.sessionId}`}`, {
          method: 'DELETE',
          headers
        })
      ).status,
      200
    )
    t.strictSame(await statesOf(derived), ['401 session_revoked'])
    t.strictSame(await statesOf(person), ['401 session_revoked'])
  }
})

t.test('S5: a new password that a session of a one-time token sets', async (t) => {
  for (const revokeOtherSessions of [true, false]) {
    const person = await signUp(url)
    const browser = new Browser(url)
    t.equal(
      (await browser.post('/api/auth/one-time-token/verify', { token: await makeToken(person) }))
        .status,
      200
    )
    const response = await browser.post('/api/auth/change-password', {
      currentPassword: password,
      newPassword,
      revokeOtherSessions
    })
    t.equal(response.status, 200, await response.text())
    t.strictSame(await statesOf(person), ['401 session_revoked'])
    t.equal(
      await sessionState(browser),
      revokeOtherSessions ? 'valid' : '401 session_revoked',
      'the browser has a session only where it asked for a new one'
    )
    t.equal(await sessionState((await signIn(url, person.email, newPassword)).browser), 'valid')
  }
})
