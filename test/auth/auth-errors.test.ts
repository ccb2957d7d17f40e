import { randomUUID } from 'node:crypto'
import { createAuthClient } from 'better-auth/client'
import t from 'tap'
import { expiredSessionCookies } from '../../plugins/http/credential.js'
import { findPasswordFault } from '../../src/auth/new-password.js'
import { limits } from '../../src/limits.js'
import { newAdmin } from '../support/device.js'
import { Browser, build, password, sessionState, signUp } from '../support/server.js'
import { counting } from '../support/count.js'

/*
 * The bridge's refusals: their form and status, and that they come before any look-up.
 */
const running = await build(t, { rateLimit: true })
const { url } = running
const { prisma, auth } = running.app.holdfast
const COOKIE = auth.cookieName

const codeOf = async (response: Response) => ({
  status: response.status,
  code: ((await response.json()) as { code?: string }).code
})

t.test(
  'P11: every refusal below /api/auth has code and message beside the members of a problem',
  async (t) => {
    const ada = await signUp(url)
    const large = JSON.stringify({ email: ada.email, password: 'x'.repeat(200_000) })
    const json = { 'content-type': 'application/json' }
    const refused: [status: number, code: string, path: string, init: RequestInit][] = [
      [400, 'INVALID_INPUT', 'sign-in/email', { method: 'POST', headers: json, body: '{' }],
      [404, 'NOT_FOUND', 'nothing', {}],
      [400, 'INVALID_INPUT', 'nothing/%', {}],
      [405, 'METHOD_NOT_ALLOWED', 'sign-out', {}],
      [413, 'PAYLOAD_TOO_LARGE', 'sign-in/email', { method: 'POST', headers: json, body: large }],
      [
        415,
        'UNSUPPORTED_MEDIA_TYPE',
        'sign-in/email',
        { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'x' }
      ]
    ]
    for (const [status, code, path, init] of refused) {
      const response = await fetch(`${url}/api/auth/${path}`, init)
      t.match(
        { status: response.status, body: await response.json() },
        {
          status,
          body: {
            code,
            message: String,
            status,
            cause: code.toLowerCase(),
            title: String,
            detail: String,
            requestId: String,
            type: 'about:blank'
          }
        },
        path
      )
    }
    const client = createAuthClient({ baseURL: url, fetchOptions: { headers: { origin: url } } })
    let error: { code?: string | undefined; message?: string | undefined; status: number } | null =
      null
    for (let n = 0; n <= limits.accountFromAddress.max; n++)
      ({ error } = await client.signIn.email({
        email: 'nobody@example.com',
        password: 'a wrong guess'
      }))
    t.match(
      error,
      { status: 429, code: 'RATE_LIMITED', message: String },
      'the official client can read the error of a limit'
    )
  }
)

t.test(
  'P12: HEAD answers as GET does without a body, and another method is 405 and names those that are allowed',
  async (t) => {
    const { browser } = await signUp(url)
    for (const path of ['ok', 'get-session', 'list-sessions', 'list-accounts', 'error']) {
      const response = await browser.fetch(`/api/auth/${path}`, { method: 'HEAD' })
      t.equal(response.status, 200, `HEAD ${path}`)
      t.equal(await response.text(), '', path)
    }
    for (const [method, path, allowed] of [
      ['GET', 'sign-in/email', 'POST'],
      ['PUT', 'get-session', 'GET, HEAD'],
      ['HEAD', 'sign-out', 'POST'],
      ['DELETE', 'delete-user', 'POST']
    ] as const) {
      const response = await browser.fetch(`/api/auth/${path}`, { method })
      t.equal(response.status, 405, `${method} ${path}`)
      t.equal(response.headers.get('allow'), allowed, `${method} ${path}`)
    }
    t.equal(await sessionState(browser), 'valid')
  }
)

t.test('links of mails are opened by scanners: nothing acts on a GET of theirs', async (t) => {
  for (const path of [
    'verify-email?token=a-token',
    'magic-link/verify?token=a-token',
    'reset-password/a-token?callbackURL=/',
    'delete-user/callback?token=a-token',
    'not-me?token=a-token'
  ]) {
    const { status } = await new Browser(url).get(`/api/auth/${path}`)
    t.ok(status === 404 || status === 405, `${path} answers ${status}`)
  }
})

