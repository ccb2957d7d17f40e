import { createHmac } from 'node:crypto'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { toHandle } from '../../src/session/session-token.js'
import { Browser, build, makeAdmin, password, sessionState, signUp } from '../support/server.js'
import { SeededRandom } from '../support/random.js'
import { readCredentials } from '../support/store-contents.js'

const running = await build(t, { oneTimeTokens: true })
const { url } = running
const { prisma, auth } = running.app.holdfast
const ada = await signUp(url)
const admin = await signUp(url)
await makeAdmin(running, admin)
const cookie = ada.browser.cookies.get(auth.cookieName) ?? ''

interface Endpoint {
  path: string
  /** The browser that asks. Absent: any. */
  as?: Browser
  /** A body of the right form that changes nothing by itself. */
  body: Record<string, unknown>
}

const wrong = 'not the password of anybody'
const nobody = '01890000-0000-7000-8000-000000000000'
/** Of what asks for a mail: the answer to every address is the same. */
const NO_ADDRESS = 'eve'
const endpoints: Endpoint[] = [
  {
    path: '/sign-up/email',
    body: {
      name: 'Eve',
      email: ada.email,
      password,
      image: 'https://example.com/e.png',
      callbackURL: '/',
      rememberMe: true,
      language: 'en'
    }
  },
  {
    path: '/sign-in/email',
    body: { email: ada.email, password: wrong, callbackURL: '/', rememberMe: true }
  },
  {
    path: '/change-password',
    as: ada.browser,
    body: { currentPassword: wrong, newPassword: wrong, revokeOtherSessions: true }
  },
  { path: '/verify-password', as: ada.browser, body: { password: wrong } },
  { path: '/update-user', as: ada.browser, body: { image: 7, name: 7, language: 7 } },
  {
    path: '/delete-user',
    as: ada.browser,
    body: { password: wrong, callbackURL: '/', token: 'none' }
  },
  {
    path: '/change-email',
    as: ada.browser,
    body: { newEmail: NO_ADDRESS, callbackURL: '/' }
  },
  { path: '/reset-password', body: { newPassword: wrong, token: 'none' } },
  { path: '/request-password-reset', body: { email: NO_ADDRESS, redirectTo: '/' } },
  { path: '/send-verification-email', body: { email: NO_ADDRESS, callbackURL: '/' } },
  { path: '/sign-in/magic-link', body: { email: NO_ADDRESS, name: 'Eve', callbackURL: '/' } },
  { path: '/email-otp/request-password-reset', body: { email: NO_ADDRESS } },
  { path: '/forget-password/email-otp', body: { email: NO_ADDRESS } },
  { path: '/email-otp/send-verification-otp', body: { email: NO_ADDRESS, type: 'sign-in' } },
  {
    path: '/email-otp/check-verification-otp',
    body: { email: ada.email, type: 'sign-in', otp: '000000' }
  },
  {
    path: '/email-otp/verify-email',
    body: { email: ada.email, otp: '000000', password: wrong, newPassword: wrong }
  },
  {
    path: '/email-otp/reset-password',
    body: { email: ada.email, otp: '000000', password: wrong }
  },
  {
    path: '/sign-in/email-otp',
    body: { email: ada.email, otp: '000000', name: 'Eve', image: 'https://example.com/e.png' }
  },
  {
    path: '/email-otp/request-email-change',
    as: ada.browser,
    body: { newEmail: 'eve@example.com', otp: '000000' }
  },
  {
    path: '/email-otp/change-email',
    as: ada.browser,
    body: { newEmail: 'eve@example.com', otp: '000000' }
  },
  { path: '/verify-email', body: { token: 'none', password: wrong, newPassword: wrong } },
  { path: '/magic-link/verify', body: { token: 'none' } },
  { path: '/describe-link', body: { token: 'none' } },
  { path: '/not-me', body: { token: 'none' } },
  { path: '/admin/send-password-reset', as: admin.browser, body: { userId: nobody } },
  { path: '/unlink-account', as: ada.browser, body: { accountId: 'none' } },
  { path: '/link-social', as: ada.browser, body: { provider: 'none', callbackURL: '/' } },
  { path: '/sign-in/social', body: { provider: 'none', callbackURL: '/' } },
  { path: '/two-factor/enable', as: ada.browser, body: { password: wrong, issuer: 'Holdfast' } },
  { path: '/two-factor/disable', as: ada.browser, body: { password: wrong } },
  { path: '/two-factor/generate-backup-codes', as: ada.browser, body: { password: wrong } },
  { path: '/two-factor/verify-totp', body: { code: '000000', trustDevice: true } },
  {
    path: '/two-factor/verify-backup-code',
    body: { code: 'none', trustDevice: true, disableSession: false }
  },
  { path: '/one-time-token/verify', body: { token: 'none' } },
  { path: '/admin/set-role', as: admin.browser, body: { userId: nobody, role: 'user' } },
  {
    path: '/admin/create-user',
    as: admin.browser,
    body: { email: ada.email, password, name: 'Eve', role: 'user', data: {} }
  },
  {
    path: '/admin/update-user',
    as: admin.browser,
    body: { userId: nobody, data: { name: 'Eve' } }
  },
  {
    path: '/admin/ban-user',
    as: admin.browser,
    body: { userId: nobody, banReason: 'none', banExpiresIn: 60 }
  },
  { path: '/admin/unban-user', as: admin.browser, body: { userId: nobody } },
  { path: '/admin/impersonate-user', as: admin.browser, body: { userId: nobody } },
  { path: '/admin/remove-user', as: admin.browser, body: { userId: nobody } },
  {
    path: '/admin/set-user-password',
    as: admin.browser,
    body: { userId: nobody, newPassword: wrong }
  }
]

