import { connect } from 'node:http2'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import cors from '@fastify/cors'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import holdfast, { identityOf } from '../../plugins/holdfast.js'
import type { HoldfastOptions } from '../../src/config.js'
import { until } from '../support/poll.js'
import { Browser, freshStore, password } from '../support/server.js'
import { freePort } from '../support/ports.js'

/**
 * An application with its own routes, error handler and parser, that registers Holdfast below
 * `/identity`.
 */
async function hostApplication(t: Test): Promise<{ app: FastifyInstance; url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const app = Fastify({ pluginTimeout: 60_000 })
  app.setErrorHandler<FastifyError>((error, _request, reply) =>
    reply.code(error.statusCode ?? 500).send({ host: error.message })
  )
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ host: 'nothing' }))
  app.addContentTypeParser('text/csv', { parseAs: 'string' }, (_request, body, done) =>
    done(null, String(body).split(','))
  )
  // An application that takes credentials from elsewhere, or removes some. The headers that its
  // hooks have left are the ones that count.
  app.addHook('onRequest', async (request) => {
    const { token, strip } = request.query as { token?: string; strip?: string }
    if (token !== undefined) request.headers.authorization = `Bearer ${token}`
    if (strip !== undefined) delete request.headers.authorization
  })
  await app.register(holdfast, {
    ...(await freshStore(t)),
    prefix: '/identity',
    baseUrl: url,
    port,
    rateLimit: false
  })
  app.get('/public', async () => ({ open: true }))
  app.get('/private', { preHandler: [app.requireSession] }, async (request) => ({
    hello: request.identity?.user.name
  }))
  app.get('/admin', { preHandler: [app.requireRole('admin')] }, async (request) => ({
    roles: request.identity?.user.roles
  }))
  // An application that changes the identity changes it only for its own request.
  app.get('/promoted', { preHandler: [app.requireSession] }, async ({ identity }) => ({
    roles: identity?.user.roles.push('admin'),
    methods: identity?.session.amr.push('x')
  }))
  app.post('/orders', { preHandler: [app.requireSession] }, async (request) => ({
    body: request.body
  }))
  app.get('/broken', async () => {
    throw new Error('the host is broken')
  })
  t.teardown(() => app.close())
  await app.listen({ host: '127.0.0.1', port })
  return { app, url }
}

const { app, url } = await hostApplication(t)

async function signUpBelowPrefix(email: string): Promise<Browser> {
  const browser = new Browser(url)
  const answer = await browser.post('/identity/api/auth/sign-up/email', {
    name: 'Ada Lovelace',
    email,
    password
  })
  if (answer.status !== 200)
    throw new Error(`sign-up answered ${answer.status}: ${await answer.text()}`)
  return browser
}

t.test('sign-up, check and sign-out work below the prefix', async (t) => {
  const browser = await signUpBelowPrefix('prefix@example.com')
  t.match(await (await browser.get('/identity/session')).json(), {
    isValid: true,
    user: { email: 'prefix@example.com' }
  })
  t.match(await (await browser.get('/identity/api/auth/get-session')).json(), {
    user: { email: 'prefix@example.com' }
  })
  t.equal((await browser.post('/identity/api/auth/sign-out')).status, 200)
  t.equal((await browser.get('/identity/session')).status, 401)
  t.equal((await browser.get('/identity/health/ready')).status, 200)
})

t.test(
  'P12: paths below the prefix say what they allow; without one, other methods of a path are for the host',
  async (t) => {
    const answer = await fetch(`${url}/identity/session`, { method: 'PUT' })
    t.match([answer.status, answer.headers.get('allow')], [405, 'GET, HEAD'])
    const app = Fastify({ pluginTimeout: 60_000 })
    await app.register(holdfast, {
      ...(await freshStore(t)),
      baseUrl: 'http://localhost',
      rateLimit: false
    })
    app.post('/session', async () => ({ host: 'mine' }))
    t.teardown(() => app.close())
    t.strictSame((await app.inject({ method: 'POST', url: '/session' })).json(), { host: 'mine' })
    t.equal((await app.inject({ method: 'PUT', url: '/session' })).statusCode, 404)
  }
)

t.test("requireSession guards the host's routes", async (t) => {
  const refused = await fetch(`${url}/private`)
  t.equal(refused.status, 401)
  t.equal(refused.headers.get('www-authenticate'), 'Bearer')
  t.match(await refused.json(), { cause: 'credential_missing' })
  const browser = await signUpBelowPrefix('private@example.com')
  t.strictSame(await (await browser.get('/private')).json(), { hello: 'Ada Lovelace' })
})