t.test('P10: a client that is not signed in gets a 401', async (t) => {
  const nobody = new Browser(url)
  const gone = await signUp(url)
  await gone.browser.post('/api/auth/sign-out')
  for (const headers of [{}, { authorization: `Bearer ${gone.bearer}` }] as Record<
    string,
    string
  >[]) {
    for (const path of [
      'admin/list-users',
      'admin/get-user?id=x',
      'account-info?accountId=x',
      'list-sessions',
      'list-accounts'
    ]) {
      const response = await nobody.get(`/api/auth/${path}`, headers)
      t.match(
        { status: response.status, body: await response.json() },
        { status: 401, body: { code: String, message: String } },
        path
      )
    }
    for (const [path, body] of [
      ['admin/set-role', { userId: 'x', role: 'user' }],
      ['admin/remove-user', { userId: 'x' }],
      ['admin/ban-user', { userId: 'x' }],
      ['change-password', { currentPassword: password, newPassword: `${password}!` }]
    ] as const) {
      t.match(
        await codeOf(await nobody.post(`/api/auth/${path}`, body, headers)),
        { status: 401, code: String },
        path
      )
    }
  }
})

t.test(
  'S14: known and unknown addresses get the same answer to fields that are wrong',
  async (t) => {
    const { email } = await signUp(url)
    const wrong: Record<string, unknown>[] = [
      { name: '\0' },
      { name: 'a\ud800' },
      { name: 'x'.repeat(257) },
      { name: 7 },
      { name: {} },
      { image: '\0' },
      { image: 'x'.repeat(2049) },
      { image: 7 },
      { image: { set: 'x' } },
      { password: 'short' },
      { password: 'x'.repeat(129) },
      { password: 'password' },
      { password: 'a\0bcdefgh' },
      { callbackURL: '\0' },
      { unheard: '\udfff' }
    ]
    for (const fields of wrong) {
      const answers: unknown[] = []
      for (const address of [email, `${randomUUID()}@example.com`])
        answers.push(
          await codeOf(
            await new Browser(url).post('/api/auth/sign-up/email', {
              name: 'Eve',
              email: address,
              password,
              ...fields
            })
          )
        )
      t.match(answers[0], { status: 400 }, JSON.stringify(fields).slice(0, 80))
      t.strictSame(answers[0], answers[1], JSON.stringify(fields).slice(0, 80))
    }
    const admin = await newAdmin(running)
    for (const data of [{ name: '\0' }, { image: { set: 'x' } }, { image: 7 }]) {
      for (const address of [email, `${randomUUID()}@example.com`])
        t.match(
          await codeOf(
            await admin.browser.post('/api/auth/admin/create-user', {
              name: 'Eve',
              email: address,
              password,
              data
            })
          ),
          { status: 400, code: 'INVALID_INPUT' }
        )
    }
    const counts = await counting(async () => {
      for (const address of [
        'no address',
        'a@b',
        'a\0@example.com',
        `${'x'.repeat(250)}@example.com`
      ])
        t.match(
          await codeOf(
            await new Browser(url).post('/api/auth/sign-in/email', { email: address, password })
          ),
          { status: 400 }
        )
    })
    t.equal(counts.queries, 0, 'nothing is read from the store')
  }
)

