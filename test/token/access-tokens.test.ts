import { createHmac, createPublicKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  jwtVerify,
  SignJWT,
  type JWK,
  type JWTPayload
} from 'jose'
import t from 'tap'
import { createCodec } from '../../src/token/codec.js'
import type { AccessTokenClaims } from '../../src/session/access-token-claims.js'
import { AccessTokens } from '../../src/token/access-token.js'
import {
  Browser,
  build,
  makeAdmin,
  password,
  sessionState,
  signUp,
  type Person
} from '../support/server.js'
import { counting } from '../support/count.js'
import { until } from '../support/poll.js'

const running = await build(t)
const { app, url } = running
const { accessTokens, signingKeys, parties, prisma, reader } = app.holdfast

/** An access token for a user's session, as the token routes issue it. */
async function issue({ sessionId }: Person, generation = 0): Promise<string> {
  const session = await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
  const { token } = await accessTokens.issue({ session, roles: ['user'], generation })
  return token
}

/**
 * Valid claims, signed by the server's own key after a change: only the changed claim can be the
 * reason of a refusal.
 */
async function forge(
  person: Person,
  change: JWTPayload & Record<string, unknown>
): Promise<string> {
  return accessTokens.sign('at+jwt', { ...decodeJwt(await issue(person)), ...change })
}

async function stateOf(token: string, path = '/session'): Promise<string> {
  const response = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } })
  if (response.status === 200) return 'valid'
  const { cause } = (await response.json()) as { cause: string }
  return `${response.status} ${cause}`
}

const now = () => Math.floor(Date.now() / 1000)
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

