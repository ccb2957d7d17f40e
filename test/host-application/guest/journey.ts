import { randomUUID } from 'node:crypto'
import type { Client, Received, Sent } from './client.js'

/** The answer to one request, without the values that differ each time. */
export interface Step {
  what: string
  status: number
  headers: Record<string, string>
  body: string
}

export interface JourneyOptions {
  onSignedIn?: (headers: Record<string, string>) => Promise<void>
  document: boolean
}

export const gateway = { id: 'edge', secret: 'a-secret-of-the-gateway-in-this-test' }
export const trustedOrigin = 'https://app.example.com'
const evil = 'https://evil.example'
const password = 'correct horse battery staple'
const json = { 'content-type': 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const preflight = (origin: string) => ({
  origin,
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'content-type,x-custom'
})

/** Headers that each connection or answer has its own value of. */
const passing = new Set([
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'etag'
])

/**
 * From sign-up to revocation, by every kind of route and body that Holdfast has, with all refusals
 * on the way. Two servers that answer alike give the same list.
 *
 * @param prefix below which the routes are
 * @param options.onSignedIn called with a credential while it is valid
 * @param options.document whether the OpenAPI document is requested, which takes a quarter of a
 *   second to make
 */
export async function journey(
  client: Client,
  prefix: string,
  { onSignedIn, document }: JourneyOptions
): Promise<Step[]> {
  const steps: Step[] = []
  const ask = async (what: string, { method, path, headers, body }: Sent): Promise<Received> => {
    const received = await client.send({
      method,
      path: prefix + path,
      ...(headers ? { headers } : {}),
      ...(body === undefined ? {} : { body })
    })
    steps.push(describe(what, received, client.url, prefix))
    return received
  }
  const get = (what: string, path: string, headers: Record<string, string> = {}) =>
    ask(what, { method: 'GET', path, headers })
  const post = (what: string, path: string, body: string, headers: Record<string, string>) =>
    ask(what, { method: 'POST', path, body, headers })

  const email = `${randomUUID()}@example.com`
  const signedUp = await post(
    'sign-up, JSON',
    '/api/auth/sign-up/email',
    JSON.stringify({ name: 'Ada', email, password }),
    { ...json, origin: client.url }
  )
  const bearer = { authorization: `Bearer ${String(signedUp.headers['set-auth-token'])}` }
  const cookie = {
    cookie: [signedUp.headers['set-cookie'] ?? []]
      .flat()
      .map((each) => each.split(';', 1)[0])
      .join('; ')
  }
  await onSignedIn?.(bearer)
  const signedIn = await post(
    'sign-in, form, tokens in the body',
    '/api/auth/sign-in/email',
    new URLSearchParams({ email, password }).toString(),
    { ...form, 'token-transport': 'body' }
  )
  const { tokens } = JSON.parse(signedIn.body) as {
    tokens: { access_token: string; refresh_token: string; session_id: string }
  }
  const access = { authorization: `Bearer ${tokens.access_token}` }

  await get('session, cookie', '/session', cookie)
  await get('session, access token', '/session', access)
  await get("better-auth's session", '/api/auth/get-session', cookie)
  await ask('HEAD', { method: 'HEAD', path: '/session', headers: cookie })
  await get('sessions', '/sessions', cookie)
  await get('events', `/sessions/${tokens.session_id}/events?limit=10`, cookie)
  await post(
    'refresh, form',
    '/oauth2/token',
    new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token,
      scope: ''
    }).toString(),
    form
  )
  await post('refresh, JSON, wrong', '/oauth2/token', '{"grant_type":"password"}', json)
  await post(
    'refresh, twice the same parameter',
    '/oauth2/token',
    'grant_type=refresh_token&grant_type=refresh_token',
    form
  )

  for (const path of [
    '/verify',
    '/verify?role=user',
    '/verify/for/user/orders/7?page=2',
    `/verify/for/${'r'.repeat(60)},user`,
    '/verify?role=admin',
    '/verify?rol=user'
  ]) {
    for (const time of ['first', 'second']) await get(`${time} ${path}`, path, bearer)
  }
  await get('verify, access token', '/verify', access)
  await get('verify, cookie', '/verify', cookie)
  await get('verify, nobody', '/verify')
  for (const method of ['PROPFIND', 'DELETE', 'OPTIONS', 'HEAD'])
    await ask(`verify, ${method}`, { method, path: '/verify', headers: bearer })
  await ask('verify, with a body', {
    method: 'PUT',
    path: '/verify',
    headers: { ...bearer, ...json },
    body: '{'
  })
  await ask('verify, a preflight that passes', {
    method: 'OPTIONS',
    path: '/verify?preflight=allow',
    headers: preflight(evil)
  })

  const basic = {
    authorization: `Basic ${Buffer.from(`${gateway.id}:${gateway.secret}`).toString('base64')}`
  }
  const token = new URLSearchParams({ token: tokens.access_token }).toString()
  for (const time of ['first', 'second']) {
    await post(`${time} introspection`, '/oauth2/introspect', token, { ...form, ...basic })
    await post(
      `${time} batch`,
      '/sessions/check',
      JSON.stringify({ tokens: [tokens.access_token, 'x'] }),
      { ...json, ...basic }
    )
  }
  await post('introspection, a stranger', '/oauth2/introspect', token, form)
  await post('introspection, JSON', '/oauth2/introspect', '{}', { ...json, ...basic })
  await post('batch, a number for a text', '/sessions/check', '{"tokens":[1]}', {
    ...json,
    ...basic
  })
  await post('batch, one more property', '/sessions/check', '{"tokens":[],"x":1}', {
    ...json,
    ...basic
  })
  await post('batch, another type', '/sessions/check', 'x', {
    'content-type': 'text/plain',
    ...basic
  })

  for (const [who, origin] of [
    ['a trusted page', trustedOrigin],
    ['another page', evil]
  ] as const) {
    for (const path of [
      '/session',
      '/api/auth/sign-in/email',
      '/oauth2/token',
      '/oauth2/introspect',
      '/health/live'
    ]) {
      await ask(`preflight of ${who}, ${path}`, {
        method: 'OPTIONS',
        path,
        headers: preflight(origin)
      })
    }
    await get(`session, ${who}`, '/session', { ...cookie, origin })
    await get(`verify, ${who}`, '/verify', { ...bearer, origin })
    await post(`sign-out, ${who}, no session`, '/api/auth/sign-out', '{}', { ...json, origin })
    await get(`nothing, ${who}`, '/session', { origin })
  }
  await ask('OPTIONS, no preflight', { method: 'OPTIONS', path: '/session' })
  await ask('a forged change', {
    method: 'DELETE',
    path: '/sessions?except=current',
    headers: { ...cookie, origin: evil }
  })

  await post('no JSON', '/api/auth/sign-in/email', '{"email":', json)
  await post(
    'a prototype',
    '/api/auth/sign-in/email',
    '{"email":"a@example.com","__proto__":{"x":1},"password":"x"}',
    json
  )
  await post('another type', '/api/auth/sign-in/email', '<a/>', {
    'content-type': 'application/xml'
  })
  await post(
    'multipart',
    '/api/auth/sign-in/email',
    '--x\r\ncontent-disposition: form-data; name="email"\r\n\r\na\r\n--x--\r\n',
    { 'content-type': 'multipart/form-data; boundary=x' }
  )
  await post(
    'a long body',
    '/api/auth/sign-in/email',
    JSON.stringify({ email: 'a@example.com', password: 'x'.repeat(200_000) }),
    json
  )
  await post(
    'a body that is long for JSON elsewhere',
    '/oauth2/token',
    JSON.stringify({ grant_type: 'refresh_token', refresh_token: 'x'.repeat(30_000) }),
    json
  )
  await get('a limit that is no number', '/sessions?limit=many', cookie)
  await get('a limit, as text', '/sessions?limit=1', cookie)
  await ask('an id that is none', { method: 'DELETE', path: '/sessions/42', headers: cookie })
  await ask('a body of chunks, empty', {
    method: 'DELETE',
    path: `/sessions/${randomUUID()}`,
    headers: { ...cookie, ...json }
  })
  await get('a long id', `/sessions/${'a'.repeat(150)}/events`, cookie)
  await get('a very long id', `/sessions/${'a'.repeat(250)}/events`, cookie)
  await ask('another method', { method: 'PATCH', path: '/api/auth/sign-in/email' })
  await get('nothing below api/auth', '/api/auth/nothing')
  await get('a letter encoded', '/api/auth/get%2Dsession', cookie)

  await get('live', '/health/live')
  await get('ready', '/health/ready')
  await get('keys', '/.well-known/jwks.json')
  await get('metadata', '/.well-known/oauth-authorization-server')
  if (document) await get('document', '/openapi.json')
  if (document) await get('page', '/docs/')
  await get('page, its script', '/docs/static/swagger-initializer.js')

  await ask('one session ends', {
    method: 'DELETE',
    path: `/sessions/${tokens.session_id}`,
    headers: cookie
  })
  await get('its access token', '/session', access)
  await get('verify, its access token', '/verify', access)
  await ask('the others end', {
    method: 'DELETE',
    path: '/sessions?except=current',
    headers: cookie
  })
  await post('sign-out', '/api/auth/sign-out', '{}', { ...json, ...cookie, origin: client.url })
  await get('verify after it', '/verify', bearer)
  await get('session after it', '/session', cookie)
  return steps
}

