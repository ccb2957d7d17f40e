import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { newAdmin } from '../support/device.js'
import { Browser, build, password, sessionState, signIn, signUp } from '../support/server.js'

const running = await build(t)
const { url } = running
const COOKIE = 'holdfast.session_token'

/** Writes raw lines to the server's socket, and reads until the server closes it. */
async function sendRaw(lines: string[], body = ''): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write([...lines, `host: ${hostname}:${port}`, 'connection: close', '', body].join('\r\n'))
  return text(socket)
}

t.test('cookies leave in the order in which they were set: the last of a name wins', async (t) => {
  const admin = await newAdmin(running)
  const ada = await signUp(url)
  const answer = await admin.browser.post('/api/auth/admin/impersonate-user', { userId: ada.id })
  const cookies = answer.headers.getSetCookie()
  const ofSession = cookies.filter((cookie) => cookie.startsWith(`${COOKIE}=`))
  t.match(ofSession[0], /^[^=]+=;.*Max-Age=0/i, 'the old cookie is removed first')
  t.match(ofSession.at(-1), /^[^=]+=hst1_/, 'the new cookie is set last')
  t.ok(cookies.some((cookie) => cookie.startsWith('holdfast.admin_session=')))
  t.ok(
    cookies.every(
      (cookie) =>
        /; HttpOnly/i.test(cookie) &&
        /; SameSite=Lax/i.test(cookie) &&
        /; Path=\/(;|$)/i.test(cookie)
    )
  )
})

t.test(
  'every method reaches better-auth, and an unknown path is a problem that says so',
  async (t) => {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await fetch(`${url}/api/auth/no-such-thing`, { method })
      t.equal(answer.status, 404, method)
      t.match(answer.headers.get('content-type'), /^application\/problem\+json\b/, method)
      t.match(await answer.json(), { status: 404, cause: 'not_found', requestId: String }, method)
    }
  }
)

