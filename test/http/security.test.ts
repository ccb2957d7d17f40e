import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { Browser, build, sessionState, signUp } from '../support/server.js'

const page = 'https://app.example.com'
const running = await build(t, { trustedOrigins: [page] })
const { url } = running

t.test(
  'every answer to a browser has strict headers, those of errors and of unknown addresses too',
  async (t) => {
    for (const path of ['/session', '/api/auth/ok', '/api/auth/no-such-thing', '/no-such-thing']) {
      const { headers } = await fetch(url + path)
      t.match(
        headers.get('content-security-policy'),
        /^default-src 'none';.*frame-ancestors 'none'/,
        path
      )
      t.equal(headers.get('x-content-type-options'), 'nosniff', path)
      t.equal(headers.get('x-frame-options'), 'DENY', path)
      t.equal(headers.get('referrer-policy'), 'no-referrer', path)
      t.notOk(headers.has('x-powered-by'), path)
      t.notOk(headers.has('strict-transport-security'), 'HSTS is not sent over plain http')
    }
  }
)

t.test('on https, browsers are told to stay there', async (t) => {
  const { url } = await build(t, { baseUrl: 'https://auth.example.com' })
  t.equal(
    (await fetch(`${url}/session`)).headers.get('strict-transport-security'),
    'max-age=31536000'
  )
})

t.test('a trusted origin may read answers and send its cookie', async (t) => {
  for (const path of ['/session', '/api/auth/get-session']) {
    const { headers } = await fetch(url + path, { headers: { origin: page } })
    t.equal(headers.get('access-control-allow-origin'), page, path)
    t.equal(headers.get('access-control-allow-credentials'), 'true', path)
    t.match(headers.get('vary'), /origin/i, path)
  }
  for (const [path, method] of [
    ['/sessions/018f0000-0000-7000-8000-000000000000', 'DELETE'],
    ['/api/auth/sign-in/email', 'POST']
  ] as const) {
    const preflight = await fetch(url + path, {
      method: 'OPTIONS',
      headers: {
        origin: page,
        'access-control-request-method': method,
        'access-control-request-headers': 'content-type'
      }
    })
    t.equal(preflight.status, 204, path)
    t.equal(preflight.headers.get('access-control-allow-origin'), page, path)
    t.match(preflight.headers.get('access-control-allow-methods'), method, path)
    t.equal(preflight.headers.get('access-control-max-age'), '600', path)
  }
})

t.test('P8: a trusted page may send the headers of its tracing and its libraries', async (t) => {
  const names = [
    'traceparent',
    'tracestate',
    'baggage',
    'sentry-trace',
    'x-requested-with',
    'b3',
    'x-b3-traceid',
    'x-datadog-trace-id',
    'newrelic',
    'x-request-id',
    'authorization',
    'content-type',
    'idempotency-key',
    'token-transport',
    'two-factor-challenge'
  ]
  for (const path of ['/session', '/api/auth/sign-in/email', '/oauth2/token']) {
    const preflight = await fetch(url + path, {
      method: 'OPTIONS',
      headers: {
        origin: page,
        'access-control-request-method': 'POST',
        'access-control-request-headers': names.join(',')
      }
    })
    t.equal(preflight.status, 204, path)
    const allowed = (preflight.headers.get('access-control-allow-headers') ?? '')
      .toLowerCase()
      .split(/, */)
    for (const name of names) t.ok(allowed.includes(name), `${path} ${name}`)
    t.match(preflight.headers.get('vary'), /access-control-request-headers/i)
  }
  const stranger = await fetch(`${url}/session`, {
    method: 'OPTIONS',
    headers: {
      origin: 'https://evil.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'traceparent'
    }
  })
  t.not(stranger.headers.get('access-control-allow-origin'), 'https://evil.example')
})

