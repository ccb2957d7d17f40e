import t, { type Test } from 'tap'
import { password, signIn, signUp, start, build, storage, type Running } from '../support/server.js'
import { until } from '../support/poll.js'
import { makeFamily, outcomeOf, refresh, type TestFamily } from '../support/refresh-fixtures.js'

/*
 * Changes during a refresh: in whatever order they come, no token or copy may be out of date
 * afterwards.
 */
const running = await build(t)
const {
  url,
  options,
  app: {
    holdfast: { prisma, auth }
  }
} = running
const REVOKED = '400 invalid_grant session_revoked'

const rolesIn = (accessToken: string) =>
  (
    JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()) as {
      roles: string[]
    }
  ).roles

async function verify(at: Running, accessToken: string, role: string): Promise<number> {
  return (
    await fetch(`${at.url}/verify?role=${role}`, {
      headers: { authorization: `Bearer ${accessToken}` }
    })
  ).status
}

t.test(
  'a refresh that waits for a change of roles shows the new ones, in its token and in every cache',
  {
    skip: storage === 'embedded' && 'the embedded store has one connection: nobody waits for a row'
  },
  async (t) => {
    const { port: _port, ...store } = options
    const other = await start(t, { ...store, baseUrl: url })
    const family = await makeFamily(running)
    await auth.users.update(family.userId, { role: 'admin' })
    const first = await refresh(url, family.refreshToken)
    for (const node of [running, other])
      t.equal(await verify(node, first.body.access_token, 'admin'), 200, 'the node has copies')
    const changed = { begun: false }
    const changing = prisma.$transaction(async (transaction) => {
      await transaction.$executeRaw`UPDATE "user" SET "role" = 'user' WHERE "id" = ${family.userId}`
      changed.begun = true
      await transaction.$executeRaw`SELECT pg_sleep(0.4)`
    })
    await until('the change to be under way', () => changed.begun)
    const second = await refresh(other.url, first.body.refresh_token)
    await changing
    t.strictSame(rolesIn(second.body.access_token), ['user'])
    for (const node of [running, other]) await notAdmin(t, node, second.body.access_token)
  }
)

/** Changes by hand are known within a round of the outbox. */
async function notAdmin(t: Test, node: Running, accessToken: string): Promise<void> {
  const deadline = Date.now() + 5_000
  let status = 200
  while (status === 200 && Date.now() < deadline) status = await verify(node, accessToken, 'admin')
  t.equal(status, 403)
}

const endings: [what: string, cause: string, change: (family: TestFamily) => Promise<unknown>][] = [
  ['a ban', 'user_banned', ({ userId }) => auth.users.update(userId, { banned: true })],
  [
    'the deletion of the user',
    'user_gone',
    ({ userId }) => prisma.user.delete({ where: { id: userId } })
  ],
  [
    'a sign-out',
    'session_revoked',
    ({ sessionId }) => running.app.holdfast.revoker.revoke([sessionId], null, 'signed_out')
  ]
]
for (const [what, cause, change] of endings) {
  const ended = `400 invalid_grant ${cause}`
  t.test(`a refresh and ${what} at once: one comes first, and the session has ended`, async (t) => {
    for (let round = 0; round < 10; round++) {
      const family = await makeFamily(running)
      const [answer] = await Promise.all([refresh(url, family.refreshToken), change(family)])
      t.ok(['200', ended].includes(outcomeOf(answer)), outcomeOf(answer))
      const held =
        answer.status === 200
          ? answer.body
          : { refresh_token: family.refreshToken, access_token: '' }
      t.equal(outcomeOf(await refresh(url, held.refresh_token)), ended)
      if (held.access_token) t.equal(await verify(running, held.access_token, 'user'), 401)
    }
  })
}

t.test('a refresh and a new password at once: no token from before survives', async (t) => {
  for (let round = 0; round < 4; round++) {
    const owner = await signUp(url)
    const {
      body: { tokens }
    } = {
      body: (await (
        await fetch(`${url}/api/auth/sign-in/email`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'token-transport': 'body' },
          body: JSON.stringify({ email: owner.email, password })
        })
      ).json()) as { tokens: { refresh_token: string } }
    }
    const [answer, changed] = await Promise.all([
      refresh(url, tokens.refresh_token),
      owner.browser.post('/api/auth/change-password', {
        currentPassword: password,
        newPassword: `${password} 2`
      })
    ])
    t.equal(changed.status, 200)
    t.ok(['200', REVOKED].includes(outcomeOf(answer)), outcomeOf(answer))
    for (const token of [tokens.refresh_token, answer.body.refresh_token].filter(Boolean))
      t.equal(outcomeOf(await refresh(url, token)), REVOKED)
    await signIn(url, owner.email, `${password} 2`)
  }
})

t.test(
  'a password that is changed by a session token ends the refresh family of that session',
  async (t) => {
    const owner = await signUp(url)
    // A session with a family, used by its cookie.
    const { refreshHash, rotationPepper } = await prisma.session.findUniqueOrThrow({
      where: { id: (await makeFamily(running)).sessionId }
    })
    await prisma.session.update({
      where: { id: owner.sessionId },
      data: { refreshHash, rotationPepper }
    })
    t.equal(
      (
        await owner.browser.post('/api/auth/change-password', {
          currentPassword: password,
          newPassword: `${password} 2`
        })
      ).status,
      200
    )
    const after = await prisma.session.findUniqueOrThrow({ where: { id: owner.sessionId } })
    t.equal(after.revokedAt, null, 'the session continues')
    t.equal(after.refreshHash, null, 'no earlier refresh token is valid')
  }
)

t.test('without grace two at once are one too many, and with one key they are not', async (t) => {
  const strict = await build(t, { refreshGraceSeconds: 0 })
  const alone = await makeFamily(strict)
  t.equal((await refresh(strict.url, alone.refreshToken)).status, 200)
  t.equal(
    outcomeOf(await refresh(strict.url, alone.refreshToken)),
    '400 invalid_grant refresh_reused'
  )
  const keyed = await makeFamily(strict)
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => refresh(strict.url, keyed.refreshToken, { key: 'one attempt' }))
  )
  t.strictSame(answers.map(outcomeOf), ['200', '200', '200', '200'])
})
