import t from 'tap'
import { deriveKeys } from '../../src/secrets/keys.js'
import { firstRefreshToken } from '../../src/token/refresh-token.js'
import { enrol, newPerson, totp } from '../support/device.js'
import { Browser, build, password, start } from '../support/server.js'
import { elapse, makeFamily, outcomeOf, refresh } from '../support/refresh-fixtures.js'

/*
 * Known bugs of refresh rotation in other servers, each under its number.
 */
const REUSED = '400 invalid_grant refresh_reused'
const REVOKED = '400 invalid_grant session_revoked'

const running = await build(t)
const {
  url,
  options: { authSecret = '' },
  app: {
    holdfast: { prisma, revoker }
  }
} = running

const family = () => makeFamily(running)
const reasonOf = async (sessionId: string) =>
  (await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })).revokedReason

t.test(
  'supabase/auth #1312: the revocation is not rolled back with the error that tells of it',
  async (t) => {
    const { sessionId, refreshToken } = await family()
    const {
      body: { refresh_token: second }
    } = await refresh(url, refreshToken)
    await refresh(url, second)
    t.equal(outcomeOf(await refresh(url, refreshToken)), REUSED)
    t.equal(await reasonOf(sessionId), 'refresh_reused')
  }
)

t.test(
  'keycloak #45647 (CVE-2026-1035), hydra #1735: read and consume are one step, also for many at once',
  async (t) => {
    const { sessionId, refreshToken } = await family()
    const {
      body: { refresh_token: second }
    } = await refresh(url, refreshToken)
    await refresh(url, second)
    // An old token, sent by many: one request ends the session, and none gets a token.
    const answers = await Promise.all(Array.from({ length: 16 }, () => refresh(url, refreshToken)))
    t.strictSame([...new Set(answers.map(outcomeOf))], [REUSED])
    t.equal(await prisma.sessionEvent.count({ where: { sessionId, type: 'revoked' } }), 1)
  }
)

t.test('keycloak #50999: refreshes in one second are told apart', async (t) => {
  const { refreshToken } = await family()
  const tokens = [refreshToken]
  for (let i = 0; i < 5; i++)
    tokens.push((await refresh(url, tokens.at(-1) ?? '')).body.refresh_token)
  t.equal(new Set(tokens).size, 6)
  t.equal(outcomeOf(await refresh(url, tokens[3] ?? '')), REUSED)
})

t.test('keycloak #51312: revoking takes the lock that refreshing takes', async (t) => {
  for (let round = 0; round < 20; round++) {
    const { sessionId, refreshToken } = await family()
    const [answer] = await Promise.all([
      refresh(url, refreshToken),
      revoker.revoke([sessionId], null, 'signed_out')
    ])
    t.ok(['200', REVOKED].includes(outcomeOf(answer)), outcomeOf(answer))
    const held = answer.status === 200 ? answer.body.refresh_token : refreshToken
    t.equal(outcomeOf(await refresh(url, held)), REVOKED)
  }
})

t.test('logto, hydra: the window does not slide with each replay', async (t) => {
  const { sessionId, refreshToken } = await family()
  await refresh(url, refreshToken)
  for (let i = 0; i < 3; i++) {
    await elapse(prisma, sessionId, 9)
    t.equal((await refresh(url, refreshToken)).status, 200)
  }
  await elapse(prisma, sessionId, 9)
  t.equal(outcomeOf(await refresh(url, refreshToken)), REUSED)
})

t.test(
  'django-oauth-toolkit #1617: inside the window the previous generation is answered, and no older one',
  async (t) => {
    const { refreshToken } = await family()
    const {
      body: { refresh_token: second }
    } = await refresh(url, refreshToken)
    await refresh(url, second)
    t.equal((await refresh(url, second)).status, 200)
    t.equal(outcomeOf(await refresh(url, refreshToken)), REUSED)
  }
)

t.test(
  "better-auth oauth-provider: a token reused on one device ends that device's session alone",
  async (t) => {
    const email = `${crypto.randomUUID()}@example.com`
    const device = async (path: string) => {
      const response = await new Browser(url).post(
        `/api/auth/${path}`,
        { name: 'Ada', email, password },
        { 'token-transport': 'body' }
      )
      return ((await response.json()) as { tokens: { refresh_token: string } }).tokens.refresh_token
    }
    const phone = await device('sign-up/email')
    const tablet = await device('sign-in/email')
    await refresh(url, (await refresh(url, phone)).body.refresh_token)
    t.equal(outcomeOf(await refresh(url, phone)), REUSED)
    t.equal((await refresh(url, tablet)).status, 200)
  }
)

t.test(
  'supabase/auth #2284: tokens from before a second factor are worth nothing after it',
  async (t) => {
    const device = await newPerson(url)
    const { totpURI } = await enrol(device)
    const app = new Browser(url)
    const post = async (path: string, body: unknown, headers: Record<string, string> = {}) =>
      (
        await app.post(`/api/auth/${path}`, body, { 'token-transport': 'body', ...headers })
      ).json() as Promise<{
        challenge: string
        tokens: { access_token: string; refresh_token: string }
      }>
    const pending = await post('sign-in/email', { email: device.email, password })
    t.notOk(pending.tokens, 'no tokens are given while a second factor is pending')
    const { tokens } = await post(
      'two-factor/verify-totp',
      { code: totp(totpURI) },
      { 'two-factor-challenge': pending.challenge }
    )
    // The factor changes, which ends the earlier tokens with their session.
    await post(
      'two-factor/disable',
      { password },
      { authorization: `Bearer ${tokens.access_token}` }
    )
    t.equal(outcomeOf(await refresh(url, tokens.refresh_token)), REVOKED)
    const check = await fetch(`${url}/session`, {
      headers: { authorization: `Bearer ${tokens.access_token}` }
    })
    t.match(await check.json(), { status: 401, cause: 'session_revoked' })
  }
)

t.test('a token made up from a session id ends nothing', async (t) => {
  const { sessionId, refreshToken } = await family()
  const {
    body: { refresh_token: second }
  } = await refresh(url, refreshToken)
  // An attacker who knows the format, the id and the pepper's name, but has other keys.
  const { id } = deriveKeys(authSecret).peppers.current
  const forged = firstRefreshToken(sessionId, {
    id,
    rotation: Buffer.alloc(32),
    mac: Buffer.alloc(32)
  }).token
  t.equal(outcomeOf(await refresh(url, forged)), '400 invalid_grant refresh_malformed')
  t.equal(
    (
      await fetch(`${url}/oauth2/revoke`, {
        method: 'POST',
        body: new URLSearchParams({ token: forged })
      })
    ).status,
    200
  )
  t.equal((await refresh(url, second)).status, 200)
})

t.test(
  'keycloak #49426 (CVE-2026-9802), #31296: a restart revives neither rotated tokens nor ended sessions',
  async (t) => {
    const rotated = await family()
    const ended = await family()
    const {
      body: { refresh_token: second }
    } = await refresh(url, rotated.refreshToken)
    const {
      body: { refresh_token: third }
    } = await refresh(url, second)
    const {
      body: { access_token: accessToken }
    } = await refresh(url, ended.refreshToken)
    await revoker.revoke([ended.sessionId], null, 'signed_out')
    await running.app.close()
    const again = await start(t, running.options)
    const check = await fetch(`${again.url}/session`, {
      headers: { authorization: `Bearer ${accessToken}` }
    })
    t.match(await check.json(), { status: 401, cause: 'session_revoked' })
    t.equal((await refresh(again.url, third)).status, 200)
    t.equal(outcomeOf(await refresh(again.url, rotated.refreshToken)), REUSED)
  }
)
