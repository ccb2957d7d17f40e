import { once } from 'node:events'
import { METHODS, request, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { accessTokenOf } from '../support/refresh-fixtures.js'
import { build, makeAdmin, signIn, signUp, type Person, type Running } from '../support/server.js'

const running = await build(t, {
  trustedProxies: ['127.0.0.1'],
  trustedOrigins: ['https://app.example.com'],
  roles: ['auditor']
})
const { url } = running
const IDENTITY = ['remote-user', 'remote-email', 'remote-name', 'remote-groups', 'x-session-id']
const ada = await signUp(url)
const bearer = { authorization: `Bearer ${ada.bearer}` }
const cookie = { cookie: cookieOf(ada) }

function cookieOf({ browser }: Person): string {
  return [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
}

interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: string
}

/**
 * Sends it twice. The first request with an address goes through Fastify, and later valid ones do
 * not. Both ways must give the same answer.
 */
async function ask(...[path, headers, how]: Parameters<typeof askOnce>): Promise<Answer> {
  const first = await askOnce(path, headers, how)
  const second = await askOnce(path, headers, how)
  const comparable = ({ body, headers, ...answer }: Answer) => ({
    ...answer,
    body: body.replace(/"requestId":"[^"]*"/, ''),
    headers: { ...headers, date: '' }
  })
  t.strictSame(comparable(second), comparable(first), `${path} is answered alike`)
  return second
}

/** Sends the request as a proxy does. `fetch` would refuse these headers and methods. */
async function askOnce(
  path: string,
  headers: Record<string, string> = {},
  { method = 'GET', body = '', base = url, path: target = path } = {}
): Promise<Answer> {
  const outgoing = request(new URL(path, base), {
    method,
    path: target,
    headers: { ...headers, ...(body ? { 'content-length': String(Buffer.byteLength(body)) } : {}) }
  }).end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) }
}

t.test('a good credential is answered with the identity, and never with a body', async (t) => {
  for (const credential of [
    bearer,
    cookie,
    { authorization: `Bearer ${await accessTokenOf(running, ada.sessionId)}` },
    { authorization: `bEARER   ${ada.bearer}` }
  ]) {
    const { status, headers, body } = await ask('/verify', credential)
    t.equal(status, 200)
    t.equal(body, '')
    t.match(headers, {
      'remote-user': ada.id,
      'remote-email': '',
      'remote-name': 'Ada Lovelace',
      'remote-groups': 'user',
      'x-session-id': ada.sessionId,
      'cache-control': 'no-store'
    })
    for (const name of IDENTITY) t.ok(name in headers, `${name} is always present`)
  }
})

t.test(
  'a bad one is refused with its cause in WWW-Authenticate, and with no body and no identity',
  async (t) => {
    const broken = `${(await accessTokenOf(running, ada.sessionId)).slice(0, -8)}AAAAAAAA`
    const old = await accessTokenOf(running, ada.sessionId, {
      exp: Math.floor(Date.now() / 1000) - 60
    })
    const refused = [
      {
        answer: await ask('/verify', { authorization: `Bearer ${broken}` }),
        status: 401,
        challenge: 'Bearer error="invalid_token", error_description="credential_malformed"'
      },
      {
        answer: await ask('/verify', { ...cookie, authorization: `Bearer ${broken}` }),
        status: 401,
        challenge: 'Bearer error="invalid_token"'
      },
      {
        answer: await ask('/verify', { authorization: `Bearer ${old}` }),
        status: 401,
        challenge: 'Bearer error="invalid_token", error_description="token_expired"'
      },
      { answer: await ask('/verify'), status: 401, challenge: 'Bearer' },
      {
        answer: await ask('/verify', { authorization: 'Bearer hst1_nonsense' }),
        status: 401,
        challenge: 'Bearer error="invalid_token", error_description="credential_malformed"'
      },
      {
        answer: await ask('/verify?role=admin', bearer),
        status: 403,
        challenge: 'Bearer error="insufficient_scope"'
      },
      {
        answer: await ask('/verify', { authorization: 'Basic YTpi' }),
        status: 401,
        challenge: 'Bearer'
      },
      ...(await Promise.all(
        ['\t', ' x', '\u00a0', ', '].map(async (blank) => ({
          answer: await ask('/verify', { authorization: `Bearer ${blank}${ada.bearer}${blank}x` }),
          status: 401,
          challenge: 'Bearer'
        }))
      ))
    ]
    for (const { answer, status, challenge } of refused) {
      t.match(answer, {
        status,
        body: '',
        headers: { 'www-authenticate': challenge, 'cache-control': 'no-store' }
      })
      for (const name of IDENTITY) t.notOk(name in answer.headers)
    }
  }
)

