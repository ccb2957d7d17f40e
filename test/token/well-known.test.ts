import Fastify from 'fastify'
import fastifyJwt from '@fastify/jwt'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import t from 'tap'
import holdfast from '../../plugins/holdfast.js'
import { Browser, build, freshStore, password, storage } from '../support/server.js'
import { freePort } from '../support/ports.js'
import { startServer } from '../support/server-process.js'

const running = await build(t)
const { app, url } = running

t.test('oauth4webapi discovers the server', async (t) => {
  const issuer = new URL(url)
  const response = await oauth.discoveryRequest(issuer, {
    algorithm: 'oauth2',
    [oauth.allowInsecureRequests]: true
  })
  const server = await oauth.processDiscoveryResponse(issuer, response)
  t.match(server, {
    issuer: url,
    jwks_uri: `${url}/.well-known/jwks.json`,
    token_endpoint: `${url}/oauth2/token`,
    revocation_endpoint: `${url}/oauth2/revoke`,
    introspection_endpoint: `${url}/oauth2/introspect`,
    grant_types_supported: ['refresh_token'],
    response_types_supported: [],
    token_endpoint_auth_methods_supported: ['none'],
    revocation_endpoint_auth_methods_supported: ['none'],
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    introspection_signing_alg_values_supported: ['ES256']
  })
})

t.test('oauth4webapi validates an access token as a resource server (RFC 9068)', async (t) => {
  const person = new Browser(url)
  await person.post('/api/auth/sign-up/email', {
    name: 'Ada',
    email: 'well-known@example.com',
    password
  })
  const {
    session: { id }
  } = (await (await person.get('/session')).json()) as { session: { id: string } }
  const session = await app.holdfast.prisma.session.findUniqueOrThrow({ where: { id } })
  const { token } = await app.holdfast.accessTokens.issue({
    session,
    roles: ['user'],
    generation: 0
  })
  const server: oauth.AuthorizationServer = {
    issuer: url,
    jwks_uri: `${url}/.well-known/jwks.json`
  }
  const request = new Request('https://api.example.com/orders', {
    headers: { authorization: `Bearer ${token}` }
  })
  const claims = await oauth.validateJwtAccessToken(server, request, url, {
    [oauth.allowInsecureRequests]: true
  })
  t.match(claims, { sid: id, client_id: 'holdfast', sub: session.userId })
  await t.rejects(
    oauth.validateJwtAccessToken(server, request, 'https://other.example', {
      [oauth.allowInsecureRequests]: true
    })
  )
})

t.test('openid-client discovers the server', async (t) => {
  const configuration = await client.discovery(new URL(url), 'holdfast', undefined, client.None(), {
    algorithm: 'oauth2',
    execute: [client.allowInsecureRequests]
  })
  t.match(configuration.serverMetadata(), { issuer: url, token_endpoint: `${url}/oauth2/token` })
})

// OpenID Connect Discovery 1.0 requires what this server does not have: an authorization endpoint,
// ID tokens, subject types.
t.test('P14: what is no OpenID provider has no document of one', async (t) => {
  t.equal((await fetch(`${url}/.well-known/openid-configuration`)).status, 404)
  const metadata = (await (
    await fetch(`${url}/.well-known/oauth-authorization-server`)
  ).json()) as Record<string, unknown>
  for (const required of ['issuer', 'token_endpoint', 'response_types_supported'])
    t.ok(required in metadata, `${required} (RFC 8414, section 2)`)
})

t.test(
  'the keys are cacheable, for no longer than the next one is published before it signs',
  async (t) => {
    const response = await fetch(`${url}/.well-known/jwks.json`)
    t.equal(response.headers.get('cache-control'), 'public, max-age=300')
    t.match(response.headers.get('content-type'), /^application\/jwk-set\+json/)
    const { keys } = (await response.json()) as { keys: Record<string, string>[] }
    t.strictSame(
      keys.map((key) => Object.keys(key).toSorted()),
      Array.from({ length: 2 }, () => ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']),
      'the current and the next key are published, without private keys'
    )
    const etag = response.headers.get('etag') ?? ''
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const unchanged = await fetch(`${url}/.well-known/jwks.json`, {
        headers: { 'if-none-match': known }
      })
      t.equal(unchanged.status, 304, known)
      t.equal(await unchanged.text(), '')
      t.equal(unchanged.headers.get('etag'), etag)
      t.equal(unchanged.headers.get('cache-control'), 'public, max-age=300')
    }
    await app.holdfast.signingKeys.rotate({ force: true })
    const changed = await fetch(`${url}/.well-known/jwks.json`, {
      headers: { 'if-none-match': etag }
    })
    t.equal(changed.status, 200)
    t.not(changed.headers.get('etag'), etag)
    const head = await fetch(`${url}/.well-known/jwks.json`, { method: 'HEAD' })
    t.equal(head.status, 200)
  }
)

t.test('an issuer below a prefix is found where RFC 8414 looks for it', async (t) => {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const host = Fastify({ pluginTimeout: 60_000 })
  // The host application has JWTs of its own, with either kind of registration.
  await host.register(fastifyJwt, { secret: 'the secret of the application around us' })
  await host.register(holdfast, {
    ...(await freshStore(t)),
    prefix: '/identity',
    baseUrl,
    port,
    rateLimit: false,
    accessTokenAudience: 'https://api.example.com'
  })
  t.teardown(() => host.close())
  await host.listen({ host: '127.0.0.1', port })
  const issuer = new URL(`${baseUrl}/identity`)
  const response = await oauth.discoveryRequest(issuer, {
    algorithm: 'oauth2',
    [oauth.allowInsecureRequests]: true
  })
  const server = await oauth.processDiscoveryResponse(issuer, response)
  t.equal(server.jwks_uri, `${baseUrl}/identity/.well-known/jwks.json`)
  t.equal((await fetch(server.jwks_uri ?? '')).status, 200)
  t.equal(
    (await fetch(`${baseUrl}/.well-known/oauth-authorization-server/identity`)).status,
    200,
    'the path follows the name'
  )
  t.equal(
    (await fetch(`${baseUrl}/identity/.well-known/oauth-authorization-server`)).status,
    200,
    'the path is below the prefix as well'
  )
  t.match(
    host.jwt.verify(host.jwt.sign({ theirs: true })),
    { theirs: true },
    "the application's own JWTs are not affected"
  )
  t.match(host.holdfast.parties, {
    issuer: `${baseUrl}/identity`,
    audience: 'https://api.example.com'
  })
})

t.test(
  'a server that has not read its keys says so',
  { skip: storage === 'embedded' && 'an embedded store is always there' },
  async (t) => {
    const server = await startServer(t, {
      databaseUrl: `postgresql://nobody@127.0.0.1:${await freePort()}/none`,
      authSecret: running.options.authSecret,
      baseUrl: 'http://localhost:3000'
    })
    const response = await fetch(`${server.url}/.well-known/jwks.json`)
    t.equal(response.status, 503)
    t.equal(response.headers.get('cache-control'), 'no-store')
    t.equal(response.headers.get('retry-after'), '1')
    t.equal(
      (await fetch(`${server.url}/.well-known/oauth-authorization-server`)).status,
      200,
      'the metadata does not need the store'
    )
  }
)
