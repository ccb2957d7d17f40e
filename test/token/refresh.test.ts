import t from 'tap'
import { build, sessionState, signUp } from '../support/server.js'
import {
  elapse,
  generationOf,
  makeFamily,
  outcomeOf,
  refresh
} from '../support/refresh-fixtures.js'

const running = await build(t)
const {
  url,
  app: {
    holdfast: { prisma }
  }
} = running
const family = () => makeFamily(running)
const events = async (sessionId: string) =>
  (
    await prisma.sessionEvent.findMany({
      where: { sessionId },
      orderBy: [{ at: 'asc' }, { id: 'asc' }]
    })
  ).map(({ type, cause }) => (cause ? `${type} ${cause}` : type))

t.test('a refresh gives a new pair, and the same again within the window', async (t) => {
  const { sessionId, refreshToken } = await family()
  const first = await refresh(url, refreshToken)
  t.equal(first.status, 200)
  t.match(first.body, {
    token_type: 'Bearer',
    session_id: sessionId,
    access_token: /^ey/,
    refresh_token: /^hrt1_/
  })
  t.ok(first.body.expires_in > 200 && first.body.expires_in <= 300)
  t.equal(first.headers.get('cache-control'), 'no-store')
  t.equal(first.headers.getSetCookie().length, 0)
  const again = await refresh(url, refreshToken)
  t.equal(again.body.refresh_token, first.body.refresh_token, 'a retry gets the same successor')
  await elapse(prisma, sessionId, 29)
  t.equal(
    (await refresh(url, refreshToken)).body.refresh_token,
    first.body.refresh_token,
    'the same holds after 29 s'
  )
  t.strictSame(await events(sessionId), ['created pwd', 'refresh_replayed'])
  await elapse(prisma, sessionId, 2)
  t.equal(
    outcomeOf(await refresh(url, refreshToken)),
    '400 invalid_grant refresh_reused',
    'after 31 s the token is refused, because replays have not prolonged the window'
  )
  t.equal(
    outcomeOf(await refresh(url, first.body.refresh_token)),
    '400 invalid_grant refresh_reused',
    'the session has ended for all holders of its tokens'
  )
  t.strictSame((await events(sessionId)).slice(-2), ['refresh_reused', 'revoked refresh_reused'])
})

t.test(
  'an idempotency key makes a retry safe for as long as the successor is not used',
  async (t) => {
    const { sessionId, refreshToken } = await family()
    const first = await refresh(url, refreshToken, { key: 'attempt-0001' })
    await elapse(prisma, sessionId, 3_600)
    t.equal(
      (await refresh(url, refreshToken, { key: 'attempt-0001' })).body.refresh_token,
      first.body.refresh_token,
      'the same holds an hour later'
    )
    t.equal((await refresh(url, first.body.refresh_token, { key: 'attempt-0002' })).status, 200)
    t.equal(
      outcomeOf(await refresh(url, refreshToken, { key: 'attempt-0001' })),
      '400 invalid_grant refresh_reused',
      'the successor has been used'
    )
    const other = await family()
    await refresh(url, other.refreshToken, { key: 'attempt-0001' })
    await elapse(prisma, other.sessionId, 60)
    t.equal(
      outcomeOf(await refresh(url, other.refreshToken, { key: 'another-key' })),
      '400 invalid_grant refresh_reused',
      'a request with another key is not a retry'
    )
  }
)

t.test('idle expiry moves with a refresh, the absolute one never', async (t) => {
  const { sessionId, refreshToken } = await family()
  await elapse(prisma, sessionId, 6 * 86_400)
  const before = await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
  const { body } = await refresh(url, refreshToken)
  const after = await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
  t.equal(after.absoluteExpiresAt.getTime(), before.absoluteExpiresAt.getTime())
  t.ok(after.expiresAt.getTime() > before.expiresAt.getTime() + 5 * 86_400_000)
  await elapse(prisma, sessionId, 8 * 86_400)
  t.equal(outcomeOf(await refresh(url, body.refresh_token)), '400 invalid_grant session_expired')
})

