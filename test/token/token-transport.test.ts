import t from 'tap'
import { enrol, newAdmin, newPerson, totp } from '../support/device.js'
import { Browser, build, password } from '../support/server.js'
import { outcomeOf, refresh } from '../support/refresh-fixtures.js'

const running = await build(t, { oneTimeTokens: true })
const { url } = running

interface Answer {
  status: number
  cookies: number
  body: {
    token?: string | null
    challenge?: string
    twoFactorRedirect?: boolean
    tokens?: {
      access_token: string
      refresh_token: string
      session_id: string
      token_type: string
      expires_in: number
    }
  } & Record<string, unknown>
}

/** An app: without cookies, and with tokens when it asks for them. */
async function call(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
  method = 'POST'
): Promise<Answer> {
  const response = await fetch(`${url}/api/auth/${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    ...(method === 'POST' ? { body: JSON.stringify(body) } : {})
  })
  const text = await response.text()
  return {
    status: response.status,
    cookies: response.headers.getSetCookie().length,
    body: (text ? JSON.parse(text) : {}) as Answer['body']
  }
}

const inBody = { 'token-transport': 'body' }
const bearer = (token: string | undefined) => ({ authorization: `Bearer ${token}` })
const stateOf = async (token: string | undefined) => {
  const response = await fetch(`${url}/session`, { headers: bearer(token) })
  return response.status === 200
    ? 'valid'
    : `${response.status} ${((await response.json()) as { cause: string }).cause}`
}

async function newApp(): Promise<{ email: string; tokens: NonNullable<Answer['body']['tokens']> }> {
  const email = `${crypto.randomUUID()}@example.com`
  const {
    body: { tokens }
  } = await call('sign-up/email', { name: 'Ada', email, password }, inBody)
  if (!tokens) throw new Error('no tokens')
  return { email, tokens }
}

t.test('sign-up and sign-in answer with tokens, and set no cookie', async (t) => {
  const email = `${crypto.randomUUID()}@example.com`
  for (const path of ['sign-up/email', 'sign-in/email']) {
    const { status, cookies, body } = await call(path, { name: 'Ada', email, password }, inBody)
    t.equal(status, 200)
    t.equal(cookies, 0)
    t.match(body.tokens, {
      token_type: 'Bearer',
      access_token: /^ey/,
      refresh_token: /^hrt1_/,
      session_id: /^[0-9a-f-]{36}$/
    })
    t.equal(await stateOf(body.tokens?.access_token), 'valid')
    t.equal((await refresh(url, body.tokens?.refresh_token ?? '')).status, 200)
  }
  const { cookies, body } = await call('sign-in/email', { email, password })
  t.ok(cookies > 0, 'cookies are the default')
  const asked = await fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'token-transport': 'cookie' },
    body: JSON.stringify({ email, password })
  })
  t.ok(asked.headers.getSetCookie().length > 0)
  t.notOk(asked.headers.has('set-auth-token'), 'who asks for a cookie is shown no token')
  t.notMatch(await asked.text(), /hst1_/)
  t.notOk(body.tokens)
  t.equal(
    (await call('sign-in/email', { email, password: 'wrong horse battery' }, inBody)).status,
    401
  )
})

t.test('tokens never leave where a session cookie was sent', async (t) => {
  const { browser, email, sessionId } = await newPerson(url)
  const response = await browser.post('/api/auth/sign-in/email', { email, password }, inBody)
  t.equal(response.status, 400)
  t.match(await response.json(), { cause: 'invalid_input' })
  t.match(
    await (await browser.get('/session')).json(),
    { session: { id: sessionId } },
    'the session has not changed'
  )
  t.equal(
    (await call('sign-in/email', { email, password }, { 'token-transport': 'carrier-pigeon' }))
      .status,
    400
  )
})

t.test('a one-time token gives an app its tokens, and a page none', async (t) => {
  const { browser, sessionId, bearer: sessionToken } = await newPerson(url)
  const oneTime = async () =>
    (await call('one-time-token/generate', null, bearer(sessionToken), 'GET')).body.token
  const fromPage = await new Browser(url).post(
    '/api/auth/one-time-token/verify',
    { token: await oneTime() },
    inBody
  )
  t.equal(fromPage.status, 400)
  const { status, cookies, body } = await call(
    'one-time-token/verify',
    { token: await oneTime() },
    inBody
  )
  t.equal(status, 200)
  t.equal(cookies, 0)
  t.not(body.tokens?.session_id, sessionId, 'the tokens have their own session')
  t.equal((await refresh(url, body.tokens?.refresh_token ?? '')).status, 200)
  t.equal((await browser.get('/session')).status, 200)
})

t.test('a second factor: a challenge, and tokens when it is met', async (t) => {
  const device = await newPerson(url)
  const { totpURI, backupCodes } = await enrol(device)
  const pending = await call('sign-in/email', { email: device.email, password }, inBody)
  t.equal(pending.status, 200)
  t.equal(pending.cookies, 0)
  t.match(pending.body, { twoFactorRedirect: true, challenge: /^[\w-]{20,}$/ })
  t.notOk(pending.body.tokens)
  t.equal(
    (await call('two-factor/verify-totp', { code: totp(totpURI) }, inBody)).status,
    401,
    'the challenge is missing'
  )
  for (const challenge of [
    'x',
    Buffer.from('holdfast.session_token=x').toString('base64url'),
    Buffer.from('holdfast.two_factor=x; a=b').toString('base64url')
  ]) {
    t.equal(
      (
        await call(
          'two-factor/verify-totp',
          { code: totp(totpURI) },
          { ...inBody, 'two-factor-challenge': challenge }
        )
      ).status,
      400
    )
  }
  t.equal(
    (
      await call(
        'two-factor/verify-totp',
        { code: '000000' },
        { ...inBody, 'two-factor-challenge': pending.body.challenge ?? '' }
      )
    ).status,
    401
  )
  const { status, cookies, body } = await call(
    'two-factor/verify-totp',
    { code: totp(totpURI) },
    { ...inBody, 'two-factor-challenge': pending.body.challenge ?? '' }
  )
  t.equal(status, 200)
  t.equal(cookies, 0)
  t.equal((await refresh(url, body.tokens?.refresh_token ?? '')).status, 200)
  const check = (await (
    await fetch(`${url}/session`, { headers: bearer(body.tokens?.access_token) })
  ).json()) as { session: { amr: string[] } }
  t.ok(check.session.amr.includes('mfa'))
  const second = await call('sign-in/email', { email: device.email, password }, inBody)
  t.ok(
    (
      await call(
        'two-factor/verify-backup-code',
        { code: backupCodes[0] },
        { ...inBody, 'two-factor-challenge': second.body.challenge ?? '' }
      )
    ).body.tokens,
    'a backup code gives tokens as well'
  )
})

t.test("an access token stands for its session on better-auth's endpoints", async (t) => {
  const { email, tokens } = await newApp()
  const auth = bearer(tokens.access_token)
  const session = await call('get-session', null, auth, 'GET')
  t.match(session.body, {
    session: { id: tokens.session_id, token: `hsh1_${tokens.session_id}` },
    user: { email }
  })
  t.equal((await call('update-user', { name: 'Ada King' }, auth)).status, 200)
  t.equal(
    (
      (await (await fetch(`${url}/session`, { headers: auth })).json()) as {
        user: { name: string }
      }
    ).user.name,
    'Ada King'
  )
  const others = await call('sign-in/email', { email, password }, inBody)
  t.equal((await call('revoke-other-sessions', {}, auth)).status, 200)
  t.equal(await stateOf(others.body.tokens?.access_token), '401 session_revoked')
  t.equal(await stateOf(tokens.access_token), 'valid')
  t.equal((await call('sign-out', {}, auth)).status, 200)
  t.equal(await stateOf(tokens.access_token), '401 session_revoked')
  t.equal(outcomeOf(await refresh(url, tokens.refresh_token)), '400 invalid_grant session_revoked')
  const dead = await call('update-user', { name: 'Eve' }, auth)
  t.equal(dead.status, 401)
  t.equal(dead.body['cause'], 'session_revoked')
  t.equal(
    (await call('get-session', null, auth, 'GET')).status,
    401,
    'a dead credential is refused, and not answered with "no session"'
  )
  t.equal(
    (await call('sign-in/email', { email, password }, { ...auth, ...inBody })).status,
    200,
    'a dead credential does not prevent a sign-in'
  )
})

t.test(
  'an access token, which every service sees, makes no credential that lives longer',
  async (t) => {
    const { tokens } = await newApp()
    t.match(await call('one-time-token/generate', null, bearer(tokens.access_token), 'GET'), {
      status: 403,
      body: { cause: 'access_token_insufficient' }
    })
  }
)

t.test('an expired access token may sign out and be revoked, and nothing else', async (t) => {
  const expired = async () => {
    const { tokens } = await newApp()
    const session = await running.app.holdfast.prisma.session.findUniqueOrThrow({
      where: { id: tokens.session_id }
    })
    const past = new Date(Date.now() - 60_000)
    const { token } = await running.app.holdfast.accessTokens.issue({
      session: { ...session, expiresAt: past, absoluteExpiresAt: past },
      roles: ['user'],
      generation: 0
    })
    t.equal(await stateOf(token), '401 token_expired')
    return { token, fresh: tokens.access_token }
  }
  const { token, fresh } = await expired()
  t.equal(
    (await call('update-user', { name: 'Eve' }, bearer(token))).body['cause'],
    'token_expired'
  )
  t.equal((await call('sign-out', {}, bearer(token))).status, 200)
  t.equal(await stateOf(fresh), '401 session_revoked')
  const other = await expired()
  t.equal(
    (
      await fetch(`${url}/oauth2/revoke`, {
        method: 'POST',
        body: new URLSearchParams({ token: other.token })
      })
    ).status,
    200
  )
  t.equal(await stateOf(other.fresh), '401 session_revoked')
})

t.test(
  'a new password keeps how the user proved themselves, and does not make a session live longer',
  async (t) => {
    const device = await newPerson(url)
    const { totpURI } = await enrol(device)
    const pending = await call(
      'sign-in/email',
      { email: device.email, password, rememberMe: false },
      inBody
    )
    const {
      body: { tokens }
    } = await call(
      'two-factor/verify-totp',
      { code: totp(totpURI) },
      { ...inBody, 'two-factor-challenge': pending.body.challenge ?? '' }
    )
    const shown = async (token: string | undefined) =>
      (
        (await (await fetch(`${url}/session`, { headers: bearer(token) })).json()) as {
          session: { amr: string[]; absoluteExpiresAt: string }
        }
      ).session
    const before = await shown(tokens?.access_token)
    t.ok(
      Date.parse(before.absoluteExpiresAt) < Date.now() + 25 * 3_600_000,
      'the session lasts a day, as the request with the password asked'
    )
    const changed = await call(
      'change-password',
      { currentPassword: password, newPassword: `${password} 2` },
      bearer(tokens?.access_token)
    )
    const after = await shown(changed.body.tokens?.access_token)
    t.strictSame(after.amr, before.amr)
    t.ok(Date.parse(after.absoluteExpiresAt) <= Date.parse(before.absoluteExpiresAt) + 2_000)
  }
)

t.test('a new password answers with a new pair; everything older is dead', async (t) => {
  const { email, tokens } = await newApp()
  const other = await call('sign-in/email', { email, password }, inBody)
  const { status, cookies, body } = await call(
    'change-password',
    { currentPassword: password, newPassword: `${password} 2` },
    bearer(tokens.access_token)
  )
  t.equal(status, 200)
  t.equal(cookies, 0)
  t.equal(outcomeOf(await refresh(url, tokens.refresh_token)), '400 invalid_grant session_revoked')
  t.equal(await stateOf(tokens.access_token), '401 session_revoked')
  t.equal(await stateOf(other.body.tokens?.access_token), '401 session_revoked')
  t.equal(await stateOf(body.tokens?.access_token), 'valid')
  t.equal((await refresh(url, body.tokens?.refresh_token ?? '')).status, 200)
})

t.test('an impersonation begins no refresh family', async (t) => {
  const admin = await newAdmin(running)
  const { tokens } = await newApp()
  const user = (await (
    await fetch(`${url}/session`, { headers: bearer(tokens.access_token) })
  ).json()) as { user: { id: string } }
  const asAdmin = await call('sign-in/email', { email: admin.email, password }, inBody)
  t.equal(
    (
      await call(
        'admin/impersonate-user',
        { userId: user.user.id },
        bearer(asAdmin.body.tokens?.access_token)
      )
    ).status,
    403,
    'an access token is not enough'
  )
  const { status, body } = await call(
    'admin/impersonate-user',
    { userId: user.user.id },
    { ...bearer(admin.bearer), ...inBody }
  )
  t.equal(status, 200)
  t.notOk(body.tokens)
  const rows = await running.app.holdfast.prisma.session.findMany({
    where: { impersonatedBy: admin.id }
  })
  t.strictSame(
    rows.map(({ refreshHash }) => refreshHash),
    [null]
  )
})
