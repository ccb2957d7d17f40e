import * as oauth from 'oauth4webapi'
import { decodeJwt } from 'jose'
import t from 'tap'
import { accessTokenOf, makeFamily, refresh } from '../support/refresh-fixtures.js'
import { build, signIn, signUp } from '../support/server.js'
import { until } from '../support/poll.js'

const secret = 'a-secret-of-the-gateway-in-this-test'
const audience = 'https://api.example.com'
const running = await build(t, {
  gatewayClients: [`edge:${secret}`],
  accessTokenAudience: audience
})
const { url } = running
const ada = await signUp(url)
const client: oauth.Client = { client_id: 'edge' }
const insecure = { [oauth.allowInsecureRequests]: true }
const server = await oauth.processDiscoveryResponse(
  new URL(url),
  await oauth.discoveryRequest(new URL(url), { algorithm: 'oauth2', ...insecure })
)

/** Sends the request with oauth4webapi, an independent client that follows the standard. */
async function introspect(
  token: string,
  auth: oauth.ClientAuth = oauth.ClientSecretBasic(secret),
  parameters: Record<string, string> = {}
): Promise<oauth.IntrospectionResponse> {
  const response = await oauth.introspectionRequest(server, client, auth, token, {
    ...insecure,
    additionalParameters: parameters
  })
  return oauth.processIntrospectionResponse(server, client, response)
}

/**
 * Sends it twice. Once its gateway is known, a request need not go through Fastify. Both ways must
 * give the same answer.
 */
async function raw(body: string, headers: Record<string, string> = {}): Promise<Raw> {
  const [first, second] = [await rawOnce(body, headers), await rawOnce(body, headers)]
  const comparable = ({ status, text, headers: answered }: Raw) => ({
    status,
    text: signed(text) ? '' : text,
    headers: Object.fromEntries(
      [...answered].filter(([name]) => name !== 'date' && name !== 'content-length')
    )
  })
  t.strictSame(comparable(second), comparable(first), `${body} is answered alike`)
  return second
}

function signed(text: string): boolean {
  return text.startsWith('ey')
}

interface Raw {
  status: number
  text: string
  headers: Headers
}

async function rawOnce(body: string, headers: Record<string, string>): Promise<Raw> {
  const authorization = `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`
  const response = await fetch(`${url}/oauth2/introspect`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body
  })
  return { status: response.status, text: await response.text(), headers: response.headers }
}

t.test('oauth4webapi is told of an active session, however it authenticates', async (t) => {
  const now = Date.now() / 1000
  for (const auth of [oauth.ClientSecretBasic(secret), oauth.ClientSecretPost(secret)]) {
    for (const token of [ada.bearer, decodeURIComponent(ada.bearer)]) {
      const answer = await introspect(token, auth)
      t.match(answer, {
        active: true,
        sub: ada.id,
        sid: ada.sessionId,
        iss: url,
        aud: audience,
        client_id: 'holdfast',
        token_type: 'Bearer',
        roles: ['user'],
        amr: ['pwd'],
        username: ada.id,
        name: 'Ada Lovelace'
      })
      t.notOk('email' in answer, 'an unverified address is left out')
      t.ok(Number(answer.iat) <= now + 1 && Number(answer.exp) > now + 600_000)
    }
  }
  for (const hint of ['access_token', 'refresh_token', 'session_token'])
    t.match(await introspect(ada.bearer, undefined, { token_type_hint: hint }), { active: true })
  await running.app.holdfast.auth.users.update(ada.id, { emailVerified: true })
  t.match(await introspect(ada.bearer), { email: ada.email, username: ada.email })
})

t.test('an access token is told of with its own claims, and ends with its session', async (t) => {
  const phone = await signIn(url, ada.email)
  const token = await accessTokenOf(running, phone.sessionId)
  const { jti, exp, iat } = decodeJwt(token)
  for (const hint of ['access_token', 'refresh_token']) {
    t.match(await introspect(token, undefined, { token_type_hint: hint }), {
      active: true,
      sub: ada.id,
      sid: phone.sessionId,
      iss: url,
      aud: audience,
      client_id: 'holdfast',
      token_type: 'Bearer',
      jti,
      exp,
      iat,
      roles: ['user'],
      amr: ['pwd']
    })
  }
  t.ok(Number(exp) < Date.now() / 1000 + 301, "the expiry is the token's, not the session's")
  t.notOk('jti' in (await introspect(phone.bearer)), 'a session token has no jti')
  t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
  t.strictSame(await introspect(token), { active: false })
})