t.test('what is no good is refused with its cause, and changes nothing', async (t) => {
  const { sessionId, userId, refreshToken } = await family()
  const post = async (body: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${url}/oauth2/token`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
    })
    const answer = (await response.json()) as {
      error: string
      cause: string
      error_description: string
    }
    t.match(answer.error_description, /\S/)
    return `${response.status} ${answer.error} ${answer.cause}`
  }
  t.equal(await post(''), '400 invalid_request invalid_input')
  t.equal(await post('grant_type=refresh_token'), '400 invalid_request invalid_input')
  t.equal(
    await post(`grant_type=password&refresh_token=${refreshToken}`),
    '400 unsupported_grant_type grant_type_unsupported'
  )
  t.equal(
    await post(
      `grant_type=refresh_token&refresh_token=${refreshToken}&refresh_token=${refreshToken}`
    ),
    '400 invalid_request invalid_input'
  )
  t.equal(
    await post(`grant_type=refresh_token&refresh_token=${'x'.repeat(9000)}`),
    '400 invalid_request invalid_input'
  )
  t.equal(
    await post('{', { 'content-type': 'application/json' }),
    '400 invalid_request invalid_input'
  )
  t.equal(
    await post('x', { 'content-type': 'text/plain' }),
    '415 invalid_request unsupported_media_type'
  )
  for (const key of ['short', 'x'.repeat(129), 'has\ta tab in it']) {
    t.equal(
      await post(`grant_type=refresh_token&refresh_token=${refreshToken}`, {
        'idempotency-key': key
      }),
      '400 invalid_request invalid_input'
    )
  }
  t.equal(
    outcomeOf(await refresh(url, refreshToken, { client_id: 'somebody-else' })),
    '400 invalid_client client_mismatch'
  )
  for (const token of [
    'nonsense',
    'hrt1_',
    `${refreshToken}A`,
    refreshToken.slice(0, -1),
    refreshToken.replace('hrt1_', 'hrt2_')
  ]) {
    t.equal(outcomeOf(await refresh(url, token)), '400 invalid_grant refresh_malformed')
  }
  t.strictSame(await events(sessionId), ['created pwd'])
  t.equal(
    (await refresh(url, refreshToken, { client_id: 'holdfast' })).status,
    200,
    'the token is still valid'
  )
  await prisma.user.delete({ where: { id: userId } })
  t.equal(outcomeOf(await refresh(url, refreshToken)), '400 invalid_grant user_gone')
})

t.test('JSON is accepted as well', async (t) => {
  const { refreshToken } = await family()
  const response = await fetch(`${url}/oauth2/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ grant_type: 'refresh_token', refresh_token: refreshToken })
  })
  t.equal(response.status, 200)
  t.equal(generationOf(((await response.json()) as { refresh_token: string }).refresh_token), 1)
})

t.test(
  'revocation ends the session of a refresh, access or session token, and is 200 for anything else',
  async (t) => {
    const revoke = (token: string) =>
      fetch(`${url}/oauth2/revoke`, { method: 'POST', body: new URLSearchParams({ token }) })
    const byRefresh = await family()
    const {
      body: { refresh_token: next }
    } = await refresh(url, byRefresh.refreshToken)
    t.equal((await revoke(next)).status, 200)
    t.equal(outcomeOf(await refresh(url, next)), '400 invalid_grant session_revoked')
    t.equal((await revoke(next)).status, 200, 'a second revocation succeeds')
    t.match((await events(byRefresh.sessionId)).at(-1), 'revoked signed_out')

    const byAccess = await family()
    const { body } = await refresh(url, byAccess.refreshToken)
    const call = () =>
      fetch(`${url}/session`, { headers: { authorization: `Bearer ${body.access_token}` } })
    t.equal((await call()).status, 200)
    t.equal((await revoke(body.access_token)).status, 200)
    t.match(
      await (await call()).json(),
      { status: 401, cause: 'session_revoked' },
      'an access token of a revoked session is refused'
    )

    const person = await signUp(url)
    t.equal((await revoke(person.bearer)).status, 200)
    t.equal(await sessionState(person.browser), '401 session_revoked')

    const bystander = await family()
    for (const token of [
      'nonsense',
      'hrt1_x',
      'ey.ey.x',
      `hst1_${'A'.repeat(72)}`,
      body.access_token.slice(0, -4)
    ])
      t.equal((await revoke(token)).status, 200)
    t.equal((await refresh(url, bystander.refreshToken)).status, 200)
    t.equal(
      (await fetch(`${url}/oauth2/revoke`, { method: 'POST', body: new URLSearchParams({}) }))
        .status,
      400
    )
  }
)
