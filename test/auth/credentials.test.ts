import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { withCookiesOf } from '../support/device.js'
import { Browser, build, makeAdmin, password, sessionState, signUp } from '../support/server.js'
import { until } from '../support/poll.js'

const running = await build(t, { oneTimeTokens: true })
const { url } = running
const COOKIE = 'holdfast.session_token'

/** Sends header lines exactly as given, repetitions included. */
async function send(
  path: string,
  headers: string[],
  method = 'GET'
): Promise<{ status: number; body: string }> {
  const outgoing = request(new URL(path, url), {
    method,
    headers: ['host', new URL(url).host, ...headers]
  }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, body: await text(response) }
}

const causeOf = ({ body }: { body: string }) => (JSON.parse(body) as { cause: string }).cause

t.test('handles and hashes do not authenticate, as cookie or as bearer', async (t) => {
  const ada = await signUp(url)
  const row = await running.app.holdfast.prisma.session.findUniqueOrThrow({
    where: { id: ada.sessionId }
  })
  t.match(row.token, /^h1_[\w-]{43}$/)
  const signature = decodeURIComponent(ada.bearer).split('.')[1] ?? ''
  for (const name of [row.token, `hsh1_${ada.sessionId}`, ada.sessionId]) {
    for (const value of [name, `${name}.${signature}`]) {
      const browser = new Browser(url)
      browser.cookies.set(COOKIE, encodeURIComponent(value))
      t.equal(await sessionState(browser), '401 credential_malformed')
      t.equal(await (await browser.get('/api/auth/get-session')).text(), 'null')

      const bearer = { authorization: `Bearer ${value}` }
      const refused = await new Browser(url).get('/session', bearer)
      t.equal(refused.status, 401)
      t.match(
        await refused.json(),
        { cause: 'credential_missing' },
        'a bearer token of another server is ignored'
      )
      t.equal(await (await new Browser(url).get('/api/auth/get-session', bearer)).text(), 'null')
    }
  }
})

t.test(
  'a sign-in without a cookie is told its token, which works as bearer everywhere',
  async (t) => {
    const { email, id } = await signUp(url)
    const app = new Browser(url)
    const answer = await app.post('/api/auth/sign-in/email', { email, password })
    const token = answer.headers.get('set-auth-token') ?? ''
    for (const bearer of [token, decodeURIComponent(token)]) {
      const authorization = `Bearer ${bearer}`
      t.match(await (await new Browser(url).get('/session', { authorization })).json(), {
        isValid: true,
        user: { id }
      })
      t.match(
        await (await new Browser(url).get('/api/auth/get-session', { authorization })).json(),
        { user: { id } }
      )
    }
    const authorization = `Bearer ${token}`
    t.equal((await new Browser(url).post('/api/auth/sign-out', {}, { authorization })).status, 200)
    const late = await new Browser(url).get('/session', { authorization })
    t.equal(late.status, 401)
    t.match(await late.json(), { cause: 'session_revoked' })
  }
)

t.test('a bearer needs no Origin: no browser sends it unasked', async (t) => {
  const { bearer } = await signUp(url)
  const { status } = await fetch(`${url}/api/auth/sign-out`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}` }
  })
  t.equal(status, 200)
  t.equal(
    (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${bearer}` } })).status,
    401
  )
})