t.test(
  'S23: a password has 8 to 128 characters wherever it is set, and is not one of the first that are tried',
  async (t) => {
    const ada = await signUp(url)
    const admin = await newAdmin(running)
    const set: ((secret: string) => Promise<Response>)[] = [
      (secret) =>
        new Browser(url).post('/api/auth/sign-up/email', {
          name: 'Eve',
          email: `${randomUUID()}@example.com`,
          password: secret
        }),
      (secret) =>
        ada.browser.post('/api/auth/change-password', {
          currentPassword: password,
          newPassword: secret
        }),
      (secret) =>
        ada.browser.post('/api/auth/reset-password', { newPassword: secret, token: 'none' }),
      (secret) =>
        admin.browser.post('/api/auth/admin/create-user', {
          name: 'Eve',
          email: `${randomUUID()}@example.com`,
          password: secret,
          role: 'user'
        }),
      (secret) =>
        admin.browser.post('/api/auth/admin/set-user-password', {
          userId: ada.id,
          newPassword: secret
        })
    ]
    const refused: [secret: string, code: string][] = [
      ['x', 'PASSWORD_TOO_SHORT'],
      ['', 'PASSWORD_TOO_SHORT'],
      ['\u{1f600}'.repeat(4), 'PASSWORD_TOO_SHORT'],
      ['\u{1f600}'.repeat(129), 'PASSWORD_TOO_LONG'],
      ['password', 'PASSWORD_TOO_COMMON'],
      ['12345678', 'PASSWORD_TOO_COMMON'],
      ['PassWord', 'PASSWORD_TOO_COMMON'],
      ['\uff50assword', 'PASSWORD_TOO_COMMON'],
      ['Holdfast', 'PASSWORD_TOO_COMMON']
    ]
    for (const [secret, code] of refused) {
      for (const [i, attempt] of set.entries())
        t.strictSame(await codeOf(await attempt(secret)), { status: 400, code }, `${code} at ${i}`)
    }
    const email = `${randomUUID()}@example.com`
    t.strictSame(
      await codeOf(
        await new Browser(url).post('/api/auth/sign-up/email', {
          name: 'Eve',
          email,
          password: email.toUpperCase()
        })
      ),
      { status: 400, code: 'PASSWORD_TOO_COMMON' }
    )
    const emoji = '\u{1f600}\u{1f680}\u{1f40c}\u{1f419}\u{1f340}'.repeat(13)
    t.equal(
      (
        await new Browser(url).post('/api/auth/sign-up/email', {
          name: 'Eve',
          email,
          password: emoji
        })
      ).status,
      200,
      '65 emoji count as no more than 65 characters'
    )
    t.equal(
      (await new Browser(url).post('/api/auth/sign-in/email', { email, password: emoji })).status,
      200
    )
    t.equal(
      await findPasswordFault('e\u0301'.repeat(8)),
      null,
      'characters are counted in the form in which they are hashed'
    )
    t.equal(await findPasswordFault('e\u0301'.repeat(7)), 'password_too_short')
  }
)

t.test('P16: a hash of another kind is a wrong password, and is counted', async (t) => {
  const ada = await signUp(url)
  await prisma.account.updateMany({
    where: { userId: ada.id },
    data: { password: '$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234' }
  })
  const statuses: number[] = []
  for (let n = 0; n <= limits.accountFromAddress.max; n++)
    statuses.push(
      (await new Browser(url).post('/api/auth/sign-in/email', { email: ada.email, password }))
        .status
    )
  t.strictSame(statuses, [...Array.from({ length: limits.accountFromAddress.max }, () => 401), 429])
  t.match(await codeOf(await ada.browser.post('/api/auth/verify-password', { password })), {
    status: 400,
    code: 'INVALID_PASSWORD'
  })
})