t.test(
  'a refresh token is no credential: it is inactive, before and after its exchange',
  async (t) => {
    const family = await makeFamily(running)
    t.strictSame(await introspect(family.refreshToken), { active: false })
    const { status, body } = await refresh(url, family.refreshToken)
    t.equal(status, 200)
    t.match(await introspect(body.access_token), {
      active: true,
      sub: family.userId,
      sid: family.sessionId
    })
    for (const token of [family.refreshToken, body.refresh_token])
      t.strictSame(await introspect(token, undefined, { token_type_hint: 'refresh_token' }), {
        active: false
      })
    t.equal(
      (await refresh(url, body.refresh_token)).status,
      200,
      'introspection has not used up the refresh token'
    )
  }
)

t.test('everything that is not valid is answered alike', async (t) => {
  const phone = await signIn(url, ada.email)
  const expired = await signIn(url, ada.email)
  t.match(await introspect(phone.bearer), { active: true })
  await ada.browser.delete(`/sessions/${phone.sessionId}`)
  await running.app.holdfast.prisma.session.update({
    where: { id: expired.sessionId },
    data: { expiresAt: new Date(0) }
  })
  // Changed by hand, so the caches learn of it from the next round of the outbox.
  await until('the expiry to be heard of', async () => !(await introspect(expired.bearer)).active)
  const accessToken = await accessTokenOf(running, ada.sessionId)
  const foreign = await accessTokenOf(running, ada.sessionId, { aud: 'https://other.example.com' })
  const old = await accessTokenOf(running, ada.sessionId, {
    exp: Math.floor(Date.now() / 1000) - 60
  })
  const answers = []
  for (const token of [
    phone.bearer,
    expired.bearer,
    `${ada.bearer}x`,
    foreign,
    old,
    `${accessToken}x`,
    `${accessToken.slice(0, -8)}AAAAAAAA`,
    await accessTokenOf(running, phone.sessionId),
    await accessTokenOf(running, expired.sessionId),
    ada.sessionId,
    'hrt1_AAAA',
    'eyJhbGciOiJub25lIn0.e30.',
    '\0',
    'é'
  ]) {
    const { status, text, headers } = await raw(new URLSearchParams({ token }).toString())
    answers.push(
      `${status} ${text} ${headers.get('cache-control')} ${headers.get('content-type')} ${headers.has('www-authenticate')}`
    )
  }
  t.strictSame(
    new Set(answers),
    new Set(['200 {"active":false} no-store application/json; charset=utf-8 false'])
  )
})

t.test('a request that is none is refused in the form of OAuth', async (t) => {
  for (const [body, type, status] of [
    ['', 'application/x-www-form-urlencoded', 400],
    ['token=', 'application/x-www-form-urlencoded', 400],
    ['token=a&token=b', 'application/x-www-form-urlencoded', 400],
    ['token=a&client_id=edge&client_id=edge', 'application/x-www-form-urlencoded', 400],
    [`token=${'x'.repeat(8193)}`, 'application/x-www-form-urlencoded', 400],
    [`token=${'x'.repeat(20_000)}`, 'application/x-www-form-urlencoded', 413],
    ['{"token":"a"}', 'application/json', 415],
    ['token=a', 'text/plain', 415]
  ] as const) {
    const answer = await raw(body, { 'content-type': type })
    t.equal(answer.status, status, body.slice(0, 40))
    t.match(JSON.parse(answer.text), { error: 'invalid_request', cause: String })
    t.equal(answer.headers.get('cache-control'), 'no-store')
  }
})

t.test('a signed answer names the gateway, and oauth4webapi verifies it', async (t) => {
  for (const [token, active] of [
    [ada.bearer, true],
    [await accessTokenOf(running, ada.sessionId), true],
    ['nonsense', false]
  ] as const) {
    const response = await oauth.introspectionRequest(
      server,
      client,
      oauth.ClientSecretBasic(secret),
      token,
      { ...insecure, requestJwtResponse: true }
    )
    t.equal(response.headers.get('content-type'), 'application/token-introspection+jwt')
    const answer = await oauth.processIntrospectionResponse(server, client, response)
    await oauth.validateApplicationLevelSignature(server, response, insecure)
    t.equal(answer.active, active)
  }
})