t.test('every method is answered alike, and no body is looked at', async (t) => {
  for (const method of METHODS.filter((name) => name !== 'CONNECT')) {
    t.equal((await ask('/verify', bearer, { method })).status, 200, method)
    t.equal((await ask('/verify', {}, { method })).status, 401, method)
  }
  for (const type of [
    'application/json',
    'application/x-www-form-urlencoded',
    'garbage',
    'multipart/form-data'
  ]) {
    t.equal(
      (await ask('/verify', { ...bearer, 'content-type': type }, { method: 'POST', body: '{"not' }))
        .status,
      200,
      type
    )
  }
  t.equal(
    (await ask('/verify', bearer, { method: 'PUT', body: 'x'.repeat(3_000_000) })).status,
    200,
    'a body of any length passes'
  )
})

t.test('every role that is asked for is required', async (t) => {
  const boss = await signUp(url)
  await running.app.holdfast.auth.users.update(boss.id, { role: 'admin,auditor' })
  const credential = { authorization: `Bearer ${boss.bearer}` }
  for (const [path, status] of [
    ['/verify?role=admin', 200],
    ['/verify?role=admin&role=auditor', 200],
    ['/verify?role=admin&role=owner', 403],
    ['/verify?role=owner&role=admin', 403],
    ['/verify/for/admin', 200],
    ['/verify/for/admin,auditor/orders/7?role=owner&preflight=allow', 200],
    ['/verify/for/admin,owner/orders', 403],
    ['/verify/for/*/any/path/at/all?credential=cookie', 200],
    ['/verify/for/*', 200]
  ] as const)
    t.equal((await ask(path, credential)).status, status, path)
  t.equal((await ask('/verify?role=admin', credential)).headers['remote-groups'], 'admin,auditor')
})

t.test('a mistake in the configuration of a proxy lets no one in', async (t) => {
  for (const path of [
    '/verify?rol=admin',
    '/verify?role=',
    '/verify?role=a,b',
    '/verify?role=%00',
    '/verify?credential=both',
    '/verify?preflight=yes',
    '/verify?preflight=allow&preflight=allow',
    '/verify/for/a%20b',
    '/verify/for/,',
    '/verify/for/**'
  ]) {
    t.equal((await ask(path, bearer)).status, 400, path)
  }
  for (const path of ['/verify/', '/verify/for', '/verify/for/', '/verify/x'])
    t.not((await ask(path, bearer)).status, 200, path)
})

t.test('a proxy may take one kind of credential only', async (t) => {
  t.equal((await ask('/verify?credential=bearer', bearer)).status, 200)
  t.equal(
    (
      await ask('/verify?credential=bearer', {
        authorization: `Bearer ${await accessTokenOf(running, ada.sessionId)}`
      })
    ).status,
    200
  )
  t.match(
    await ask('/verify?credential=cookie', {
      ...cookie,
      authorization: `Bearer ${await accessTokenOf(running, ada.sessionId)}`
    }),
    { status: 401 }
  )
  t.equal((await ask('/verify?credential=cookie', cookie)).status, 200)
  t.match(await ask('/verify?credential=bearer', cookie), {
    status: 401,
    headers: { 'www-authenticate': 'Bearer' }
  })
  t.match(await ask('/verify?credential=cookie', bearer), {
    status: 401,
    headers: { 'www-authenticate': 'Bearer' }
  })
})