t.test(
  'jose verifies an access token from the published keys by issuer, audience and type',
  async (t) => {
    const ada = await signUp(url)
    const token = await issue(ada, 3)
    const jwks = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`))
    const { payload, protectedHeader } = await jwtVerify(token, jwks, {
      issuer: url,
      audience: url,
      typ: 'at+jwt',
      algorithms: ['ES256'],
      requiredClaims: ['jti', 'client_id', 'sub', 'exp']
    })
    t.match(payload, {
      sub: ada.id,
      sid: ada.sessionId,
      gen: 3,
      client_id: 'holdfast',
      roles: ['user'],
      amr: ['pwd'],
      iss: url,
      aud: url
    })
    t.equal(protectedHeader.alg, 'ES256')
    await t.rejects(jwtVerify(token, jwks, { audience: 'https://other.example' }), {
      code: 'ERR_JWT_CLAIM_VALIDATION_FAILED'
    })
  }
)

t.test('an access token is accepted wherever a session is asked for', async (t) => {
  const ada = await signUp(url)
  const token = await issue(ada)
  const authorization = `Bearer ${token}`
  t.match(await (await fetch(`${url}/session`, { headers: { authorization } })).json(), {
    isValid: true,
    session: { id: ada.sessionId },
    user: { id: ada.id }
  })
  t.match(await (await fetch(`${url}/sessions`, { headers: { authorization } })).json(), {
    sessions: [{ id: ada.sessionId, current: true }]
  })
  const check = await reader.check({ kind: 'access', value: token })
  t.match(
    check,
    { active: true, token: { sub: ada.id, sid: ada.sessionId } },
    'the answer has the claims of the token'
  )
})

t.test("it decides alone, and another issuer's JWT does not count", async (t) => {
  const [ada, bob] = [await signUp(url), await signUp(url)]
  const asBob = await ada.browser.get('/session', { authorization: `Bearer ${await issue(bob)}` })
  t.match(
    await asBob.json(),
    { user: { id: bob.id } },
    'the access token counts, and not the cookie'
  )
  const broken = `${(await issue(bob)).slice(0, -8)}AAAAAAAA`
  t.equal(
    (await ada.browser.get('/session', { authorization: `Bearer ${broken}` })).status,
    401,
    'a valid cookie does not replace a broken token'
  )
  for (const typ of ['JWT', undefined, 'dpop+jwt']) {
    const foreign = `${encode({ alg: 'ES256', typ })}.${encode({ sub: bob.id })}.AAAA`
    t.match(
      await (await ada.browser.get('/session', { authorization: `Bearer ${foreign}` })).json(),
      { user: { id: ada.id } },
      `a foreign ${typ} is ignored`
    )
  }
  for (const typ of ['AT+JWT', 'application/at+jwt', 'Application/AT+jwt']) {
    const claimed = `${encode({ alg: 'ES256', typ, kid: 'x' })}.${encode({})}.AAAA`
    t.equal(
      (await ada.browser.get('/session', { authorization: `Bearer ${claimed}` })).status,
      401,
      `${typ} counts as an access token of this server`
    )
  }
  const answer = await ada.browser.get('/api/auth/get-session', {
    authorization: `Bearer ${await issue(bob)}`
  })
  t.match(
    await answer.json(),
    { user: { id: bob.id } },
    'the endpoints of better-auth use the access token as well'
  )
})

t.test('an access token ends with its session, at once', async (t) => {
  const ada = await signUp(url)
  const token = await issue(ada)
  t.equal(await stateOf(token), 'valid')
  await ada.browser.post('/api/auth/sign-out')
  t.equal(await stateOf(token), '401 session_revoked')
  t.equal(await stateOf(token, '/sessions'), '401 session_revoked')
})

t.test('it ends its own session, and others of its user', async (t) => {
  const ada = await signUp(url)
  const token = await issue(ada)
  const gone = await fetch(`${url}/sessions/${ada.sessionId}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${token}` }
  })
  t.equal(
    gone.status,
    200,
    'no Origin is needed, because browsers do not send the token by themselves'
  )
  t.equal(await sessionState(ada.browser), '401 session_revoked')
})

t.test('a token whose person does not own the session is refused', async (t) => {
  const [ada, bob] = [await signUp(url), await signUp(url)]
  t.equal(await stateOf(await forge(ada, { sub: bob.id })), '401 session_unknown')
})

t.test('an expired token is told apart: its client should refresh', async (t) => {
  const ada = await signUp(url)
  t.equal(await stateOf(await forge(ada, { exp: now() - 6 })), '401 token_expired')
  t.equal(
    await stateOf(await forge(ada, { exp: now() - 3 })),
    'valid',
    'clocks may differ by five seconds'
  )
  t.equal(
    await stateOf(await forge(ada, { nbf: now() + 10 })),
    '401 credential_malformed',
    'the token is not valid yet'
  )
  t.equal(await stateOf(await forge(ada, { nbf: now() + 3 })), 'valid')
})

t.test('what is not an access token of this server for this audience is refused', async (t) => {
  const ada = await signUp(url)
  const token = await issue(ada)
  const [header = '', payload = '', signature = ''] = token.split('.')
  const kid = decodeProtectedHeader(token).kid ?? ''
  const { keys } = signingKeys.published()
  const publicJwk = keys.find((key) => key.kid === kid) as unknown as JsonWebKey
  const pem = createPublicKey({ key: publicJwk, format: 'jwk' })
    .export({ type: 'spki', format: 'pem' })
    .toString()
  const claims = decodeJwt(token)
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const ed = generateKeyPairSync('ed25519')
  const byHmac = (key: string | Buffer) => {
    const input = `${encode({ alg: 'HS256', typ: 'at+jwt', kid })}.${payload}`
    return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
  }
  const sign = (
    header: { alg: string; kid?: string; typ?: string; jwk?: object },
    key = other.privateKey
  ) => new SignJWT(claims).setProtectedHeader(header).sign(key)
  const refused: Record<string, string> = {
    'HS256 with the public key as PEM': byHmac(pem),
    'HS256 with the public key as JWK': byHmac(JSON.stringify(publicJwk)),
    'HS256 with an empty key': byHmac(''),
    'alg none': `${encode({ alg: 'none', typ: 'at+jwt', kid })}.${payload}.`,
    'alg none with the signature': `${encode({ alg: 'none', typ: 'at+jwt', kid })}.${payload}.${signature}`,
    'alg in other letters': `${encode({ alg: 'es256', typ: 'at+jwt', kid })}.${payload}.${signature}`,
    'another key under our kid': await sign({ alg: 'ES256', typ: 'at+jwt', kid }),
    'a key in the header': await sign({
      alg: 'ES256',
      typ: 'at+jwt',
      kid,
      jwk: await exportJWK(other.publicKey)
    }),
    'another algorithm under our kid': await sign(
      { alg: 'EdDSA', typ: 'at+jwt', kid },
      ed.privateKey
    ),
    'an invented kid': await sign({ alg: 'ES256', typ: 'at+jwt', kid: 'invented' }),
    'no kid': await sign({ alg: 'ES256', typ: 'at+jwt' }),
    'another issuer': await forge(ada, { iss: 'https://other.example' }),
    'no issuer': await forge(ada, { iss: undefined }),
    'another audience': await forge(ada, { aud: 'https://other.example' }),
    'no audience': await forge(ada, { aud: undefined }),
    'no expiry': await forge(ada, { exp: undefined }),
    'no session': await forge(ada, { sid: undefined }),
    'a changed payload': `${header}.${encode({ ...claims, sub: 'somebody' })}.${signature}`,
    'no signature': `${header}.${payload}.`,
    'no third part': `${header}.${payload}`,
    'half of it': token.slice(0, token.length / 2),
    'a part too many': `${token}.${signature}`,
    'other characters': `${header}.${payload}=.${signature}`,
    'a signature that is too short': `${header}.${payload}.AAAA`,
    'too long': await forge(ada, { padding: 'x'.repeat(9_000) })
  }
  const counts = await counting(async () => {
    for (const [name, value] of Object.entries(refused))
      t.equal(await stateOf(value), '401 credential_malformed', name)
  })
  t.strictSame(counts, { queries: 0, commands: 0 }, 'nothing was read')
  const introspection = await accessTokens.sign('token-introspection+jwt', claims)
  t.equal(
    await stateOf(introspection),
    '401 credential_missing',
    'a token of another type counts as foreign'
  )
  t.match(await accessTokens.verify(introspection), { cause: 'credential_malformed' })
  t.equal(await stateOf(token), 'valid')
})

t.test('the codec itself refuses another type, whatever header it is given', async (t) => {
  const pair = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' }
  })
  const codec = createCodec({ kid: 'k', ...pair }, parties)
  const claims = decodeJwt(await issue(await signUp(url)))
  t.match(codec.verify(codec.sign('at+jwt', claims)), { sid: claims['sid'] })
  t.equal(codec.verify(codec.sign('token-introspection+jwt', claims)), null)
  const verifying = createCodec({ kid: 'k', publicKey: pair.publicKey, privateKey: null }, parties)
  t.match(
    verifying.verify(codec.sign('at+jwt', claims)),
    { sid: claims['sid'] },
    'a retired key still verifies'
  )
  t.throws(() => verifying.sign('at+jwt', claims), /unable to sign/)
})

t.test(
  'its life is a little shorter than the setting, and never longer than the session',
  async (t) => {
    const ada = await signUp(url)
    const session = await prisma.session.findUniqueOrThrow({ where: { id: ada.sessionId } })
    const lives = new Set<number>()
    for (let i = 0; i < 200; i++) {
      const { token, expiresInSeconds } = await accessTokens.issue({
        session,
        roles: [],
        generation: 0
      })
      const { iat = 0, exp = 0 } = decodeJwt(token)
      t.equal(exp - iat, expiresInSeconds)
      lives.add(expiresInSeconds)
    }
    t.ok(Math.min(...lives) >= 270 && Math.max(...lives) <= 300, [...lives].join())
    t.ok(lives.size > 10, 'the lifetimes differ')
    const ending = { ...session, expiresAt: new Date(Date.now() + 60_000) }
    t.ok(
      (await accessTokens.issue({ session: ending, roles: [], generation: 0 })).expiresInSeconds <=
        60
    )
    const absolute = { ...session, absoluteExpiresAt: new Date(Date.now() + 30_000) }
    t.ok(
      (await accessTokens.issue({ session: absolute, roles: [], generation: 0 }))
        .expiresInSeconds <= 30
    )
  }
)

t.test('an impersonation is visible', async (t) => {
  const [admin, ada] = [await signUp(url), await signUp(url)]
  await makeAdmin(running, admin)
  t.equal(
    (await admin.browser.post('/api/auth/admin/impersonate-user', { userId: ada.id })).status,
    200
  )
  const session = await prisma.session.findFirstOrThrow({ where: { impersonatedBy: admin.id } })
  const { token } = await accessTokens.issue({ session, roles: [], generation: 0 })
  t.match(decodeJwt(token), { sub: ada.id, act: { sub: admin.id } })
})

t.test('a remembered token still expires, and a failure is never remembered', async (t) => {
  const ada = await signUp(url)
  const session = await prisma.session.findUniqueOrThrow({ where: { id: ada.sessionId } })
  let clock = Date.now()
  const tokens = new AccessTokens({ keys: signingKeys, parties, ttlSeconds: 300, now: () => clock })
  const { token, expiresInSeconds } = await tokens.issue({ session, roles: [], generation: 0 })
  clock -= 10_000
  const early = await accessTokens.sign('at+jwt', {
    ...decodeJwt(token),
    nbf: Math.floor(clock / 1000) + 60
  })
  t.match(await tokens.verify(early), { claims: null, cause: 'credential_malformed' })
  clock += 70_000
  t.match(
    await tokens.verify(early),
    { claims: { sid: ada.sessionId } },
    'the token is accepted once its time has come'
  )
  t.match(await tokens.verify(token), { claims: { sid: ada.sessionId } })
  clock += (expiresInSeconds - 60) * 1000 + 5_001
  t.match(await tokens.verify(token), { claims: null, cause: 'token_expired' })
  t.match(
    await tokens.sessionIdOf(token),
    ada.sessionId,
    'an expired token still names its session, so that it can be revoked'
  )
})

t.test('a key that has gone takes with it what it had verified', async (t) => {
  const ada = await signUp(url)
  const token = await issue(ada)
  t.equal(await stateOf(token), 'valid')
  await signingKeys.rotate({ force: true })
  t.equal(await stateOf(token), 'valid', 'a token of a retired key is still valid')
  await prisma.$executeRaw`UPDATE "signing_key" SET "expiresAt" = clock_timestamp() - interval '1 second' WHERE "id" = ${decodeProtectedHeader(token).kid}`
  await signingKeys.read()
  t.equal(await stateOf(token), '401 credential_malformed')
  t.equal(await stateOf(await issue(ada)), 'valid')
  const long = `${encode({ ...decodeProtectedHeader(token) })}.${encode({ ...decodeJwt(token), exp: now() - 60 })}.AAAA`
  t.equal(
    await stateOf(long),
    '401 token_expired',
    'an expired token of a removed key is called expired'
  )
})

t.test('a check of an access token that was seen before costs no I/O', async (t) => {
  const token = await issue(await signUp(url))
  await stateOf(token)
  // A node without its lease asks the store, which may happen once on a busy machine.
  const counts = await until('a check without I/O', async () => {
    const { queries, commands } = await counting(() =>
      reader.check({ kind: 'access', value: token })
    )
    return queries + commands === 0 && { queries, commands }
  })
  t.strictSame(counts, { queries: 0, commands: 0 })
})

t.test(
  'a session that is gone, or whose person is banned, refuses its access tokens',
  async (t) => {
    const ada = await signUp(url)
    const token = await issue(ada)
    await prisma.user.update({ where: { id: ada.id }, data: { banned: true } })
    await until('the ban to be heard of', async () => (await stateOf(token)) !== 'valid')
    t.equal(await stateOf(token), '401 user_banned')
  }
)

t.test('the claims hold nothing that authenticates, or names a person beyond the id', async (t) => {
  const ada = await signUp(url)
  const claims = decodeJwt<AccessTokenClaims>(await issue(ada))
  t.strictSame(Object.keys(claims).toSorted(), [
    'amr',
    'aud',
    'auth_time',
    'client_id',
    'exp',
    'gen',
    'iat',
    'iss',
    'jti',
    'roles',
    'sid',
    'sub'
  ])
  const { keys } = (await (await fetch(`${url}/.well-known/jwks.json`)).json()) as { keys: JWK[] }
  t.ok(createLocalJWKSet({ keys }))
  t.notOk(
    keys.some((key) => 'd' in key),
    'no private key is published'
  )
  t.equal(
    (await new Browser(url).post('/api/auth/sign-in/email', { email: ada.email, password })).status,
    200
  )
})