const strings: Record<string, string> = {
  NUL: 'a\0b',
  'a lone surrogate': 'a\ud800b',
  SQL: `'; DELETE FROM "session"; --`,
  'a pattern': '%_\\',
  'a long text': 'x'.repeat(40_000),
  nothing: ''
}
const others: Record<string, unknown> = {
  null: null,
  'a number': 17,
  'an object': { $ne: '' },
  'an operator': { set: 'Eve' },
  'another operator': { not: '' },
  'a list': ['a', 'b']
}

t.test(
  'every field of every endpoint refuses what it cannot take, and nothing changes',
  async (t) => {
    for (const { path, as = new Browser(url), body } of endpoints) {
      const before = await readCredentials(prisma)
      for (const field of Object.keys(body)) {
        await Promise.all(
          Object.entries({ ...strings, ...others }).map(async ([what, value]) => {
            const response = await as.post(`/api/auth${path}`, { ...body, [field]: value })
            await refused(t, response, `${path} ${field}: ${what}`)
          })
        )
      }
      t.equal(await readCredentials(prisma), before, `${path} changed nothing`)
    }
  }
)

t.test('whole bodies that are no bodies are refused', async (t) => {
  const bodies: Record<string, [body: string | null, type: string]> = {
    'no body': [null, 'application/json'],
    'an empty body': ['', 'application/json'],
    'half of a body': ['{"email":"a@exam', 'application/json'],
    'no JSON': ['email=a', 'application/json'],
    'a list': ['[]', 'application/json'],
    'a number': ['1', 'application/json'],
    null: ['null', 'application/json'],
    'deep lists': [deep('[', ']'), 'application/json'],
    'deep objects': [`{"password":${deep('{"a":', '}')}}`, 'application/json'],
    'a prototype': [
      '{"password":"wrong","__proto__":{"email":"a@example.com","password":"x"},"constructor":{"prototype":{"role":"admin"}}}',
      'application/json'
    ],
    'plain text': ['{"password":7}', 'text/plain'],
    XML: ['<a/>', 'application/xml'],
    'a form without its parts': ['x', 'multipart/form-data'],
    bytes: ['\u0001\u0002', 'application/octet-stream'],
    'an unheard-of type': ['{"password":7}', 'nonsense'],
    'an unknown charset': ['{"password":7}', 'application/json; charset=utf-99']
  }
  const before = await readCredentials(prisma)
  for (const { path, as = new Browser(url) } of endpoints) {
    await Promise.all(
      Object.entries(bodies).map(async ([what, [body, type]]) => {
        const response = await as.fetch(`/api/auth${path}`, {
          method: 'POST',
          body,
          headers: { 'content-type': type }
        })
        await refused(t, response, `${path}: ${what}`)
      })
    )
  }
  t.equal(await readCredentials(prisma), before, 'nothing changed')
})