t.test(
  'names that a header cannot carry are percent-encoded, and no header can be injected',
  async (t) => {
    for (const [name, shown] of [
      ['Zoë 100%', 'Zo%C3%AB 100%25'],
      ['王小明', '%E7%8E%8B%E5%B0%8F%E6%98%8E'],
      ['a\r\nRemote-User: root', 'a%0D%0ARemote-User: root'],
      [' outer ', '%20outer%20'],
      ['\u007f\u0001', '%7F%01']
    ] as const) {
      const person = await signUp(url)
      await running.app.holdfast.auth.users.update(person.id, { name })
      const { headers } = await ask('/verify', { authorization: `Bearer ${person.bearer}` })
      t.equal(headers['remote-name'], shown)
      t.equal(headers['remote-user'], person.id)
      t.equal(decodeURIComponent(shown), name)
    }
    const verified = await signUp(url)
    await running.app.holdfast.auth.users.update(verified.id, { emailVerified: true })
    t.equal(
      (await ask('/verify', { authorization: `Bearer ${verified.bearer}` })).headers[
        'remote-email'
      ],
      verified.email
    )
  }
)

t.test(
  'a browser that opens a page is sent to sign in, and told where to come back to',
  async (t) => {
    const page = {
      accept: 'text/html,application/xhtml+xml',
      'x-forwarded-method': 'GET',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'app.example.com',
      'x-forwarded-uri': '/orders?page=2,3'
    }
    const path = `/verify?redirect=${encodeURIComponent('https://app.example.com/sign-in?theme=dark')}`
    const expected = new URL('https://app.example.com/sign-in?theme=dark')
    expected.searchParams.set('return_to', 'https://app.example.com/orders?page=2,3')
    t.match(await ask(path, page), {
      status: 302,
      body: '',
      headers: { location: expected.href, 'cache-control': 'no-store' }
    })
    t.match(await ask(path, { ...page, authorization: 'Bearer hst1_nonsense' }), { status: 302 })
    t.match(
      await ask(path, { accept: page.accept, 'x-original-url': 'https://app.example.com/old' }),
      { status: 302, headers: { location: /return_to=https%3A%2F%2Fapp\.example\.com%2Fold$/ } }
    )

    t.equal(
      (await ask(path, { ...page, accept: 'application/json' })).status,
      401,
      'a program gets 401'
    )
    t.equal(
      (await ask(path, { ...page, 'x-forwarded-method': 'POST' })).status,
      401,
      'a form gets 401'
    )
    t.equal((await ask(path, { ...page, ...bearer })).status, 200)
    t.equal(
      (await ask(`${path}&role=admin`, { ...page, ...bearer })).status,
      403,
      'a sign-in would not help'
    )
    t.equal(
      (await ask(path, { ...page, 'x-forwarded-host': 'evil.example' })).headers.location,
      'https://app.example.com/sign-in?theme=dark',
      'the redirect does not name a foreign origin'
    )
    for (const target of [
      'https://evil.example/',
      '//evil.example',
      '/sign-in',
      'javascript:alert(1)',
      'https://app.example.com@evil.example/'
    ]) {
      t.equal(
        (await ask(`/verify?redirect=${encodeURIComponent(target)}`, page)).status,
        400,
        target
      )
    }
  }
)

// nginx's auth_request treats every status but 2xx, 401 and 403 as an error, and reads headers of
// each.
t.test('O10: a proxy that passes no 302 on is told by 401 where a browser signs in', async (t) => {
  const page = {
    accept: 'text/html',
    'x-forwarded-method': 'GET',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'app.example.com',
    'x-forwarded-uri': '/orders?page=2&q=a%20b'
  }
  const path = `/verify?redirect=${encodeURIComponent('https://app.example.com/sign-in')}`
  const expected = new URL('https://app.example.com/sign-in')
  expected.searchParams.set('return_to', 'https://app.example.com/orders?page=2&q=a%20b')
  const answer = await ask(`${path}&redirect_status=401`, page)
  t.match(answer, {
    status: 401,
    body: '',
    headers: { location: expected.href, 'www-authenticate': 'Bearer', 'cache-control': 'no-store' }
  })
  t.match(await ask(`${path}&redirect_status=302`, page), {
    status: 302,
    headers: { location: expected.href }
  })
  t.match(await ask(`${path}&redirect_status=401`, { ...page, ...bearer }), {
    status: 200,
    headers: { location: undefined }
  })
  for (const [why, headers] of [
    ['a program', { ...page, accept: '*/*' }],
    ['a form', { ...page, 'x-forwarded-method': 'POST' }]
  ] as const) {
    const {
      status,
      headers: { location }
    } = await ask(`${path}&redirect_status=401`, headers)
    t.strictSame([status, location], [401, undefined], why)
  }
  t.match(await ask(`${path}&redirect_status=401&role=admin`, { ...page, ...bearer }), {
    status: 403,
    headers: { location: undefined }
  })
  for (const wrong of [
    `${path}&redirect_status=307`,
    `${path}&redirect_status=`,
    '/verify?redirect_status=401'
  ])
    t.equal((await ask(wrong, page)).status, 400, wrong)
})