t.test('a guard sees the headers as the hooks of the host have left them', async (t) => {
  const signedUp = await fetch(`${url}/identity/api/auth/sign-up/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Ada', email: 'hooks@example.com', password })
  })
  const bearer = signedUp.headers.get('set-auth-token') ?? ''
  for (const path of ['/private', '/identity/session']) {
    t.equal((await fetch(`${url}${path}?token=${encodeURIComponent(bearer)}`)).status, 200, path)
    t.equal(
      (await fetch(`${url}${path}?strip=1`, { headers: { authorization: `Bearer ${bearer}` } }))
        .status,
      401,
      path
    )
  }
})

t.test("requireRole guards the host's routes", async (t) => {
  t.equal((await fetch(`${url}/admin`)).status, 401)
  const browser = await signUpBelowPrefix('role@example.com')
  const refused = await browser.get('/admin')
  t.equal(refused.status, 403)
  t.match(await refused.json(), { cause: 'role_missing' })
  await app.holdfast.prisma.user.update({
    where: { email: 'role@example.com' },
    data: { role: 'admin' }
  })
  await until('the role to be heard of', async () => (await browser.get('/admin')).status === 200)
  t.strictSame(await (await browser.get('/admin')).json(), { roles: ['admin'] })
})

t.test('a guarded change needs a trusted origin', async (t) => {
  const browser = await signUpBelowPrefix('origin@example.com')
  const refused = await browser.post('/orders', {}, { origin: 'https://evil.example' })
  t.equal(refused.status, 403)
  t.match(await refused.json(), { cause: 'origin_refused' })
})

t.test("the host's parsers, errors and unknown routes are its own", async (t) => {
  const browser = await signUpBelowPrefix('own@example.com')
  t.strictSame(await (await browser.post('/orders', { amount: 2 })).json(), { body: { amount: 2 } })
  const csv = await browser.fetch('/orders', {
    method: 'POST',
    body: 'a,b',
    headers: { 'content-type': 'text/csv' }
  })
  t.strictSame(await csv.json(), { body: ['a', 'b'] })
  t.equal(
    (
      await browser.fetch('/orders', {
        method: 'POST',
        body: 'x',
        headers: { 'content-type': 'application/x-odd' }
      })
    ).status,
    415
  )
  t.strictSame(await (await fetch(`${url}/public`)).json(), { open: true })
  t.strictSame(await (await fetch(`${url}/broken`)).json(), { host: 'the host is broken' })
  const unknown = await fetch(`${url}/no-such-thing`)
  t.equal(unknown.status, 404)
  t.strictSame(await unknown.json(), { host: 'nothing' })
})

t.test("below the prefix, errors and unknown routes are Holdfast's", async (t) => {
  for (const path of ['/identity/no-such-thing', '/identity/api/auth/no-such-thing']) {
    const unknown = await fetch(url + path)
    t.equal(unknown.status, 404, path)
    t.match(await unknown.json(), { cause: 'not_found' }, path)
  }
  const outside = await fetch(`${url}/api/auth/get-session`)
  t.strictSame(await outside.json(), { host: 'nothing' }, 'no route is outside the prefix')
})

t.test('a prefix around the prefix counts', async (t) => {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const app = Fastify({ pluginTimeout: 60_000 })
  const options = { ...(await freshStore(t)), prefix: '/identity', baseUrl, port, rateLimit: false }
  t.teardown(() => app.close())
  await app.register(
    async (scope) => {
      await scope.register(holdfast, options)
    },
    { prefix: '/v1' }
  )
  await app.listen({ host: '127.0.0.1', port })
  const browser = new Browser(baseUrl)
  const answer = await browser.post('/v1/identity/api/auth/sign-up/email', {
    name: 'Ada Lovelace',
    email: 'nested@example.com',
    password
  })
  t.equal(answer.status, 200)
  t.equal((await browser.get('/v1/identity/session')).status, 200)
})

t.test('what would surprise later refuses the registration', async (t) => {
  const options = await freshStore(t)
  const register = async (more: object) => {
    await Fastify({ pluginTimeout: 60_000 })
      .register(holdfast, { ...options, baseUrl: 'http://localhost:3000', ...more })
      .ready()
  }
  await t.rejects(register({ databseUrl: 'postgresql://x' }), {
    message: 'databseUrl: there is no such setting'
  })
  await t.rejects(register({ prefix: 'identity' }), { message: /^prefix: must begin with a slash/ })
  process.env['BETTER_AUTH_SECRETS'] = '1:somebody else set this'
  t.teardown(() => {
    delete process.env['BETTER_AUTH_SECRETS']
  })
  await t.rejects(register({}), { message: /^BETTER_AUTH_SECRETS: must not be set/ })
})

t.test(
  'what an application does to the identity of a request stays with that request',
  async (t) => {
    const browser = await signUpBelowPrefix('grace@example.com')
    for (let i = 0; i < 3; i++) {
      const answer = await browser.get('/promoted')
      t.strictSame(await answer.json(), { roles: 2, methods: 2 })
      t.equal((await browser.get('/admin')).status, 403)
      t.equal((await browser.get('/identity/verify?role=admin')).status, 403)
    }
  }
)

const trusted = 'https://app.example.com'
const evil = 'https://evil.example'

/** An application of one test, with Holdfast below `/identity`. */
async function applicationWith(
  t: Test,
  setUp: (app: FastifyInstance) => unknown,
  {
    app = Fastify({ pluginTimeout: 60_000 }),
    ...options
  }: HoldfastOptions & { app?: FastifyInstance } = {}
): Promise<{ app: FastifyInstance; url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  t.teardown(() => app.close())
  await setUp(app)
  await app.register(holdfast, {
    prefix: '/identity',
    baseUrl: url,
    port,
    rateLimit: false,
    trustedOrigins: [trusted],
    ...(await freshStore(t)),
    ...options
  })
  await app.listen({ host: '127.0.0.1', port })
  return { app, url }
}

const corsOf = ({ headers }: Response) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith('access-control-allow-')))

t.test(
  'H6: what an application says of CORS is not said on our routes, not even where it answers in our place',
  async (t) => {
    const { url } = await applicationWith(t, async (app) => {
      await app.register(cors, { origin: true, credentials: true, strictPreflight: true })
      app.addHook('onRequest', async (request, reply) => {
        reply.raw
          .setHeader('access-control-allow-origin', evil)
          .setHeader('access-control-allow-credentials', 'true')
        if (request.headers['x-refuse'] !== undefined)
          return reply.code(429).header('vary', 'accept').send({ host: 'slower' })
        return undefined
      })
    })
    const session = `${url}/identity/session`
    t.strictSame(
      corsOf(await fetch(session, { headers: { origin: evil } })),
      { 'access-control-allow-credentials': 'true' },
      'this header alone allows no origin'
    )
    t.match(corsOf(await fetch(session, { headers: { origin: trusted } })), {
      'access-control-allow-origin': trusted
    })
    t.strictSame(corsOf(await fetch(`${url}/identity/verify`, { headers: { origin: evil } })), {})

    const preflight = (origin: string, path = session) =>
      fetch(path, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'DELETE', 'x-refuse': '1' }
      })
    t.notOk('access-control-allow-origin' in corsOf(await preflight(evil)))
    t.match(corsOf(await preflight(trusted)), {
      'access-control-allow-origin': trusted,
      'access-control-allow-methods': /DELETE/
    })
    t.equal(
      (await preflight(trusted, `${url}/identity/oauth2/introspect`)).status,
      404,
      'pages do not call this route'
    )
    t.equal(
      (await fetch(session, { method: 'OPTIONS' })).status,
      204,
      'an OPTIONS request that is not a preflight is answered'
    )

    for (const [origin, allowed] of [
      [evil, {}],
      [
        trusted,
        { 'access-control-allow-origin': trusted, 'access-control-allow-credentials': 'true' }
      ]
    ] as const) {
      const refused = await fetch(session, { headers: { origin, 'x-refuse': '1' } })
      t.strictSame(
        [refused.status, await refused.json()],
        [429, { host: 'slower' }],
        'a refusal of the application is passed on'
      )
      t.strictSame(corsOf(refused), allowed)
      if (origin === trusted) t.equal(refused.headers.get('vary'), 'accept, Origin')
    }
  }
)

t.test(
  "H2: an application's hooks see our requests come and go, and its limits hold for them",
  async (t) => {
    const seen: string[] = []
    const { url } = await applicationWith(t, async (app) => {
      await app.register(rateLimit, { max: 6, timeWindow: 60_000 })
      app.addHook('onRequest', async ({ method, url, routeOptions }) => {
        seen.push(`${method} ${url} ${routeOptions.url}`)
      })
      app.addHook('onResponse', async ({ url }, { statusCode }) => {
        seen.push(`${statusCode} ${url}`)
      })
      app.addHook('onSend', async ({ url }) => {
        seen.push(`onSend ${url}`)
      })
    })
    for (const [path, route, status] of [
      ['/session', '/identity/session', 401],
      ['/verify/for/user/x', '/identity/verify/for/*', 401],
      ['/nothing', '/identity/*', 404]
    ] as const) {
      t.equal((await fetch(`${url}/identity${path}`)).status, status)
      await until('the hooks', () => seen.length === 2)
      t.strictSame(seen.splice(0), [`GET /identity${path} ${route}`, `${status} /identity${path}`])
    }
    const health = `${url}/identity/health/live`
    for (let i = 0; i < 3; i++) t.equal((await fetch(health)).status, 200)
    t.equal((await fetch(health)).status, 429)
  }
)

t.test(
  'H2: lines about our requests are written once, under the id of the application',
  async (t) => {
    const lines: Record<string, unknown>[] = []
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        lines.push(
          ...chunk
            .toString()
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line) as Record<string, unknown>)
        )
        done()
      }
    })
    const host = Fastify({
      loggerInstance: pino(stream),
      pluginTimeout: 60_000,
      genReqId: () => 'id-of-the-application'
    })
    const { app, url } = await applicationWith(t, () => {}, {
      app: host as unknown as FastifyInstance
    })
    app.holdfast.reader.check = async () => {
      throw new Error('the store burns')
    }
    lines.length = 0
    const answer = await fetch(`${url}/identity/session`, {
      headers: { authorization: 'Bearer hst1_x' }
    })
    t.match(await answer.json(), { status: 500, requestId: 'id-of-the-application' })
    await until('the last line', () => lines.some(({ msg }) => msg === 'request completed'))
    t.match(lines, [
      { msg: 'incoming request' },
      { msg: 'the request failed', err: { message: 'the store burns' } },
      { msg: 'request completed' }
    ])
    t.ok(lines.length === 3 && lines.every(({ reqId }) => reqId === 'id-of-the-application'))
    lines.length = 0
    t.equal((await fetch(`${url}/identity/verify`)).status, 401)
    t.equal(lines.length, 0, 'checks are not logged')
  }
)

t.test('H2: headers that a hook has put in the place of those that were sent count', async (t) => {
  const { app, url } = await applicationWith(t, (app) =>
    app.addHook('onRequest', async (request) => {
      const token = request.headers['x-token']
      if (token !== undefined) request.headers = { authorization: `Bearer ${String(token)}` }
    })
  )
  const signedUp = await fetch(`${url}/identity/api/auth/sign-up/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Ada', email: 'ada@example.com', password })
  })
  const token = signedUp.headers.get('set-auth-token') ?? ''
  for (const path of ['/session', '/verify', '/verify'])
    t.equal(
      (await fetch(`${url}/identity${path}`, { headers: { 'x-token': token } })).status,
      200,
      path
    )
  t.equal(
    (await app.inject({ url: '/identity/verify', headers: { 'x-token': token } })).statusCode,
    200,
    'an injected request is handled alike'
  )
})