t.test('a body of a megabyte is refused before it is read', async (t) => {
  const body = JSON.stringify({ email: 'x'.repeat(1_000_000), password })
  for (const path of [
    '/api/auth/sign-in/email',
    '/api/auth/sign-up/email',
    '/api/auth/update-user'
  ]) {
    const response = await ada.browser.fetch(path, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' }
    })
    await refusedBecause(t, response, 413, 'payload_too_large')
  }
  const response = await ada.browser.fetch('/sessions?except=current', {
    method: 'DELETE',
    body,
    headers: { 'content-type': 'application/json' }
  })
  await refusedBecause(t, response, 413, 'payload_too_large')
})

t.test('no user can raise their own role', async (t) => {
  const before = await readCredentials(prisma)
  for (const field of [
    'role',
    'banned',
    'banReason',
    'banExpires',
    'email',
    'emailVerified',
    'credentialEpoch',
    'signUpHandle',
    'language',
    'twoFactorEnabled',
    'id',
    '__proto__',
    'constructor',
    'prototype',
    'createdAt'
  ]) {
    const body = `{"${field}":${field === 'role' ? '"admin"' : field === 'email' ? '"eve@example.com"' : field.endsWith('e__') || field === 'constructor' ? '{"role":"admin"}' : '7'}}`
    const response = await ada.browser.fetch('/api/auth/update-user', {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' }
    })
    await refused(t, response, field)
  }
  t.equal(await readCredentials(prisma), before, 'nothing changed')
  t.equal(
    ({} as Record<string, unknown>)['role'],
    undefined,
    'the prototype of objects has not changed'
  )
})