t.test('P5: two session cookies are no dead end', async (t) => {
  const [ada, bob] = [await signUp(url), await signUp(url)]
  const of = ({ browser }: typeof ada) => `${COOKIE}=${browser.cookies.get(COOKIE)}`
  const ask = (path: string, cookie: string, body?: unknown) =>
    fetch(`${url}${path}`, {
      headers: { cookie, origin: url, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) })
    })
  t.match(
    await (await ask('/api/auth/get-session', `${of(ada)}; ${of(ada)}`)).json(),
    { user: { id: ada.id } },
    'two equal cookies count as one'
  )
  const both = `${of(ada)}; ${of(bob)}`
  for (const [path, body] of [
    ['/api/auth/get-session', undefined],
    ['/api/auth/sign-out', {}]
  ] as const) {
    const refused = await ask(path, both, body)
    t.match(await codeOf(refused), { status: 400, code: 'CREDENTIAL_AMBIGUOUS' }, path)
    t.ok(
      refused.headers
        .getSetCookie()
        .some((cookie) => cookie.startsWith(`${COOKIE}=;`) && /; Max-Age=0/i.test(cookie)),
      `${path} makes the browser forget the cookies`
    )
  }
  t.equal(await sessionState(ada.browser), 'valid', 'no session has ended')
  const wrong = await ask('/api/auth/sign-in/email', both, {
    email: ada.email,
    password: 'a wrong guess'
  })
  t.equal(wrong.status, 401)
  t.strictSame(wrong.headers.getSetCookie(), [], 'a wrong password changes no cookie')
  const right = await ask('/api/auth/sign-in/email', both, { email: ada.email, password })
  t.equal(right.status, 200)
  const cookies = right.headers.getSetCookie().filter((cookie) => cookie.startsWith(`${COOKIE}=`))
  t.match(cookies[0], /; Max-Age=0/i, 'the answer first removes the old cookies')
  t.match(cookies.at(-1), /=hst1_/, 'the answer then sets the new cookie')
  t.strictSame(
    expiredSessionCookies(auth).length,
    1,
    'without COOKIE_DOMAIN there is one form of the cookie'
  )
})

t.test('S27: an endpoint that is off answers 404 without I/O', async (t) => {
  const { browser } = await signUp(url)
  const counts = await counting(async () => {
    for (const path of [
      'sign-in/social',
      'link-social',
      'refresh-token',
      'get-access-token',
      'callback/github'
    ]) {
      t.match(
        await codeOf(await browser.post(`/api/auth/${path}`, { provider: 'github' })),
        { status: 404, code: 'NOT_FOUND' },
        path
      )
    }
    t.equal((await browser.get('/api/auth/callback/github?state=x&code=y')).status, 404)
  })
  t.equal(counts.queries, 0) // each counts as an unknown route
})

t.test(
  'P12: an address to go on to that no header can carry is refused, before a password is looked at',
  async (t) => {
    const { email } = await signUp(url)
    const before = await prisma.session.count()
    for (const secret of [password, 'a wrong guess']) {
      const refused = await new Browser(url).post('/api/auth/sign-in/email', {
        email,
        password: secret,
        callbackURL: '/\u0101'
      })
      t.match(await codeOf(refused), { status: 400, code: 'INVALID_INPUT' })
    }
    t.equal(await prisma.session.count(), before)
    t.equal(
      (
        await new Browser(url).post('/api/auth/sign-in/email', {
          email,
          password,
          callbackURL: '/%C4%81'
        })
      ).status,
      200
    )
  }
)

/** The answers to four concurrent requests for one new address. */
async function fourAtOnce(ask: (email: string, n: number) => Promise<Response>) {
  const email = `${randomUUID()}@example.com`
  const answers = await Promise.all([0, 1, 2, 3].map(async (n) => codeOf(await ask(email, n))))
  return answers.toSorted((a, b) => a.status - b.status)
}

t.test(
  'S14: of those who want one address at once, one has it, and the others are told so',
  async (t) => {
    const admin = await newAdmin(running)
    const taken = { code: 'USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL' }
    const inserted = { status: 200, code: undefined }
    const refused = (status: number) => Array.from({ length: 3 }, () => ({ status, ...taken }))
    t.strictSame(
      await fourAtOnce((email) =>
        new Browser(url).post('/api/auth/sign-up/email', { name: 'Ada', email, password })
      ),
      [inserted, ...refused(422)]
    )
    t.strictSame(
      await fourAtOnce((email) =>
        admin.browser.post('/api/auth/admin/create-user', { name: 'Ada', email, password })
      ),
      [inserted, ...refused(400)]
    )
    const people = await Promise.all([0, 1, 2, 3].map(() => signUp(url)))
    t.strictSame(
      await fourAtOnce((email, n) =>
        admin.browser.post('/api/auth/admin/update-user', {
          userId: people[n]?.id,
          data: { email }
        })
      ),
      [inserted, ...refused(400)]
    )
  }
)