t.test('P4: a tail that is no address is ignored in an application as well', async (t) => {
  const { url } = await applicationWith(t, () => {})
  const browser = new Browser(url)
  t.equal(
    (
      await browser.post('/identity/api/auth/sign-up/email', {
        name: 'Ada',
        email: 'odd@example.com',
        password
      })
    ).status,
    200
  )
  for (const tail of ['100%', 'caf%E9', '%zz?a=%', 'a/b/%']) {
    for (const roles of ['*', 'user'])
      t.equal((await browser.get(`/identity/verify/for/${roles}/${tail}`)).status, 200, tail)
    t.equal((await browser.get(`/identity/verify/for/admin/${tail}`)).status, 403, tail)
  }
  t.equal(
    (await browser.get('/elsewhere/100%')).status,
    400,
    "the application's own paths are not changed"
  )
})

t.test('H5: without a prefix, only the paths that Holdfast has are its own', async (t) => {
  const { app, url } = await applicationWith(
    t,
    async (app) => {
      await app.register(cors, { origin: true })
      app.route({
        method: ['GET', 'POST', 'DELETE'],
        url: '/*',
        handler: async ({ method, url }) => `the host: ${method} ${url}`
      })
      app.get('/sessions/mine', async () => 'the host: mine')
    },
    { prefix: '' } as HoldfastOptions
  )
  const browser = new Browser(url)
  t.equal(
    (
      await browser.post('/api/auth/sign-up/email', {
        name: 'Ada',
        email: 'top@example.com',
        password
      })
    ).status,
    200
  )
  t.match(await (await browser.get('/session')).json(), { isValid: true })
  t.equal((await browser.fetch('/verify', { method: 'PROPFIND' })).status, 200)
  t.equal((await browser.get(`/verify/for/${'r'.repeat(60)},${'s'.repeat(60)}/x`)).status, 403)
  t.match(await (await browser.get('/sessions/42/events')).json(), { cause: 'invalid_input' })
  for (const [method, path] of [
    ['POST', '/session'],
    ['GET', '/'],
    ['GET', '/nothing'],
    ['DELETE', '/verification']
  ]) {
    t.equal(
      await (await browser.fetch(path ?? '', { method: method ?? '' })).text(),
      `the host: ${method} ${path}`
    )
  }
  t.equal(await (await browser.get('/sessions/mine')).text(), 'the host: mine')
  t.notOk(app.supportedMethods.includes('PROPFIND'), "the application's methods are not changed")
})