t.test('HEAD has no body and does nothing', async (t) => {
  const ada = await signUp(url)
  t.equal((await ada.browser.fetch('/api/auth/sign-out', { method: 'HEAD' })).status, 405)
  const answer = await ada.browser.fetch('/api/auth/get-session', { method: 'HEAD' })
  t.equal(answer.status, 200)
  t.equal(await answer.text(), '')
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('a body arrives as it was sent: JSON and form', async (t) => {
  const { email, id } = await signUp(url)
  const credentials = { email, password }
  const bodies: [string, string][] = [
    ['application/json', JSON.stringify(credentials)],
    ['application/json; charset=utf-8', JSON.stringify(credentials)],
    ['application/x-www-form-urlencoded', new URLSearchParams(credentials).toString()]
  ]
  for (const [type, body] of bodies) {
    const answer = await new Browser(url).fetch('/api/auth/sign-in/email', {
      method: 'POST',
      body,
      headers: { 'content-type': type }
    })
    t.equal(answer.status, 200, type)
    t.match(await answer.json(), { user: { id } }, type)
  }
})

t.test(
  'a body of another type, or of none, is refused in the form that its clients read',
  async (t) => {
    const { email } = await signUp(url)
    for (const type of [
      'text/plain',
      'application/octet-stream',
      'application/x-unheard-of; a=b',
      ''
    ]) {
      const browser = new Browser(url)
      const body = Buffer.from(JSON.stringify({ email, password }))
      const answer = await browser.fetch('/api/auth/sign-in/email', {
        method: 'POST',
        body,
        headers: type ? { 'content-type': type } : {}
      })
      t.ok([400, 415].includes(answer.status), `${type} ${answer.status}`)
      t.match(await answer.json(), { message: String }, type)
      t.equal(browser.cookies.size, 0, type)
    }
  }
)

t.test('broken JSON and a broken content type are the fault of the client', async (t) => {
  const broken = await new Browser(url).fetch('/api/auth/sign-in/email', {
    method: 'POST',
    body: '{"email":',
    headers: { 'content-type': 'application/json' }
  })
  t.equal(broken.status, 400)
  const { hostname, port } = new URL(url)
  const odd = await sendRaw(
    [
      'POST /api/auth/sign-in/email HTTP/1.1',
      'content-type: ///',
      'content-length: 2',
      `origin: http://${hostname}:${port}`
    ],
    '{}'
  )
  t.match(odd, /^HTTP\/1\.1 4(00|15) /)
  t.notOk(
    running.log.some((line) => line.includes('"level":50')),
    'the log has no error'
  )
})

t.test('sign-out needs no body, whatever the content type says', async (t) => {
  for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/plain', '']) {
    const { browser, bearer } = await signUp(url)
    const answer = await browser.fetch('/api/auth/sign-out', {
      method: 'POST',
      headers: type ? { 'content-type': type } : {}
    })
    t.equal(answer.status, 200, type)
    t.strictSame(await answer.json(), { success: true }, type)
    t.equal(
      (await new Browser(url).get('/session', { authorization: `Bearer ${bearer}` })).status,
      401,
      type
    )
  }
})

t.test('a body that is too large is refused', async (t) => {
  const answer = await new Browser(url).post('/api/auth/sign-in/email', {
    email: 'a@example.com',
    password: 'x'.repeat(200_000)
  })
  t.equal(answer.status, 413)
  t.match(await answer.json(), { cause: 'payload_too_large' })
})

t.test('the query string arrives', async (t) => {
  const admin = await newAdmin(running)
  const ada = await signUp(url)
  const query = new URLSearchParams({
    searchField: 'email',
    searchOperator: 'contains',
    searchValue: ada.email,
    limit: '5'
  })
  const { users } = (await (
    await admin.browser.get(`/api/auth/admin/list-users?${query}`)
  ).json()) as { users: { id: string }[] }
  t.strictSame(
    users.map(({ id }) => id),
    [ada.id]
  )
})

t.test('an absolute request target names no other server', async (t) => {
  const ada = await signUp(url)
  const answer = await sendRaw([
    'GET http://evil.example/api/auth/get-session HTTP/1.1',
    `cookie: ${COOKIE}=${ada.browser.cookies.get(COOKIE)}`
  ])
  t.match(answer, /^HTTP\/1\.1 200 /)
  t.ok(answer.includes(ada.id))
})

t.test("the client's address is the connection's, whatever headers claim", async (t) => {
  const forged = {
    'x-forwarded-for': '203.0.113.7',
    'x-real-ip': '203.0.113.7',
    forwarded: 'for=203.0.113.7',
    'x-client-ip': '203.0.113.7',
    'x-holdfast-client-address': '203.0.113.7'
  }
  const { email } = await signUp(url)
  const browser = new Browser(url)
  t.equal((await browser.post('/api/auth/sign-in/email', { email, password }, forged)).status, 200)
  t.match(await (await browser.get('/session')).json(), { session: { ipAddress: '127.0.0.1' } })
})

t.test('behind a trusted proxy, the address is the one that the proxy names', async (t) => {
  const { url } = await build(t, { trustedProxies: ['127.0.0.1/32'] })
  const { email } = await signUp(url)
  const browser = new Browser(url)
  const forwarded = {
    'x-forwarded-for': '198.51.100.1, 203.0.113.7',
    'x-holdfast-client-address': '192.0.2.1'
  }
  t.equal(
    (await browser.post('/api/auth/sign-in/email', { email, password }, forwarded)).status,
    200
  )
  t.match(
    await (await browser.get('/session')).json(),
    { session: { ipAddress: '203.0.113.7' } },
    'the addresses to the left of it are ignored, because a client can write them'
  )
})

t.test('the user agent is kept', async (t) => {
  const { email } = await signUp(url)
  const browser = new Browser(url)
  await browser.post(
    '/api/auth/sign-in/email',
    { email, password },
    { 'user-agent': 'Difference Engine/1.0' }
  )
  t.match(await (await browser.get('/session')).json(), {
    session: { userAgent: 'Difference Engine/1.0' }
  })
})

t.test('a client that goes away does not harm the server', async (t) => {
  const { email } = await signUp(url)
  const { hostname, port } = new URL(url)
  const body = JSON.stringify({ email, password })
  // Half a body; then a whole request whose answer is not awaited.
  for (const sent of [body.slice(0, 10), body]) {
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    const head = [
      'POST /api/auth/sign-in/email HTTP/1.1',
      `host: ${hostname}:${port}`,
      `origin: ${url}`,
      'content-type: application/json',
      `content-length: ${body.length}`
    ]
    await new Promise<void>((resolve) => {
      socket.write([...head, '', sent].join('\r\n'), () => resolve())
    })
    socket.destroy()
    await once(socket, 'close')
  }
  t.equal(await sessionState((await signIn(url, email)).browser), 'valid')
})

// The rate limit belongs to the route, and the route is chosen by the path as it was sent.
t.test('no other spelling of a path reaches an endpoint', async (t) => {
  const { hostname, port } = new URL(url)
  for (const path of [
    '/api/auth/x/../sign-in/email',
    '/api/auth/./sign-in/email',
    '/api/auth/x/%2e%2e/sign-in/email',
    '/api/auth/x\\..\\sign-in/email',
    '/api/auth/sign-in/../sign-in/email'
  ]) {
    const status = await new Promise<number>((resolve, reject) => {
      const sent = request(
        { hostname, port, path, method: 'POST', headers: { 'content-type': 'application/json' } },
        (answer) => {
          answer.resume()
          resolve(answer.statusCode ?? 0)
        }
      )
      sent.once('error', reject)
      sent.end(JSON.stringify({ email: 'ada@example.com', password: 'wrong horse battery' }))
    })
    t.equal(status, 404, path)
  }
})

t.test('a program needs no Origin, a browser page does', async (t) => {
  const body = JSON.stringify({
    name: 'Ada',
    email: `${Date.now()}@example.com`,
    password: 'correct horse battery'
  })
  const headers = { 'content-type': 'application/json' }
  t.equal(
    (await fetch(`${url}/api/auth/sign-up/email`, { method: 'POST', body, headers })).status,
    200,
    "Node's own fetch works"
  )
  const forged = await fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    body,
    headers: { ...headers, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }
  })
  t.equal(forged.status, 403)
})
