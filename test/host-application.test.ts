import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import holdfast from '../plugins/holdfast.js'
import { until } from './services/poll.js'
import { Browser, freshStore, password } from './helper.js'
import { freePort } from './services/ports.js'

/** Somebody's application, with routes, an error handler and a parser of its own, that registers Holdfast below `/identity`. */
async function hostApplication(t: Test): Promise<{ app: FastifyInstance, url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const app = Fastify()
  app.setErrorHandler<FastifyError>((error, _request, reply) => reply.code(error.statusCode ?? 500).send({ host: error.message }))
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ host: 'nothing' }))
  app.addContentTypeParser('text/csv', { parseAs: 'string' }, (_request, body, done) => done(null, String(body).split(',')))
  // An application that takes credentials from elsewhere, or takes some away: what its hooks have left is what was shown.
  app.addHook('onRequest', async (request) => {
    const { token, strip } = request.query as { token?: string, strip?: string }
    if (token !== undefined) request.headers.authorization = `Bearer ${token}`
    if (strip !== undefined) delete request.headers.authorization
  })
  await app.register(holdfast, { ...await freshStore(t), prefix: '/identity', baseUrl: url, port, rateLimit: false })
  app.get('/public', async () => ({ open: true }))
  app.get('/private', { preHandler: [app.requireSession] }, async (request) => ({ hello: request.identity?.user.name }))
  app.get('/admin', { preHandler: [app.requireRole('admin')] }, async (request) => ({ roles: request.identity?.user.roles }))
  // An application that changes what it was handed changes it for its own request, and for nobody else.
  app.get('/promoted', { preHandler: [app.requireSession] }, async ({ identity }) => ({ roles: identity?.user.roles.push('admin'), methods: identity?.session.amr.push('x') }))
  app.post('/orders', { preHandler: [app.requireSession] }, async (request) => ({ body: request.body }))
  app.get('/broken', async () => { throw new Error('the host is broken') })
  t.teardown(() => app.close())
  await app.listen({ host: '127.0.0.1', port })
  return { app, url }
}

const { app, url } = await hostApplication(t)

async function signUpBelowPrefix(email: string): Promise<Browser> {
  const browser = new Browser(url)
  const answer = await browser.post('/identity/api/auth/sign-up/email', { name: 'Ada Lovelace', email, password })
  if (answer.status !== 200) throw new Error(`sign-up answered ${answer.status}: ${await answer.text()}`)
  return browser
}

t.test('sign-up, check and sign-out work below the prefix', async (t) => {
  const browser = await signUpBelowPrefix('prefix@example.com')
  t.match(await (await browser.get('/identity/session')).json(), { isValid: true, user: { email: 'prefix@example.com' } })
  t.match(await (await browser.get('/identity/api/auth/get-session')).json(), { user: { email: 'prefix@example.com' } })
  t.equal((await browser.post('/identity/api/auth/sign-out')).status, 200)
  t.equal((await browser.get('/identity/session')).status, 401)
  t.equal((await browser.get('/identity/health/ready')).status, 200)
})

t.test('P12: paths below the prefix say what they allow; without one, other methods of a path are for the host', async (t) => {
  const answer = await fetch(`${url}/identity/session`, { method: 'PUT' })
  t.match([answer.status, answer.headers.get('allow')], [405, 'GET, HEAD'])
  const app = Fastify()
  await app.register(holdfast, { ...await freshStore(t), baseUrl: 'http://localhost', rateLimit: false })
  app.post('/session', async () => ({ host: 'mine' }))
  t.teardown(() => app.close())
  t.strictSame((await app.inject({ method: 'POST', url: '/session' })).json(), { host: 'mine' })
  t.equal((await app.inject({ method: 'PUT', url: '/session' })).statusCode, 404)
})

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
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'Ada', email: 'hooks@example.com', password })
  })
  const bearer = signedUp.headers.get('set-auth-token') ?? ''
  for (const path of ['/private', '/identity/session']) {
    t.equal((await fetch(`${url}${path}?token=${encodeURIComponent(bearer)}`)).status, 200, path)
    t.equal((await fetch(`${url}${path}?strip=1`, { headers: { authorization: `Bearer ${bearer}` } })).status, 401, path)
  }
})

t.test("requireRole guards the host's routes", async (t) => {
  t.equal((await fetch(`${url}/admin`)).status, 401)
  const browser = await signUpBelowPrefix('role@example.com')
  const refused = await browser.get('/admin')
  t.equal(refused.status, 403)
  t.match(await refused.json(), { cause: 'role_missing' })
  await app.holdfast.prisma.user.update({ where: { email: 'role@example.com' }, data: { role: 'admin' } })
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
  const csv = await browser.fetch('/orders', { method: 'POST', body: 'a,b', headers: { 'content-type': 'text/csv' } })
  t.strictSame(await csv.json(), { body: ['a', 'b'] })
  t.equal((await browser.fetch('/orders', { method: 'POST', body: 'x', headers: { 'content-type': 'application/x-odd' } })).status, 415)
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
  t.strictSame(await outside.json(), { host: 'nothing' }, 'nothing hangs outside the prefix')
})

t.test('a prefix around the prefix counts', async (t) => {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const app = Fastify()
  const options = { ...await freshStore(t), prefix: '/identity', baseUrl, port, rateLimit: false }
  t.teardown(() => app.close())
  await app.register(async (scope) => { await scope.register(holdfast, options) }, { prefix: '/v1' })
  await app.listen({ host: '127.0.0.1', port })
  const browser = new Browser(baseUrl)
  const answer = await browser.post('/v1/identity/api/auth/sign-up/email', { name: 'Ada Lovelace', email: 'nested@example.com', password })
  t.equal(answer.status, 200)
  t.equal((await browser.get('/v1/identity/session')).status, 200)
})

t.test('what would surprise later refuses the registration', async (t) => {
  const options = await freshStore(t)
  const register = async (more: object) => { await Fastify().register(holdfast, { ...options, baseUrl: 'http://localhost:3000', ...more }).ready() }
  await t.rejects(register({ databseUrl: 'postgresql://x' }), { message: 'databseUrl: there is no such setting' })
  await t.rejects(register({ prefix: 'identity' }), { message: /^prefix: must begin with a slash/ })
  process.env['BETTER_AUTH_SECRETS'] = '1:somebody else set this'
  t.teardown(() => { delete process.env['BETTER_AUTH_SECRETS'] })
  await t.rejects(register({}), { message: /^BETTER_AUTH_SECRETS: must not be set/ })
})

t.test('what an application does to the identity of a request stays with that request', async (t) => {
  const browser = await signUpBelowPrefix('grace@example.com')
  for (let i = 0; i < 3; i++) {
    const answer = await browser.get('/promoted')
    t.strictSame(await answer.json(), { roles: 2, methods: 2 })
    t.equal((await browser.get('/admin')).status, 403)
    t.equal((await browser.get('/identity/verify?role=admin')).status, 403)
  }
})