/** Names that an application may already use. */
const takeNames = (app: FastifyInstance) =>
  app.decorateRequest('identity', null as never).decorate('budgets', 'mine' as never)

t.test("H7: an application's own `identity` stays its own, whenever it was made", async (t) => {
  for (const first of ['the application', 'Holdfast']) {
    const app = Fastify({ pluginTimeout: 60_000 })
    t.teardown(() => app.close())
    if (first === 'the application') takeNames(app)
    await app.register(holdfast, {
      ...(await freshStore(t)),
      prefix: '/identity',
      baseUrl: 'http://localhost',
      rateLimit: false
    })
    if (first === 'Holdfast') takeNames(app)
    app.get(
      '/mine',
      { preHandler: [app.requireSession, app.requireRole('user')] },
      async (request) => ({ own: request.identity, ours: identityOf(request).user.name })
    )
    app.get('/unguarded', async (request) => ({ ours: identityOf(request) }))
    const signedUp = await app.inject({
      method: 'POST',
      url: '/identity/api/auth/sign-up/email',
      payload: { name: 'Ada', email: 'ada@example.com', password }
    })
    const authorization = `Bearer ${String(signedUp.headers['set-auth-token'])}`
    t.strictSame(
      (await app.inject({ url: '/mine', headers: { authorization } })).json(),
      { own: null, ours: 'Ada' },
      `${first} first`
    )
    t.match((await app.inject({ url: '/unguarded', headers: { authorization } })).json(), {
      statusCode: 500,
      message: 'the route lacks requireSession'
    })
  }
})