t.test(
  'P12: a path that is asked by another method says which it has, and a trusted page may read it',
  async (t) => {
    const id = randomUUID()
    const paths: Record<string, [method: string, allow: string][]> = {
      '/session': [
        ['POST', 'GET, HEAD'],
        ['DELETE', 'GET, HEAD']
      ],
      '/sessions': [['PUT', 'DELETE, GET, HEAD']],
      [`/sessions/${id}`]: [
        ['POST', 'DELETE, GET, HEAD, PATCH'],
        ['PUT', 'DELETE, GET, HEAD, PATCH']
      ],
      [`/sessions/${id}/events`]: [['POST', 'GET, HEAD']],
      '/oauth2/token': [
        ['GET', 'POST'],
        ['PUT', 'POST']
      ],
      '/oauth2/revoke': [['DELETE', 'POST']],
      '/oauth2/introspect': [['GET', 'POST']],
      '/sessions/check': [['GET', 'POST']],
      '/.well-known/jwks.json': [['POST', 'GET, HEAD']],
      '/.well-known/oauth-authorization-server': [['PATCH', 'GET, HEAD']],
      '/health/ready': [['POST', 'GET, HEAD']],
      '/api/auth/sign-in/email': [['GET', 'POST']],
      '/api/auth/get-session': [
        ['POST', 'GET, HEAD'],
        ['PUT', 'GET, HEAD']
      ]
    }
    for (const [path, asked] of Object.entries(paths)) {
      for (const [method, allow] of asked) {
        // Neither the body nor the credential matters: only the method is wrong.
        const answer = await fetch(url + path, {
          method,
          headers: {
            origin: page,
            'content-type': path.startsWith('/api') ? 'application/json' : 'text/xml'
          },
          ...(['GET', 'HEAD'].includes(method) ? {} : { body: '{}' })
        })
        t.equal(answer.status, 405, `${method} ${path}`)
        t.equal(answer.headers.get('allow'), allow, `${method} ${path}`)
        if (method !== 'HEAD')
          t.match(
            await answer.text(),
            path.endsWith('/get-session') ? 'METHOD_NOT_ALLOWED' : '"cause":"method_not_allowed"'
          )
        if (!/introspect|check|health|well-known/.test(path))
          t.equal(answer.headers.get('access-control-allow-origin'), page, path)
      }
    }
    for (const path of ['/session', '/api/auth/sign-in/email', '/api/auth/no-such-thing']) {
      const options = await fetch(url + path, { method: 'OPTIONS' })
      t.match(
        [options.status, await options.text()],
        [204, ''],
        `an OPTIONS that is not a preflight: ${path}`
      )
    }
  }
)

t.test('P9: the origins of apps and extensions are compared as they are', async (t) => {
  const apps = [
    'capacitor://localhost',
    'tauri://localhost',
    'ionic://localhost',
    'chrome-extension://abcdefghijklmnopabcdefghijklmnop',
    'moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc'
  ]
  const server = await build(t, { trustedOrigins: apps })
  const { email } = await signUp(server.url)
  const signIn = (origin: string) =>
    fetch(`${server.url}/api/auth/sign-in/email`, {
      method: 'POST',
      body: JSON.stringify({ email, password: 'a wrong guess, surely' }),
      headers: {
        'content-type': 'application/json',
        origin,
        'sec-fetch-site': 'cross-site',
        'sec-fetch-mode': 'cors'
      }
    })
  for (const origin of apps) {
    t.equal(
      (await fetch(`${server.url}/session`, { headers: { origin } })).headers.get(
        'access-control-allow-origin'
      ),
      origin
    )
    t.equal((await signIn(origin)).status, 401, `${origin} is trusted, so the password decides`)
  }
  for (const origin of [
    'null',
    'capacitor://localhost.evil.example',
    'capacitor://evil',
    'capacitor://',
    'tauri://localhost:1',
    'chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba',
    'http://localhost.evil.example',
    'evil://localhost'
  ]) {
    t.not(
      (await fetch(`${server.url}/session`, { headers: { origin } })).headers.get(
        'access-control-allow-origin'
      ),
      origin,
      origin
    )
    t.equal((await signIn(origin)).status, 403, origin)
  }
})

t.test('no other origin may: strangers, look-alikes, null', async (t) => {
  for (const origin of [
    'https://evil.example',
    `${page}.evil.example`,
    'https://xapp.example.com',
    'http://app.example.com',
    `${page}:8443`,
    'null'
  ]) {
    const answer = await fetch(`${url}/session`, { headers: { origin } })
    t.not(answer.headers.get('access-control-allow-origin'), origin, origin)
    t.not(answer.headers.get('access-control-allow-origin'), '*', origin)
    const preflight = await fetch(`${url}/sessions`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'DELETE' }
    })
    t.not(preflight.headers.get('access-control-allow-origin'), origin, origin)
  }
})

const corsOf = ({ headers }: Response) =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-'))

