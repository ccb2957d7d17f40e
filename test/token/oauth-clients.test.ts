import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import t from 'tap'
import { build } from '../support/server.js'
import { makeFamily, outcomeOf, refresh } from '../support/refresh-fixtures.js'

/*
 * Independent clients, which know only the address of this server.
 */
const gatewaySecret = 'a-secret-of-the-gateway-in-this-test'
const running = await build(t, { gatewayClients: [`edge:${gatewaySecret}`] })
const { url } = running
const issuer = new URL(url)

const newRefreshToken = async () => (await makeFamily(running)).refreshToken
/** The error and status with which a call is refused. */
const refusalOf = (call: Promise<unknown>) =>
  call.then(
    () => 'none',
    (error: { error?: string; status?: number }) => `${error.status} ${error.error}`
  )

t.test('oauth4webapi discovers, refreshes and revokes', async (t) => {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const server = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
  )
  const client: oauth.Client = { client_id: 'holdfast' }
  const exchange = async (token: string) =>
    oauth.processRefreshTokenResponse(
      server,
      client,
      await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, insecure)
    )
  const first = await exchange(await newRefreshToken())
  t.equal(first.token_type, 'bearer')
  t.ok((first.expires_in ?? 0) > 0)
  const second = await exchange(first.refresh_token ?? '')
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(
      server,
      client,
      oauth.None(),
      second.refresh_token ?? '',
      insecure
    )
  )
  t.equal(await refusalOf(exchange(second.refresh_token ?? '')), '400 invalid_grant')
  t.equal(await refusalOf(exchange('nonsense')), '400 invalid_grant')
})

t.test('openid-client discovers, refreshes and revokes', async (t) => {
  const config = await openid.discovery(issuer, 'holdfast', undefined, openid.None(), {
    algorithm: 'oauth2',
    execute: [openid.allowInsecureRequests]
  })
  const first = await openid.refreshTokenGrant(config, await newRefreshToken())
  const second = await openid.refreshTokenGrant(config, first.refresh_token ?? '')
  t.not(second.refresh_token, first.refresh_token)
  await openid.tokenRevocation(config, second.refresh_token ?? '')
  t.equal(
    outcomeOf(await refresh(url, second.refresh_token ?? '')),
    '400 invalid_grant session_revoked'
  )
  t.equal(
    await refusalOf(openid.refreshTokenGrant(config, second.refresh_token ?? '')),
    '400 invalid_grant'
  )
})

t.test(
  'jose verifies an access token from the published keys, by issuer, audience and type',
  async (t) => {
    const { body } = await refresh(url, await newRefreshToken())
    const { payload, protectedHeader } = await jwtVerify(
      body.access_token,
      createRemoteJWKSet(new URL('/.well-known/jwks.json', url)),
      { issuer: url, audience: url, typ: 'at+jwt', algorithms: ['ES256'] }
    )
    t.match(payload, { sid: body.session_id, gen: 1, client_id: 'holdfast', roles: ['user'] })
    t.match(protectedHeader, { alg: 'ES256', typ: 'at+jwt', kid: /\S/ })
  }
)

const post = async (path: string, body: string, headers: Record<string, string> = {}) => {
  const response = await fetch(url + path, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
  })
  const text = await response.text()
  return {
    status: response.status,
    body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
  }
}

t.test(
  'P1: a parameter without a value is omitted, a repeated one refused, an unknown one ignored',
  async (t) => {
    const refreshWith = async (more: string) =>
      post(
        '/oauth2/token',
        `grant_type=refresh_token&refresh_token=${await newRefreshToken()}${more}`
      )
    for (const more of [
      '&client_id=&scope=',
      '&client_secret=&client_id=',
      '&resource=&audience=x',
      '&unknown=1&unknown=2',
      '&=',
      '&client_id'
    ])
      t.equal((await refreshWith(more)).status, 200, more)
    const sameAgain = await newRefreshToken()
    for (const body of [
      'grant_type=refresh_token&refresh_token=',
      'grant_type=refresh_token',
      `grant_type=refresh_token&refresh_token=${sameAgain}&refresh_token=${sameAgain}`,
      `grant_type=refresh_token&grant_type=refresh_token&refresh_token=${sameAgain}`,
      `grant_type=refresh_token&refresh_token=${sameAgain}&refresh_token=`,
      `grant_type=refresh_token&refresh_token=${sameAgain}&client_id=holdfast&client_id=holdfast`,
      `grant_type=&refresh_token=${sameAgain}`
    ])
      t.match(
        await post('/oauth2/token', body),
        { status: 400, body: { error: 'invalid_request' } },
        body
      )
    const json = await fetch(`${url}/oauth2/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        grant_type: 'refresh_token',
        refresh_token: sameAgain,
        client_id: '',
        scope: ''
      })
    })
    t.equal(json.status, 200, 'no refused request has used up the token')

    t.equal(
      (await post('/oauth2/revoke', `token=${await newRefreshToken()}&token_type_hint=&client_id=`))
        .status,
      200
    )
    for (const body of ['', 'token=', 'token=a&token=b', 'token=a&token='])
      t.match(
        await post('/oauth2/revoke', body),
        { status: 400, body: { error: 'invalid_request' } },
        body
      )

    const basic = {
      authorization: `Basic ${Buffer.from(`edge:${gatewaySecret}`).toString('base64')}`
    }
    for (const more of [
      '',
      '&client_secret=',
      '&client_id=&client_secret=',
      '&client_id=edge&client_secret=',
      '&token_type_hint=',
      '&unknown=1&unknown=2'
    ]) {
      for (let i = 0; i < 2; i++)
        t.match(
          await post('/oauth2/introspect', `token=nonsense${more}`, basic),
          { status: 200, body: { active: false } },
          more
        )
    }
    for (const body of [
      'token=',
      'token=a&token=b',
      'token=a&client_id=edge&client_id=edge',
      'token=a&client_id=other'
    ])
      t.match(
        await post('/oauth2/introspect', body, basic),
        { status: 400, body: { error: 'invalid_request' } },
        body
      )
    t.equal(
      (await post('/oauth2/introspect', `token=a&client_id=edge&client_secret=${gatewaySecret}`))
        .status,
      200
    )
    t.match(await post('/oauth2/introspect', 'token=a&client_id=edge&client_secret='), {
      status: 401,
      body: { error: 'invalid_client' }
    })
  }
)

t.test(
  "P2: a client_id that is not configured is the client's fault, and ends nothing",
  async (t) => {
    const token = await newRefreshToken()
    t.match(
      await post(
        '/oauth2/token',
        `grant_type=refresh_token&refresh_token=${token}&client_id=my-app`
      ),
      { status: 400, body: { error: 'invalid_client', cause: 'client_mismatch' } }
    )
    const misconfigured = await openid.discovery(issuer, 'my-app', undefined, openid.None(), {
      algorithm: 'oauth2',
      execute: [openid.allowInsecureRequests]
    })
    t.equal(await refusalOf(openid.refreshTokenGrant(misconfigured, token)), '400 invalid_client')
    t.equal(
      (
        await post(
          '/oauth2/token',
          `grant_type=refresh_token&refresh_token=${token}&client_id=holdfast`
        )
      ).status,
      200,
      'the request of docs/clients.md succeeds'
    )
  }
)