t.test('a token without its signature, or with a changed one, is refused', async (t) => {
  const { bearer } = await signUp(url)
  const [bare = '', signature = ''] = decodeURIComponent(bearer).split('.')
  const changed = `${bare}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
  for (const value of [bare, changed]) {
    const authorization = `Bearer ${value}`
    const refused = await new Browser(url).get('/session', { authorization })
    t.equal(refused.status, 401)
    t.match(await refused.json(), { cause: 'credential_malformed' })
    t.equal(
      await (await new Browser(url).get('/api/auth/get-session', { authorization })).text(),
      'null'
    )
    const browser = new Browser(url)
    browser.cookies.set(COOKIE, encodeURIComponent(value))
    t.equal(await sessionState(browser), '401 credential_malformed')
  }
})

t.test('a browser with a session cookie is never told a token', async (t) => {
  const { browser, email } = await signUp(url)
  const answers = [
    await browser.get('/session'),
    await browser.get('/sessions'),
    await browser.get('/api/auth/get-session'),
    await browser.get('/api/auth/list-sessions'),
    await browser.post('/api/auth/update-user', { name: 'Ada King' }),
    await browser.post('/api/auth/change-password', {
      currentPassword: password,
      newPassword: `${password}!`,
      revokeOtherSessions: true
    }),
    await browser.post('/api/auth/sign-in/email', { email, password: `${password}!` })
  ]
  for (const answer of answers) {
    t.equal(answer.status, 200, answer.url)
    t.notOk((await answer.text()).includes('hst1_'), answer.url)
    t.notOk(answer.headers.has('set-auth-token'), answer.url)
  }
})

t.test('a cookie that is no good does not make a browser an app', async (t) => {
  const { email } = await signUp(url)
  const browser = new Browser(url)
  browser.cookies.set(COOKIE, 'garbage')
  const answer = await browser.post('/api/auth/sign-in/email', { email, password })
  t.equal(answer.status, 200)
  t.notOk((await answer.text()).includes('hst1_'))
  t.notOk(answer.headers.has('set-auth-token'))
})

t.test("a bearer beside another user's cookie decides alone", async (t) => {
  const ada = await signUp(url)
  const eve = await signUp(url)
  const authorization = `Bearer ${ada.bearer}`
  t.match(await (await eve.browser.get('/session', { authorization })).json(), {
    user: { id: ada.id }
  })
  t.match(await (await eve.browser.get('/api/auth/get-session', { authorization })).json(), {
    user: { id: ada.id }
  })
  const shared = withCookiesOf(eve.browser)
  await shared.post('/api/auth/sign-out', {}, { authorization })
  t.equal(await sessionState(ada.browser), '401 session_revoked')
  t.equal(await sessionState(eve.browser), 'valid')
  t.equal(
    (await eve.browser.get('/session', { authorization })).status,
    401,
    'the cookie does not replace the refused bearer token'
  )
  t.equal(await (await eve.browser.get('/api/auth/get-session', { authorization })).text(), 'null')
})

t.test(
  'a cookie does not stand in for a bearer that is no good, however its name is written',
  async (t) => {
    const ada = await signUp(url)
    for (const space of ['', ' ', '\t']) {
      const headers = [
        'cookie',
        `${COOKIE}${space}=${ada.browser.cookies.get(COOKIE)}`,
        'authorization',
        'Bearer hst1_garbage'
      ]
      t.equal((await send('/session', headers)).status, 401)
      t.equal((await send('/api/auth/get-session', headers)).body, 'null')
    }
  }
)

t.test('other schemes and foreign bearers leave the cookie to decide', async (t) => {
  const ada = await signUp(url)
  for (const authorization of ['Basic dXNlcjpwYXNz', 'Bearer eyJhbGciOiJub25lIn0.e30.', 'Bearer']) {
    t.match(await (await ada.browser.get('/session', { authorization })).json(), {
      user: { id: ada.id }
    })
    t.match(await (await ada.browser.get('/api/auth/get-session', { authorization })).json(), {
      user: { id: ada.id }
    })
  }
})

t.test('two session cookies or two Authorization headers are refused', async (t) => {
  const ada = await signUp(url)
  const eve = await signUp(url)
  const [mine, other] = [ada, eve].map(({ browser }) => `${COOKIE}=${browser.cookies.get(COOKIE)}`)
  const repeated = [
    ['cookie', `${mine}; ${other}`],
    ['cookie', mine ?? '', 'cookie', other ?? ''],
    ['cookie', `${mine?.replace('=', ' =')}; ${other}`],
    ['authorization', `Bearer ${ada.bearer}`, 'authorization', `Bearer ${eve.bearer}`]
  ]
  for (const headers of repeated) {
    for (const [path, method] of [
      ['/session', 'GET'],
      ['/api/auth/get-session', 'GET'],
      ['/api/auth/sign-out', 'POST']
    ] as const) {
      const refused = await send(path, ['origin', url, ...headers], method)
      t.equal(refused.status, 400, path)
      t.equal(causeOf(refused), 'credential_ambiguous', path)
    }
  }
  t.equal(await sessionState(ada.browser), 'valid')
  t.equal(await sessionState(eve.browser), 'valid')
})

t.test('signing in again revokes the session that the cookie named', async (t) => {
  const ada = await signUp(url)
  const before = withCookiesOf(ada.browser)
  t.equal(
    (await ada.browser.post('/api/auth/sign-in/email', { email: ada.email, password })).status,
    200
  )
  t.equal(await sessionState(before), '401 session_revoked')
  t.equal(await sessionState(ada.browser), 'valid')
  const { events } = (await (
    await ada.browser.get(`/sessions/${ada.sessionId}/events`)
  ).json()) as { events: { cause: string }[] }
  t.equal(events.at(-1)?.cause, 'signed_in_again')
})

t.test('a failed sign-in leaves the session of the cookie alone', async (t) => {
  const ada = await signUp(url)
  t.equal(
    (
      await ada.browser.post('/api/auth/sign-in/email', {
        email: ada.email,
        password: 'wrong password'
      })
    ).status,
    401
  )
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('a cookie authenticates no request that another site made the browser send', async (t) => {
  const ada = await signUp(url)
  for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }]) {
    const refused = await ada.browser.fetch('/sessions?except=current', {
      method: 'DELETE',
      headers
    })
    t.equal(refused.status, 403)
    t.match(await refused.json(), { cause: 'origin_refused' })
    t.equal((await ada.browser.post('/api/auth/sign-out', {}, headers)).status, 403)
  }
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('a session that ended otherwise says how', async () => {
  const { prisma } = running.app.holdfast
  const [expired, banned] = [await signUp(url), await signUp(url)]
  await prisma.session.update({
    where: { id: expired.sessionId },
    data: { expiresAt: new Date(0) }
  })
  await prisma.user.update({ where: { id: banned.id }, data: { banned: true } })
  // Changed by hand, so the caches learn of it from the next round of the outbox.
  await until(
    'the expiry to be heard of',
    async () => (await sessionState(expired.browser)) === '401 session_expired'
  )
  await until(
    'the ban to be heard of',
    async () => (await sessionState(banned.browser)) === '401 user_banned'
  )
})

t.test('impersonation keeps the token of the administrator out of every answer', async (t) => {
  const admin = await signUp(url)
  const ada = await signUp(url)
  await makeAdmin(running, admin)
  for (const [path, body] of [
    ['impersonate-user', { userId: ada.id }],
    ['stop-impersonating', {}]
  ] as const) {
    const answer = await admin.browser.post(`/api/auth/admin/${path}`, body)
    t.equal(answer.status, 200, path)
    t.notOk((await answer.text()).includes('hst1_'), path)
    t.notOk(answer.headers.has('set-auth-token'), path)
  }
})

t.test(
  "who stops impersonating without the administrator's cookie is told to sign out",
  async (t) => {
    const admin = await signUp(url)
    const ada = await signUp(url)
    await makeAdmin(running, admin)
    t.equal(
      (await admin.browser.post('/api/auth/admin/impersonate-user', { userId: ada.id })).status,
      200
    )
    for (const name of admin.browser.cookies.keys())
      if (name.endsWith('admin_session')) admin.browser.cookies.delete(name)
    const stopped = await admin.browser.post('/api/auth/admin/stop-impersonating', {})
    t.equal(stopped.status, 400)
    t.match(await stopped.json(), { code: 'NO_ADMIN_SESSION' })
    t.match(
      await (await admin.browser.get('/session')).json(),
      { user: { id: ada.id } },
      'the impersonation continues'
    )
    t.equal((await admin.browser.post('/api/auth/sign-out')).status, 200)
    t.match(await sessionState(admin.browser), /^401/)
  }
)

// A script on a page could otherwise use its httpOnly cookie to get a one-time token, and turn that
// into a token to carry away.
t.test(
  'a one-time token gives a page a cookie, and only a client that is no page a token',
  async (t) => {
    const ada = await signUp(url)
    const ask = async () =>
      (
        (await (await ada.browser.get('/api/auth/one-time-token/generate')).json()) as {
          token: string
        }
      ).token
    const verify = async (headers: Record<string, string>) =>
      fetch(`${url}/api/auth/one-time-token/verify`, {
        method: 'POST',
        body: JSON.stringify({ token: await ask() }),
        headers: { 'content-type': 'application/json', ...headers }
      })
    const page = await verify({ origin: url })
    t.equal(page.status, 200)
    t.equal(page.headers.get('set-auth-token'), null)
    t.notMatch(await page.text(), /hst1_/)
    t.match(page.headers.getSetCookie().join(), /session_token=hst1_/)

    const app = await verify({})
    t.equal(await sessionState(new Browser(url)), '401 credential_missing')
    t.equal(
      (
        await fetch(`${url}/session`, {
          headers: { authorization: `Bearer ${app.headers.get('set-auth-token')}` }
        })
      ).status,
      200
    )
  }
)