t.test('what looks like SQL is a text like any other where a text is right', async (t) => {
  const eve = await signUp(url)
  const name = `Robert'); DROP TABLE "session"; -- \\ " $1 %s`
  t.equal((await eve.browser.post('/api/auth/update-user', { name })).status, 200)
  const { user } = (await (await eve.browser.get('/session')).json()) as { user: { name: string } }
  t.equal(user.name, name)
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('queries and paths that no client sends are refused, and change nothing', async (t) => {
  const before = await readCredentials(prisma)
  const bad = [
    '%00',
    '%ff',
    '%zz',
    '%',
    '%ed%a0%80',
    "'%20OR%201=1",
    '..%2f..%2fetc',
    'x'.repeat(300),
    '%E0%A4%A'
  ]
  const paths = bad.flatMap((value) => [
    `/api/auth/reset-password/${value}?callbackURL=${value}`,
    `/api/auth/verify-email?token=${value}`,
    `/api/auth/magic-link/verify?token=${value}`,
    `/api/auth/delete-user/callback?token=${value}`,
    `/api/auth/callback/${value}?state=${value}`,
    `/api/auth/${value}`,
    `/${value}`,
    `/sessions/${value}/events`,
    `/session/${value}`
  ])
  for (const path of paths) {
    const response = await ada.browser.get(path)
    // A callback of better-auth redirects the browser to an error page.
    if (response.status === 302) t.match(response.headers.get('location'), /error=/, path)
    else await refused(t, response, path)
  }
  for (const path of bad.flatMap((value) => [
    `/api/auth/admin/get-user?id=${value}`,
    `/api/auth/account-info?accountId=${value}`
  ])) {
    await refused(t, await admin.browser.get(path), path)
  }
  t.equal(await readCredentials(prisma), before, 'nothing changed')
})

t.test('the list of users takes no operator, time or number that is none', async (t) => {
  const queries = [
    'filterField=email&filterValue=%00',
    'filterField=email&filterOperator=like&filterValue=1',
    'searchField=password&searchValue=a',
    'searchField=email&searchValue=%00',
    'limit=-1',
    'limit=1e400',
    'limit=99999999999999999999',
    'offset=-1',
    'filterField=createdAt&filterValue=x&filterOperator=lt',
    'sortDirection=up&sortBy=email'
  ]
  for (const query of queries) {
    const response = await admin.browser.get(`/api/auth/admin/list-users?${query}`)
    await refused(t, response, query)
  }
})

t.test('bad ids and a missing ?except=current end no session', async (t) => {
  const before = await readCredentials(prisma)
  for (const query of [
    '',
    '?except=',
    '?except=all',
    '?except=current&except=current',
    '?except=current&also=this',
    '?except[]=current',
    '?Except=current'
  ]) {
    await refusedBecause(t, await ada.browser.delete(`/sessions${query}`), 400, 'invalid_input')
  }
  for (const id of [
    '1',
    'current',
    toHandle(ada.sessionId),
    `${ada.sessionId}'`,
    `${ada.sessionId}%00`,
    `${ada.sessionId}%20`,
    'null'
  ]) {
    await refusedBecause(t, await ada.browser.delete(`/sessions/${id}`), 400, 'invalid_input')
    await refusedBecause(t, await ada.browser.get(`/sessions/${id}/events`), 400, 'invalid_input')
  }
  await refusedBecause(t, await ada.browser.delete(`/sessions/${nobody}`), 404, 'not_found')
  await refusedBecause(t, await ada.browser.get(`/sessions/${nobody}/events`), 404, 'not_found')
  for (const token of [
    toHandle(nobody),
    toHandle(admin.sessionId),
    admin.sessionId,
    '',
    'hst1_',
    `${toHandle(ada.sessionId)} `
  ]) {
    t.equal(
      (await ada.browser.post('/api/auth/revoke-session', { token })).status,
      200,
      'better-auth answers 200 for a session that does not exist'
    )
  }
  t.equal(await readCredentials(prisma), before, 'nothing changed')
})

t.test('unknown routes and methods are refused', async (t) => {
  for (const path of [
    '/nothing',
    '/Session',
    '/session/',
    '/sessions/',
    '/api',
    '/api/auth',
    '/api/auth/',
    '/api/auth/nothing',
    '/api/auth//sign-in/email',
    '/api/auth/../session',
    '/.env'
  ]) {
    await refused(t, await new Browser(url).get(path), path)
  }
  for (const method of ['POST', 'PUT', 'PATCH', 'OPTIONS', 'PURGE', 'PROPFIND', 'MKCOL']) {
    for (const path of ['/session', '/sessions', `/sessions/${nobody}/events`, '/health/live']) {
      await refused(t, await ada.browser.fetch(path, { method }), `${method} ${path}`)
    }
  }
  for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PURGE']) {
    await refused(
      t,
      await ada.browser.fetch('/api/auth/sign-out', { method }),
      `${method} sign-out`
    )
  }
  for (const type of ['application/xml', 'text/html', 'multipart/form-data', 'nonsense']) {
    const response = await ada.browser.fetch('/sessions?except=current', {
      method: 'DELETE',
      body: 'x',
      headers: { 'content-type': type }
    })
    await refusedBecause(t, response, 415, 'unsupported_media_type')
  }
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('hundreds of mutated credentials are refused everywhere', async (t) => {
  const random = new SeededRandom(20_260_101)
  const before = await readCredentials(prisma)
  const mutants = new Set<string>()
  while (mutants.size < 400) {
    const mutant = mutate(random, random.pick([ada.bearer, cookie, decodeURIComponent(cookie)]))
    if (meaningOf(mutant) !== meaningOf(cookie)) mutants.add(mutant)
  }
  for (const batch of batches([...mutants], 20)) {
    await Promise.all(batch.flatMap((mutant) => [asCookie(t, mutant), asBearer(t, mutant)]))
  }
  t.equal(await readCredentials(prisma), before, 'nothing changed')
  t.equal(await sessionState(ada.browser), 'valid', 'the real session is still valid')
})

t.test('forged, truncated, re-signed and overlong credentials are refused', async (t) => {
  const token = decodeURIComponent(cookie).split('.', 1)[0] ?? ''
  const sign = (secret: string, text = token) =>
    `${text}.${createHmac('sha256', secret).update(text).digest('base64')}`
  const foreign = (await signUp(url)).bearer
  const forged = [
    token,
    `${token}.`,
    `${token}.${'A'.repeat(43)}=`,
    sign(''),
    sign('secret'),
    sign('null'),
    sign(token),
    `${token}.${decodeURIComponent(foreign).split('.')[1]}`,
    `${decodeURIComponent(cookie)}.${decodeURIComponent(cookie)}`,
    decodeURIComponent(cookie).slice(0, -1),
    decodeURIComponent(cookie).slice(0, 90),
    `${decodeURIComponent(cookie)}==`,
    `${decodeURIComponent(cookie)}A`,
    'hst1_',
    'hst1_.',
    '.',
    'null',
    'undefined',
    '[object Object]',
    toHandle(ada.sessionId),
    ada.sessionId,
    sign(running.options.authSecret ?? ''),
    '%00',
    '%',
    '%E0%A4%A',
    'j:{"a":1}',
    `hst1_${'A'.repeat(72)}.${'A'.repeat(43)}=`,
    'x'.repeat(8_000)
  ]
  for (const credential of forged) {
    await asCookie(t, credential)
    await asBearer(t, credential)
  }
  const long = await fetch(`${url}/session`, {
    headers: { cookie: `${auth.cookieName}=${'x'.repeat(20_000)}` }
  })
  await refusedBecause(t, long, 431, 'headers_too_large')
  const header = await fetch(`${url}/session`, {
    headers: { authorization: `Bearer ${'x'.repeat(20_000)}` }
  })
  await refusedBecause(t, header, 431, 'headers_too_large')
  const other = admin.browser.cookies.get(auth.cookieName)
  const twice = await fetch(`${url}/session`, {
    headers: { cookie: `${auth.cookieName}=${cookie}; ${auth.cookieName}=${other}` }
  })
  await refusedBecause(t, twice, 400, 'credential_ambiguous')
})

t.test('what is no HTTP is refused on the socket, and the server lives on', async (t) => {
  const requests: Record<string, string> = {
    'no HTTP at all': 'hello\r\n\r\n',
    'bytes of TLS': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
    'a method that is none': 'BREW /session HTTP/1.1\r\nHost: a\r\n\r\n',
    'a version that is none': 'GET /session HTTP/9.9\r\nHost: a\r\n\r\n',
    'a header without a colon': 'GET /session HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n',
    'NUL in a header': 'GET /session HTTP/1.1\r\nHost: a\r\nCookie: a=\0\r\n\r\n',
    'NUL in the path': 'GET /ses\0sion HTTP/1.1\r\nHost: a\r\n\r\n',
    'a bare line feed in a header':
      'GET /session HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\nConnection: close\r\n\r\n',
    'two lengths':
      'POST /api/auth/sign-in/email HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}',
    'a length and chunks':
      'POST /api/auth/sign-in/email HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'a length that is none':
      'POST /api/auth/sign-in/email HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
    'a chunk that is none':
      'POST /api/auth/sign-in/email HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'two hosts': 'GET /session HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n',
    'an address instead of a path':
      'GET http://other.example/session HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'an address below better-auth':
      'GET http://other.example/api/auth/list-sessions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'two Authorization headers': `GET /session HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ada.bearer}\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n`,
    'two Authorization headers at better-auth': `GET /api/auth/get-session HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ada.bearer}\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n`,
    'raw bytes above ASCII':
      'GET /session/\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'too many headers': `GET /session HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${'X: y\r\n'.repeat(5_000)}\r\n`,
    'raw bytes above ASCII at better-auth':
      'GET /api/auth/\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'a header above ASCII at better-auth':
      'POST /api/auth/sign-in/email HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Name: \xff\xfe\r\nUser-Agent: \xe9\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n{}',
    'a colon for a path': 'GET : HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'two slashes before a host':
      'GET //other.example/api/auth/get-session HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  }
  for (const [what, bytes] of Object.entries(requests)) {
    const { status, head, body } = await exchange(Buffer.from(bytes, 'latin1'))
    t.ok(status >= 400 && status < 500, `${what}: ${status}`)
    t.match(head, /content-type: application\/(problem\+)?json/i, `${what}: ${head}`)
    t.match(
      JSON.parse(body || '{}'),
      head.includes('problem+json') ? { cause: String, status } : { message: String },
      what
    )
  }
  // Node answers these itself, with a bare status.
  t.equal(
    (await exchange(Buffer.from('GET /session HTTP/1.1\r\n\r\n'))).status,
    400,
    'a request without a host is refused'
  )
  t.equal(
    (
      await exchange(
        Buffer.from(
          'GET /session HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\nConnection: close\r\n\r\n'
        )
      )
    ).status,
    417,
    'an unknown expectation is refused'
  )
  t.equal(await sessionState(ada.browser), 'valid')
})

function deep(open: string, close: string): string {
  return `${open.repeat(20_000)}1${close.repeat(20_000)}`
}

/**
 * Asserts a refusal in the documented form: problem details with a `cause`, or better-auth's `{
 * code, message }` below /api/auth.
 */
async function refused(t: Test, response: Response, what: string): Promise<void> {
  const text = await response.text()
  if (response.status < 400 || response.status >= 500) {
    t.fail(`${what}: answered ${response.status} ${text.slice(0, 200)}`)
    return
  }
  const type = response.headers.get('content-type') ?? ''
  const body = type.includes('json') ? (JSON.parse(text) as Record<string, unknown>) : {}
  const isProblem =
    type.startsWith('application/problem+json') &&
    typeof body['cause'] === 'string' &&
    body['status'] === response.status
  const isAuthError =
    new URL(response.url).pathname.startsWith('/api/auth') && typeof body['message'] === 'string'
  if (!isProblem && !isAuthError)
    t.fail(`${what}: ${response.status} ${type} ${text.slice(0, 200)}`)
}

async function refusedBecause(
  t: Test,
  response: Response,
  status: number,
  cause: string
): Promise<void> {
  t.match(
    { status: response.status, body: await response.json() },
    { status, body: { cause, status } },
    `${new URL(response.url).pathname}: ${cause}`
  )
}

async function asCookie(t: Test, value: string): Promise<void> {
  await authenticatesNobody(t, { cookie: `${auth.cookieName}=${value}` })
}

async function asBearer(t: Test, value: string): Promise<void> {
  await authenticatesNobody(t, { authorization: `Bearer ${value}` })
}

async function authenticatesNobody(t: Test, headers: Record<string, string>): Promise<void> {
  const what = JSON.stringify(headers).slice(0, 200)
  const [ours, theirs] = await Promise.all([
    fetch(`${url}/session`, { headers }),
    fetch(`${url}/api/auth/get-session`, { headers })
  ])
  const { cause } = (await ours.json()) as { cause?: string }
  if (![400, 401].includes(ours.status) || !/^credential_|^session_unknown$/.test(cause ?? ''))
    t.fail(`${what}: ${ours.status} ${cause}`)
  const body = await theirs.text()
  if ((theirs.status !== 200 || body !== 'null') && ![400, 401].includes(theirs.status))
    t.fail(`${what} at better-auth: ${theirs.status} ${body.slice(0, 80)}`)
}

const alphabet = 'ABCXYZabcxyz0189-_.=+/%!~*@'.split('') as [string, ...string[]]

/**
 * One or two small changes: a character replaced, removed, added, doubled, or in the other case; a
 * part cut off, moved or escaped.
 */
function mutate(random: SeededRandom, text: string): string {
  const at = random.below(text.length)
  const character = text[at] ?? ''
  const changed = [
    () => text.slice(0, at) + random.pick(alphabet) + text.slice(at + 1),
    () => text.slice(0, at) + text.slice(at + 1),
    () => text.slice(0, at) + random.pick(alphabet) + text.slice(at),
    () => text.slice(0, at) + character + text.slice(at),
    () =>
      text.slice(0, at) +
      (character === character.toUpperCase() ? character.toLowerCase() : character.toUpperCase()) +
      text.slice(at + 1),
    () => text.slice(0, at),
    () => text.slice(at) + text.slice(0, at),
    () => `${text.slice(0, at)}%${random.pick(['00', '0', 'zz', 'ff', '2'])}${text.slice(at + 1)}`,
    () => text.replace('.', random.pick(['', '..', '%2e.', '_'])),
    () => text.split('').toReversed().join('')
  ] as [() => string, ...(() => string)[]]
  const mutant = random.pick(changed)()
  return random.below(4) === 0 && mutant !== '' ? mutate(random, mutant) : mutant
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * The last character of a signature has two unused bits, so four spellings are the same credential.
 */
function meaningOf(credential: string): string {
  const [token, signature = '', ...rest] = decoded(credential).split('.')
  return [
    token,
    /^[A-Za-z0-9+/]{43}=$/.test(signature)
      ? Buffer.from(signature, 'base64').toString('hex')
      : signature,
    ...rest
  ].join('.')
}

function batches<T>(items: T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size)
  )
}

/** Sends bytes on their own socket, and reads until the server closes it. */
function exchange(bytes: Buffer): Promise<{ status: number; head: string; body: string }> {
  return new Promise((resolve, reject) => {
    const { port } = running.options
    const socket = connect({ host: '127.0.0.1', port: port ?? 0, timeout: 5_000 })
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('timeout', () => socket.destroy(new Error(`no end after ${JSON.stringify(text)}`)))
    socket.on('error', (error) => (text === '' ? reject(error) : finish()))
    socket.on('close', finish)
    socket.write(bytes)
    function finish(): void {
      const [head = '', body = ''] = text.split('\r\n\r\n', 2)
      resolve({
        status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0),
        head,
        body: unchunked(head, body)
      })
    }
  })
}

function unchunked(head: string, body: string): string {
  return /transfer-encoding: chunked/i.test(head)
    ? body.replace(/^[0-9a-f]+\r\n/i, '').replace(/\r\n0\r\n.*$/s, '')
    : body
}
