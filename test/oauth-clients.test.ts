import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import t from 'tap'
import { build } from './helper.js'
import { makeFamily, outcomeOf, refresh } from './families.js'

/* Clients that others wrote, and that know nothing of this server but its address. */
const running = await build(t)
const { url } = running
const issuer = new URL(url)

const newRefreshToken = async () => (await makeFamily(running)).refreshToken
/** The error and status with which a call is refused. */
const refusalOf = (call: Promise<unknown>) => call.then(() => 'none', (error: { error?: string, status?: number }) => `${error.status} ${error.error}`)

t.test('oauth4webapi discovers, refreshes and revokes', async (t) => {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }))
  const client: oauth.Client = { client_id: 'holdfast' }
  const exchange = async (token: string) => oauth.processRefreshTokenResponse(server, client, await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, insecure))
  const first = await exchange(await newRefreshToken())
  t.equal(first.token_type, 'bearer')
  t.ok((first.expires_in ?? 0) > 0)
  const second = await exchange(first.refresh_token ?? '')
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, oauth.None(), second.refresh_token ?? '', insecure))
  t.equal(await refusalOf(exchange(second.refresh_token ?? '')), '400 invalid_grant')
  t.equal(await refusalOf(exchange('nonsense')), '400 invalid_grant')
})

t.test('openid-client discovers, refreshes and revokes', async (t) => {
  const config = await openid.discovery(issuer, 'holdfast', undefined, openid.None(), { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] })
  const first = await openid.refreshTokenGrant(config, await newRefreshToken())
  const second = await openid.refreshTokenGrant(config, first.refresh_token ?? '')
  t.not(second.refresh_token, first.refresh_token)
  await openid.tokenRevocation(config, second.refresh_token ?? '')
  t.equal(outcomeOf(await refresh(url, second.refresh_token ?? '')), '400 invalid_grant session_revoked')
  t.equal(await refusalOf(openid.refreshTokenGrant(config, second.refresh_token ?? '')), '400 invalid_grant')
})

t.test('jose verifies an access token from the published keys, by issuer, audience and type', async (t) => {
  const { body } = await refresh(url, await newRefreshToken())
  const { payload, protectedHeader } = await jwtVerify(body.access_token, createRemoteJWKSet(new URL('/.well-known/jwks.json', url)), { issuer: url, audience: url, typ: 'at+jwt', algorithms: ['ES256'] })
  t.match(payload, { sid: body.session_id, gen: 1, client_id: 'holdfast', roles: ['user'] })
  t.match(protectedHeader, { alg: 'ES256', typ: 'at+jwt', kid: /\S/ })
})