t.test(
  'a trusted origin may exchange and revoke tokens, and ask nothing that gateways ask',
  async (t) => {
    const asked = {
      origin: page,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type'
    }
    for (const path of ['/oauth2/token', '/oauth2/revoke']) {
      const preflight = await fetch(url + path, { method: 'OPTIONS', headers: asked })
      t.equal(preflight.status, 204, path)
      t.equal(preflight.headers.get('access-control-allow-origin'), page, path)
      const answer = await fetch(url + path, {
        method: 'POST',
        headers: { origin: page },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x', token: 'x' })
      })
      t.equal(answer.status, path.endsWith('revoke') ? 200 : 400, path)
      t.equal(answer.headers.get('access-control-allow-origin'), page, path)
    }
    for (const path of ['/oauth2/introspect', '/sessions/check', '/verify', '/verify/for/user/x']) {
      for (const method of ['OPTIONS', 'POST', 'GET']) {
        const answer = await fetch(url + path, {
          method,
          headers: method === 'OPTIONS' ? asked : { origin: page }
        })
        t.strictSame(corsOf(answer), [], `${method} ${path}`)
        t.ok(answer.status >= 400, `${method} ${path} ${answer.status}`)
      }
    }
  }
)

t.test('without TRUSTED_ORIGINS there is no CORS at all', async (t) => {
  const { url } = await build(t)
  t.notOk(
    (await fetch(`${url}/session`, { headers: { origin: page } })).headers.has(
      'access-control-allow-origin'
    )
  )
  t.equal(
    (
      await fetch(`${url}/sessions`, {
        method: 'OPTIONS',
        headers: { origin: page, 'access-control-request-method': 'GET' }
      })
    ).status,
    404
  )
})