t.test(
  'H3: over HTTP/2 a body comes without a length, and no answer has a header about the connection',
  async (t) => {
    const { url } = await applicationWith(t, () => {}, {
      app: Fastify({ http2: true, pluginTimeout: 60_000 }) as unknown as FastifyInstance
    })
    const session = connect(url)
    t.teardown(() => session.destroy())
    const ask = async (headers: Record<string, string>, body?: string) => {
      const stream = session.request(headers, { endStream: body === undefined })
      if (body !== undefined) stream.end(body)
      const answered = await new Promise<Record<string, unknown>>((resolve) => {
        stream.once('response', resolve)
      })
      return { status: answered[':status'], headers: answered, body: await text(stream) }
    }
    const warned: Error[] = []
    const onWarning = (warning: Error) => warned.push(warning)
    process.on('warning', onWarning)
    t.teardown(() => process.off('warning', onWarning))
    const json = { ':method': 'POST', 'content-type': 'application/json' }
    const signUp = { ...json, ':path': '/identity/api/auth/sign-up/email', origin: url }
    const signedUp = await ask(
      signUp,
      JSON.stringify({ name: 'Ada', email: 'h2@example.com', password })
    )
    t.equal(signedUp.status, 200, signedUp.body)
    const cookie =
      [signedUp.headers['set-cookie']]
        .flat()
        .map((each) => String(each).split(';', 1)[0])
        .find((each) => each?.includes('holdfast.session_token=')) ?? ''
    // One cookie in each field, as RFC 9113 8.2.3 allows.
    for (let i = 0; i < 2; i++)
      t.equal(
        (await ask({ ':path': '/identity/verify', cookie: ['other=1', cookie] as never })).status,
        200
      )
    t.match(JSON.parse((await ask({ ':path': '/identity/api/auth/get-session', cookie })).body), {
      user: { email: 'h2@example.com' }
    })
    t.equal((await ask(signUp, JSON.stringify({ name: 'x'.repeat(200_000) }))).status, 413)
    t.equal(
      (
        await ask({
          ':method': 'DELETE',
          ':path': '/identity/sessions?except=current',
          cookie,
          origin: url,
          'content-type': 'application/json'
        })
      ).status,
      200
    )
    t.equal(
      (await ask({ ...json, ':path': '/identity/api/auth/sign-out', cookie, origin: url }, '{}'))
        .status,
      200
    )
    t.equal((await ask({ ':path': '/identity/verify', cookie })).status, 401)
    t.strictSame(warned, [])
  }
)