t.test('a cookie authenticates no change that another site made the browser send', async (t) => {
  const post = {
    ...cookie,
    'x-forwarded-method': 'POST',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'shop.example.com'
  }
  for (const [headers, status] of [
    [{ ...post, origin: 'https://evil.example' }, 403],
    [{ ...post, 'sec-fetch-site': 'cross-site' }, 403],
    [{ ...post, 'sec-fetch-site': 'same-site', origin: 'https://other.example.com' }, 403],
    [{ ...post, origin: 'https://shop.example.com' }, 200],
    [{ ...post, origin: 'https://app.example.com' }, 200],
    [{ ...post, 'sec-fetch-site': 'same-origin' }, 200],
    [post, 200],
    [{ ...post, 'x-forwarded-method': 'GET', origin: 'https://evil.example' }, 200],
    [{ ...bearer, 'x-forwarded-method': 'POST', origin: 'https://evil.example' }, 200]
  ] as const)
    t.equal((await ask('/verify', headers)).status, status, JSON.stringify(headers))
  t.equal(
    (await ask('/verify', { ...cookie, origin: 'https://evil.example' }, { method: 'POST' }))
      .status,
    403,
    "the proxy's own method counts as well"
  )
})

t.test('S17: a cookie opens no WebSocket for another site', async (t) => {
  const evil = { origin: 'https://evil.example' }
  // As Caddy and Envoy pass it on; as Traefik and nginx, which drop hop-by-hop headers; as browsers
  // mark it; RFC 8441 through a proxy.
  const handshakes: Record<string, string>[] = [
    {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-version': '13'
    },
    { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' },
    { 'sec-websocket-version': '13' },
    { 'sec-websocket-protocol': 'chat' },
    { upgrade: 'h2c, WebSocket' },
    { 'x-forwarded-upgrade': 'websocket' },
    { upgrade: 'h2c', 'x-forwarded-upgrade': 'websocket' },
    { 'sec-fetch-mode': 'websocket' }
  ]
  for (const handshake of handshakes) {
    const said = JSON.stringify(handshake)
    const named = {
      ...handshake,
      'x-forwarded-method': 'GET',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'shop.example.com'
    }
    t.equal((await ask('/verify', { ...cookie, ...named, ...evil })).status, 403, said)
    t.equal(
      (await ask('/verify', { ...cookie, ...named, origin: 'https://shop.example.com' })).status,
      200,
      said
    )
  }
  const [handshake] = handshakes
  const named = {
    ...cookie,
    ...handshake,
    'x-forwarded-method': 'GET',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'shop.example.com'
  }
  t.equal((await ask('/verify/for/user/chat', { ...named, ...evil })).status, 403)
  t.equal((await ask('/verify', { ...named, origin: 'null' })).status, 403)
  t.equal((await ask('/verify', { ...named, origin: 'https://app.example.com' })).status, 200)
  t.equal((await ask('/verify', named)).status, 200, 'a program sends no Origin')
  // Traefik, where it trusts the proxies before it.
  t.equal(
    (
      await ask('/verify', {
        ...named,
        'x-forwarded-proto': 'wss',
        origin: 'https://shop.example.com'
      })
    ).status,
    200
  )
  t.equal(
    (
      await ask('/verify', {
        ...named,
        'x-forwarded-proto': 'ws',
        origin: 'http://shop.example.com'
      })
    ).status,
    200
  )
  t.equal(
    (
      await ask('/verify', {
        ...named,
        'x-forwarded-proto': 'ws',
        origin: 'https://shop.example.com'
      })
    ).status,
    403
  )
  t.equal((await ask('/verify', { ...named, 'x-forwarded-proto': 'wss', ...evil })).status, 403)
  t.equal(
    (await ask('/verify', { ...named, ...evil, ...bearer, cookie: '' })).status,
    200,
    'a page of another site cannot send a bearer token'
  )
  t.equal(
    (await ask('/session', { ...cookie, ...handshake, ...evil })).status,
    403,
    'a guarded route of an application follows the same rule'
  )
  t.equal(
    (await ask('/verify', { ...cookie, ...evil })).status,
    200,
    'a link from another site passes'
  )
})

t.test(
  'S18: the method counts under every name that a proxy gives it, and the more dangerous of two',
  async (t) => {
    const evil = { ...cookie, origin: 'https://evil.example' }
    for (const name of ['x-forwarded-method', 'x-original-method', 'x-envoy-original-method']) {
      t.equal((await ask('/verify', { ...evil, [name]: 'POST' })).status, 403, name)
      t.equal((await ask('/verify', { ...evil, [name]: 'GET' })).status, 200, name)
      for (const list of ['GET, DELETE', 'DELETE,GET', 'BREW'])
        t.equal((await ask('/verify', { ...evil, [name]: list })).status, 403, `${name}: ${list}`)
      const preflight = {
        origin: 'https://app.example.com',
        'access-control-request-method': 'PUT',
        [name]: 'OPTIONS'
      }
      t.match(
        await ask('/verify?preflight=allow', preflight),
        { status: 200, headers: { 'remote-user': '' } },
        name
      )
      t.equal((await ask('/verify', preflight)).status, 401)
      t.equal(
        (await ask('/verify?preflight=allow', { ...preflight, [name]: 'OPTIONS, POST' })).status,
        401,
        'two methods are not a preflight'
      )
    }
    t.equal(
      (await ask('/verify', { ...evil, 'x-forwarded-method': 'GET', 'x-original-method': 'POST' }))
        .status,
      403
    )
    t.equal(
      (await ask('/verify', { ...evil, 'x-forwarded-method': 'POST', 'x-original-method': 'GET' }))
        .status,
      403
    )
    const mixed = {
      origin: 'https://app.example.com',
      'access-control-request-method': 'PUT',
      'x-forwarded-method': 'OPTIONS',
      'x-original-method': 'PUT'
    }
    t.equal((await ask('/verify?preflight=allow', mixed)).status, 401)

    // The header of ingress-nginx. Where a second header names another origin, neither counts.
    const post = { ...cookie, origin: 'https://shop.example.com', 'x-original-method': 'POST' }
    t.equal(
      (await ask('/verify', { ...post, 'x-original-url': 'https://shop.example.com/orders' }))
        .status,
      200
    )
    t.equal(
      (
        await ask('/verify', {
          ...post,
          'x-original-url': 'https://shop.example.com/',
          'x-forwarded-host': 'evil.example',
          'x-forwarded-proto': 'https'
        })
      ).status,
      403
    )
    t.equal(
      (await ask('/verify', { ...post, origin: 'null', 'x-original-url': 'app://shop/' })).status,
      403,
      'the origin "null" is not trusted'
    )
    t.equal(
      (await ask('/verify', { ...post, origin: `x://${new URL(url).host}` })).status,
      403,
      'the scheme of another application is not trusted'
    )
    const page = {
      accept: 'text/html',
      'x-original-method': 'GET',
      'x-forwarded-host': 'app.example.com',
      'x-forwarded-proto': 'https',
      'x-original-uri': '/orders?page=2'
    }
    const path = `/verify?redirect=${encodeURIComponent('https://app.example.com/sign-in')}`
    t.match(await ask(path, page), {
      status: 302,
      headers: {
        location: `https://app.example.com/sign-in?return_to=${encodeURIComponent('https://app.example.com/orders?page=2')}`
      }
    })
    t.equal(
      (await ask(path, { ...page, 'x-original-method': 'POST' })).status,
      401,
      'a form gets 401'
    )
  }
)

t.test('P4: what follows the roles is ignored, whatever it is', async (t) => {
  for (const tail of [
    '100%',
    'caf%E9',
    '%zz?x=%zz',
    '//',
    '%2e%2e%2f',
    '%00',
    'a'.repeat(12_000)
  ]) {
    t.match(
      await ask(`/verify/for/user/${tail}`, bearer),
      { status: 200, body: '' },
      tail.slice(0, 30)
    )
    t.match(
      await ask(`/verify/for/admin/${tail}`, bearer),
      { status: 403, body: '' },
      tail.slice(0, 30)
    )
    t.match(await ask(`/verify/for/*/${tail}`), { status: 401, body: '' }, tail.slice(0, 30))
  }
  for (const roles of ['%zz', '%', 'caf%E9', 'a%2fb', 'user,', 'x'.repeat(65), 'x,'.repeat(200)]) {
    for (const tail of ['', '/%zz']) {
      const { status, body } = await ask(`/verify/for/${roles}${tail}`, bearer)
      t.ok(status === 400 || status === 414, `${roles.slice(0, 30)}${tail} ${status}`)
      t.equal(body, '')
    }
  }
  for (const path of ['/verify/for/', '/verify/for//', '/verify/for//orders'])
    t.match(await ask(path, bearer), { status: 400, body: '' }, path)
})

t.test('P4: a question that names the whole address is the same question', async (t) => {
  for (const origin of ['http://other.example', 'HTTPS://x.example:8443', 'http://a@b.example']) {
    for (const [path, status] of [
      ['/verify/for/*/100%', 200],
      ['/verify/for/admin/caf%E9?x=%zz', 403],
      ['/verify/for/%zz/x', 400],
      ['/verify?role=user', 200],
      ['/verify?rol=user', 400]
    ] as const) {
      t.match(
        await askOnce('/', bearer, { path: origin + path }),
        { status, body: '' },
        origin + path
      )
    }
  }
})

t.test(
  'S18: a browser that says it asks for a page of this very origin is believed, whatever its Origin',
  async (t) => {
    // A form on a page with `Referrer-Policy: no-referrer` is sent like this.
    const form = { ...cookie, origin: 'null' }
    const remove = { method: 'DELETE' }
    t.equal(
      (
        await askOnce(
          '/sessions?except=current',
          { ...form, 'sec-fetch-site': 'same-origin' },
          remove
        )
      ).status,
      200
    )
    t.equal(
      (
        await ask('/verify', {
          ...form,
          'x-forwarded-method': 'POST',
          'sec-fetch-site': 'same-origin'
        })
      ).status,
      200
    )
    for (const site of ['cross-site', 'same-site', '']) {
      t.equal(
        (await askOnce('/sessions?except=current', { ...form, 'sec-fetch-site': site }, remove))
          .status,
        403,
        site
      )
      t.equal(
        (await ask('/verify', { ...form, 'x-forwarded-method': 'POST', 'sec-fetch-site': site }))
          .status,
        403,
        site
      )
    }
  }
)

t.test('a preflight passes where that was asked for, and brings no identity', async (t) => {
  const preflight = { origin: 'https://app.example.com', 'access-control-request-method': 'PUT' }
  for (const [headers, method] of [
    [preflight, 'OPTIONS'],
    [{ ...preflight, 'x-forwarded-method': 'OPTIONS' }, 'GET']
  ] as const) {
    const { status, headers: answered } = await ask(
      '/verify?preflight=allow',
      { ...headers, ...bearer },
      { method }
    )
    t.equal(status, 200)
    for (const name of IDENTITY) t.equal(answered[name], '')
    t.equal((await ask('/verify', headers, { method })).status, 401)
  }
  t.equal((await ask('/verify?preflight=allow', preflight)).status, 401, 'a GET is not a preflight')
  t.equal(
    (await ask('/verify?preflight=allow', {}, { method: 'OPTIONS' })).status,
    401,
    'an OPTIONS without its headers is not a preflight'
  )
})

t.test(
  'forwarded headers of a peer that is not trusted are ignored, and one warning says so',
  async (t) => {
    const other = await build(t, { trustedOrigins: ['https://app.example.com'], logLevel: 'warn' })
    const person = await signUp(other.url)
    const headers = {
      accept: 'text/html',
      'x-forwarded-method': 'POST',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'app.example.com',
      'x-forwarded-uri': '/secret'
    }
    const redirected = await ask(
      `/verify?redirect=${encodeURIComponent('https://app.example.com/sign-in')}`,
      headers,
      { base: other.url }
    )
    t.match(redirected, { status: 302, headers: { location: 'https://app.example.com/sign-in' } })
    t.equal(
      (
        await ask(
          '/verify',
          { ...headers, cookie: cookieOf(person), origin: 'https://evil.example' },
          { base: other.url }
        )
      ).status,
      200,
      'the original method was GET'
    )
    t.equal(
      (
        await ask(
          '/verify?preflight=allow',
          {
            'x-forwarded-method': 'OPTIONS',
            origin: 'https://app.example.com',
            'access-control-request-method': 'PUT'
          },
          { base: other.url }
        )
      ).status,
      401
    )
    t.equal(warnings(other).length, 1)
    t.match(warnings(other)[0], 'TRUSTED_PROXIES')
  }
)

t.test('what proxies ask, in their own words', async (t) => {
  const credential = bearer.authorization
  const traefik = {
    authorization: credential,
    'x-forwarded-method': 'DELETE',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'shop.example.com',
    'x-forwarded-uri': '/orders/7?x=1',
    'x-forwarded-for': '203.0.113.9',
    'x-forwarded-port': '443',
    'x-forwarded-server': 'edge'
  }
  t.match(await ask('/verify', traefik), { status: 200, headers: { 'remote-user': ada.id } })
  const envoy = {
    authorization: credential,
    host: 'shop.example.com',
    'content-length': '0',
    'x-envoy-internal': 'true',
    'x-forwarded-for': '203.0.113.9',
    'x-envoy-expected-rq-timeout-ms': '5000'
  }
  for (const method of ['GET', 'POST', 'DELETE', 'PROPFIND']) {
    t.match(
      await ask('/verify/for/*/orders/7?role=admin&redirect=x', envoy, { method }),
      { status: 200, headers: { 'remote-user': ada.id } },
      method
    )
    t.equal((await ask('/verify/for/admin/orders/7', envoy, { method })).status, 403)
  }
  t.equal(
    (
      await ask(
        '/verify/for/*/orders',
        { ...envoy, cookie: cookie.cookie, authorization: '', origin: 'https://shop.example.com' },
        { method: 'POST' }
      )
    ).status,
    200,
    "Envoy passes the application's own host"
  )
})

t.test('a revoked session is refused by the next request', async (t) => {
  const phone = await signIn(url, ada.email)
  const credentials = [phone.bearer, await accessTokenOf(running, phone.sessionId)].map(
    (token) => ({ authorization: `Bearer ${token}` })
  )
  for (let i = 0; i < 3; i++)
    for (const credential of credentials) t.equal((await ask('/verify', credential)).status, 200)
  t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
  for (const credential of credentials)
    t.match(await ask('/verify', credential), {
      status: 401,
      headers: {
        'www-authenticate': 'Bearer error="invalid_token", error_description="session_revoked"'
      }
    })
  const boss = await signUp(url)
  const admin = { authorization: `Bearer ${boss.bearer}` }
  t.equal((await ask('/verify?role=admin', admin)).status, 403)
  const issuedBefore = { authorization: `Bearer ${await accessTokenOf(running, boss.sessionId)}` }
  await makeAdmin(running, boss)
  t.equal(
    (await ask('/verify?role=admin', issuedBefore)).status,
    200,
    'the roles come from the user, not from the access token'
  )
  t.equal((await ask('/verify?role=admin', admin)).status, 200, 'a new role counts at once')
})

t.test('a check is not written into the log, and every other request is', async (t) => {
  const talkative = await build(t, { logLevel: 'info' })
  t.equal((await ask('/verify', {}, { base: talkative.url })).status, 401)
  t.equal((await askOnce('/session', {}, { base: talkative.url })).status, 401)
  const paths = talkative.log
    .filter((line) => line.includes('incoming request'))
    .map((line) => (JSON.parse(line) as { req: { path?: string } }).req.path)
  t.strictSame(paths, ['/session'])
})

function warnings({ log }: Running): string[] {
  return log.filter((line) => line.includes('forwarded headers'))
}