// Another site's page can make a browser send a form: that needs no preflight, and carries the
// cookie where SameSite does not protect it.
t.test('no write that a cookie authenticates can be forged', async (t) => {
  const { browser } = await signUp(url)
  const paths = await authWrites()
  t.ok(paths.length > 20, `${paths.length} endpoints`)
  const forgeries: Record<string, string>[] = [
    { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    { origin: 'null', 'sec-fetch-site': 'cross-site' },
    { origin: '', 'sec-fetch-site': 'same-site' },
    { origin: '', referer: 'https://evil.example/' }
  ]
  const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const body = new URLSearchParams({
    name: 'Eve',
    email: `${randomUUID()}@example.com`,
    password: 'a password of hers'
  }).toString()
  for (const [method, path] of [
    ...paths.map((path) => ['POST', path] as const),
    ['DELETE', '/sessions?except=current'] as const
  ]) {
    for (const forgery of forgeries) {
      const headers = Object.fromEntries(
        Object.entries({
          cookie,
          ...(method === 'POST' ? { 'content-type': 'application/x-www-form-urlencoded' } : {}),
          ...forgery
        }).filter(([, value]) => value !== '')
      )
      // Our own routes take a request without an origin for a program's, which keeps no cookies.
      if (path.startsWith('/sessions') && headers['referer'] !== undefined) continue
      const answer = await fetch(url + path, {
        method,
        headers,
        ...(method === 'POST' ? { body } : {})
      })
      // What is off (404) or not a write (405) changes nothing either.
      t.ok(
        [403, 404, 405, 415].includes(answer.status),
        `${method} ${path} ${JSON.stringify(forgery)} ${answer.status}`
      )
      t.strictSame(answer.headers.getSetCookie(), [], path)
    }
  }
  t.equal(await sessionState(browser), 'valid')
})

/** Every POST endpoint of better-auth. */
async function authWrites(): Promise<string[]> {
  const document = await running.app.holdfast.auth.describe()
  return Object.entries(document.paths)
    .filter(([, operations]) => 'post' in operations)
    .map(([path]) => `/api/auth${path.replaceAll(/\{[^}]+\}/g, 'x')}`)
}

t.test('an unknown account is answered as a known one is, and takes as long', async (t) => {
  const { email } = await signUp(url)
  const times = { known: [] as number[], unknown: [] as number[] }
  const answers = new Map<string, unknown>()
  // Alternating, so that a busy machine slows both.
  for (let n = 0; n < 15; n++) {
    for (const kind of ['known', 'unknown'] as const) {
      const began = performance.now()
      const answer = await new Browser(url).post('/api/auth/sign-in/email', {
        email: kind === 'known' ? email : `${randomUUID()}@example.com`,
        password: 'a wrong guess, surely'
      })
      times[kind].push(performance.now() - began)
      answers.set(kind, {
        status: answer.status,
        body: await answer.json(),
        headers: [...answer.headers.keys()].toSorted()
      })
    }
  }
  t.strictSame(answers.get('unknown'), answers.get('known'))
  const [known, unknown] = [median(times.known), median(times.unknown)]
  // Without a hash for unknown names, they would be answered in a fifth of the time.
  t.ok(
    unknown > 0.6 * known && unknown < 1.67 * known,
    `known ${known.toFixed(1)} ms, unknown ${unknown.toFixed(1)} ms`
  )
})

const many = (count: number) => Array.from({ length: count }, (_one, n) => `a${n}:`).join('\r\n')

t.test('S11: no header is dropped in silence', async (t) => {
  const { browser, bearer, sessionId } = await signUp(url)
  const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const ask = (path: string, count: number, after: string) =>
    raw(
      `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${bearer}\r\n${many(count)}\r\n${after}\r\n\r\n`
    )
  for (const path of ['/verify', '/session', '/api/auth/get-session']) {
    t.match(await ask(path, 900, 'b: c'), /^HTTP\/1\.1 200 /, `${path}: many headers`)
    for (const count of [1_000, 1_100, 1_800])
      t.match(
        await ask(path, count, `authorization: Bearer ${bearer}`),
        /^HTTP\/1\.1 431 /,
        `${path}: ${count} headers, and a second credential after them`
      )
    t.match(
      await ask(path, 500, `authorization: Bearer ${bearer}`),
      /^HTTP\/1\.1 400 /,
      `${path}: a second credential`
    )
    t.match(
      await raw(
        `GET ${path} HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\nauthorization: Bearer ${bearer}\r\n\r\n`
      ),
      /^HTTP\/1\.1 400 /,
      `${path}: two hosts`
    )
  }
  t.match(
    await raw(
      `GET /verify HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${many(1_100)}\r\ncookie: ${cookie}\r\n\r\n`
    ),
    /^HTTP\/1\.1 431 /
  )
  const {
    session: { id }
  } = (await (await browser.get('/session')).json()) as { session: { id: string } }
  t.equal(id, sessionId, 'the session has not ended')
})

t.test('P6: the size of headers is a setting', async (t) => {
  const headers = { cookie: `other=${'x'.repeat(30_000)}` }
  t.equal((await fetch(`${url}/session`, { headers })).status, 431)
  const roomy = await build(t, { maxHeaderBytes: 65_536 })
  const { bearer } = await signUp(roomy.url)
  t.equal(
    (
      await fetch(`${roomy.url}/session`, {
        headers: { ...headers, authorization: `Bearer ${bearer}` }
      })
    ).status,
    200
  )
})

t.test('P7: how long a connection is kept is a setting', async (t) => {
  const { app, url } = await build(t, { keepAliveTimeoutSeconds: 620 })
  t.equal(app.server.keepAliveTimeout, 620_000)
  t.match(
    await raw(
      `GET /health/live HTTP/1.1\r\nhost: x\r\n\r\nGET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
      url
    ),
    /keep-alive: timeout=620/i
  )
})

t.test('bodies, headers, addresses and time have limits', async (t) => {
  const { browser } = await signUp(url)
  const large = 'x'.repeat(70_000)
  const tooLarge = await browser.fetch('/sessions?except=current', {
    method: 'DELETE',
    body: JSON.stringify({ large }),
    headers: { 'content-type': 'application/json' }
  })
  t.equal(tooLarge.status, 413)
  t.match(await tooLarge.json(), { cause: 'payload_too_large' })
  t.match(
    await raw(`GET /session HTTP/1.1\r\nhost: x\r\nx-large: ${large}\r\n\r\n`),
    /^HTTP\/1\.1 431 /
  )
  t.equal((await fetch(`${url}/sessions/${'x'.repeat(300)}/events`)).status, 414)
  const { server } = running.app
  t.strictSame(
    [server.requestTimeout, server.headersTimeout, server.keepAliveTimeout > 60_000],
    [30_000, 10_000, true]
  )
})

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function raw(request: string, to = url): Promise<string> {
  const { hostname, port } = new URL(to)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.write(request)
  return text(socket)
}