function describe(
  what: string,
  { status, headers, body }: Received,
  url: string,
  prefix: string
): Step {
  const mask = (text: string) =>
    text
      .replaceAll(url, 'URL')
      .replaceAll(`URL${prefix}`, 'ISSUER')
      .replaceAll('URL', 'ISSUER')
      .replaceAll(prefix === '' ? '\0' : prefix, '')
      .replaceAll(/hst1_[\w.~%-]+|h[a-z]+\d_[\w.~%-]{20,}|ey[\w-]{10,}\.[\w-]+\.[\w-]+/g, 'TOKEN')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
      .replaceAll(/"(requestId|x|y|kid|device_token)":"[^"]*"/g, '"$1":""')
      .replaceAll(/"(expires_in|iat|exp|auth_time|age_ms)":\d+/g, '"$1":0')
      .replaceAll(/(^|, )((?:__Host-|__Secure-)?[\w.]+)=[^;,]{16,}/g, '$1$2=VALUE')
  const shown = Object.entries(headers)
    .filter(([name]) => !passing.has(name))
    .map(([name, value]) => [name, mask([value].flat().join(', '))] as const)
  return {
    what,
    status,
    headers: Object.fromEntries(shown.toSorted(([a], [b]) => (a < b ? -1 : 1))),
    body: mask(body)
  }
}
