import t from 'tap'
import { anotherDevice, leaks, newAdmin, newPerson, officialClient } from '../support/device.js'
import { Browser, build, password, sessionState, signUp } from '../support/server.js'

const running = await build(t, { oneTimeTokens: true })
const { url } = running

t.test('a ban ends the sessions and refuses sign-in', async (t) => {
  const admin = await newAdmin(running)
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  t.match(await admin.client.admin.banUser({ userId: laptop.id, banReason: 'spam' }), {
    error: null
  })
  t.equal(await sessionState(laptop.browser), '401 user_banned')
  t.equal(await sessionState(phone.browser), '401 user_banned')
  const browser = new Browser(url)
  t.match((await officialClient(browser).signIn.email({ email: laptop.email, password })).error, {
    status: 403,
    code: 'BANNED_USER'
  })
  t.equal(browser.cookies.size, 0)
})

t.test('an unbanned person may sign in again, and old sessions stay ended', async (t) => {
  const admin = await newAdmin(running)
  const ada = await newPerson(url)
  await admin.client.admin.banUser({ userId: ada.id })
  t.match(await admin.client.admin.unbanUser({ userId: ada.id }), { error: null })
  t.equal(await sessionState(ada.browser), '401 user_banned')
  t.equal(await sessionState((await anotherDevice(ada)).browser), 'valid')
})

t.test('a new role shows in the next check', async (t) => {
  const admin = await newAdmin(running)
  const ada = await newPerson(url)
  t.match(await admin.client.admin.setRole({ userId: ada.id, role: 'admin' }), { error: null })
  t.match(await (await ada.browser.get('/session')).json(), {
    session: { id: ada.sessionId },
    user: { roles: ['admin'] }
  })
})

t.test('who is no administrator is refused', async (t) => {
  const ada = await newPerson(url)
  const victim = await newPerson(url)
  t.match((await ada.client.admin.banUser({ userId: victim.id })).error, { status: 403 })
  t.match((await ada.client.admin.listUserSessions({ userId: victim.id })).error, { status: 403 })
  t.match((await ada.client.admin.impersonateUser({ userId: victim.id })).error, { status: 403 })
  t.equal(await sessionState(victim.browser), 'valid')
})

t.test("an administrator lists a user's sessions by handle and revokes one", async (t) => {
  const admin = await newAdmin(running)
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  const { data } = await admin.client.admin.listUserSessions({ userId: laptop.id })
  t.strictSame(
    data?.sessions.map(({ token }) => token),
    [phone, laptop].map(({ sessionId }) => `hsh1_${sessionId}`)
  )
  t.match(await admin.client.admin.revokeUserSession({ sessionToken: `hsh1_${phone.sessionId}` }), {
    error: null,
    data: { success: true }
  })
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(laptop.browser), 'valid')
})

t.test("an administrator revokes all of a user's sessions", async (t) => {
  const admin = await newAdmin(running)
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  t.match(await admin.client.admin.revokeUserSessions({ userId: laptop.id }), {
    error: null,
    data: { success: true }
  })
  t.equal(await sessionState(laptop.browser), '401 session_revoked')
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(admin.browser), 'valid')
})

t.test(
  'impersonation names the administrator, and the administrator comes back to their own session',
  async (t) => {
    const admin = await newAdmin(running)
    const ada = await newPerson(url)
    t.match(await admin.client.admin.impersonateUser({ userId: ada.id }), {
      error: null,
      data: { user: { id: ada.id } }
    })
    const shown = (await (await admin.browser.get('/session')).json()) as {
      session: { id: string }
    }
    t.match(shown, { session: { act: { sub: admin.id } }, user: { id: ada.id } })
    const { sessions } = (await (await ada.browser.get('/sessions')).json()) as {
      sessions: { id: string; act?: { sub: string } }[]
    }
    t.strictSame(
      sessions.find(({ id }) => id === shown.session.id)?.act,
      { sub: admin.id },
      'the user sees the impersonation, too'
    )

    t.match(await admin.client.admin.stopImpersonating(), {
      error: null,
      data: { user: { id: admin.id } }
    })
    t.match(await (await admin.browser.get('/session')).json(), {
      session: { id: admin.sessionId, act: undefined },
      user: { id: admin.id }
    })
    const row = await running.app.holdfast.prisma.session.findUnique({
      where: { id: shown.session.id }
    })
    t.equal(row?.revokedReason, 'impersonation_ended')
    t.equal(await sessionState(ada.browser), 'valid')
  }
)

t.test('a one-time token does not carry an impersonation past its hour', async (t) => {
  const admin = await newAdmin(running)
  const ada = await newPerson(url)
  await admin.client.admin.impersonateUser({ userId: ada.id })
  const { session } = (await (await admin.browser.get('/session')).json()) as {
    session: { absoluteExpiresAt: string }
  }
  const token = (await admin.client.oneTimeToken.generate()).data?.token ?? ''
  const browser = new Browser(url)
  t.match(await officialClient(browser).oneTimeToken.verify({ token }), { error: null })
  t.match(await (await browser.get('/session')).json(), {
    session: { absoluteExpiresAt: session.absoluteExpiresAt, act: { sub: admin.id } }
  })
})

t.test(
  'a removed user is signed out, and what happened to their sessions stays on record',
  async (t) => {
    const admin = await newAdmin(running)
    const ada = await newPerson(url)
    t.match(await admin.client.admin.removeUser({ userId: ada.id }), {
      error: null,
      data: { success: true }
    })
    t.equal(await sessionState(ada.browser), '401 user_gone')
    t.equal(await sessionState(admin.browser), 'valid')
    const events = await running.app.holdfast.prisma.sessionEvent.findMany({
      where: { sessionId: ada.sessionId },
      orderBy: { at: 'asc' }
    })
    t.strictSame(
      events.map(({ type, cause }) => `${type} ${cause}`),
      ['created pwd', 'revoked user_deleted']
    )
  }
)

t.test('a password that an administrator sets ends the sessions', async (t) => {
  const admin = await newAdmin(running)
  const ada = await newPerson(url)
  const newPassword = 'a different horse, a stronger battery'
  t.match(await admin.client.admin.setUserPassword({ userId: ada.id, newPassword }), {
    error: null
  })
  t.equal(await sessionState(ada.browser), '401 session_revoked')
  t.equal(await sessionState(admin.browser), 'valid')
  t.equal(await sessionState((await anotherDevice(ada, newPassword)).browser), 'valid')
})

t.test('no answer to a request with a session cookie has held a token', async (t) =>
  t.strictSame(leaks, [])
)

t.test('an administrator who loses the right to impersonate loses the impersonation', async (t) => {
  for (const lose of ['ban', 'role', 'revoke'] as const) {
    const chief = await newAdmin(running)
    const admin = await newAdmin(running)
    const ada = await signUp(url)
    t.match(await admin.client.admin.impersonateUser({ userId: ada.id }), { error: null })
    t.match(await (await admin.browser.get('/session')).json(), {
      user: { id: ada.id },
      session: { act: { sub: admin.id } }
    })
    if (lose === 'ban') await chief.client.admin.banUser({ userId: admin.id })
    if (lose === 'role') await chief.client.admin.setRole({ userId: admin.id, role: 'user' })
    if (lose === 'revoke') await chief.client.admin.revokeUserSessions({ userId: admin.id })
    t.equal(await sessionState(admin.browser), '401 session_revoked', lose)
    t.equal(await sessionState(ada.browser), 'valid', 'the impersonated user stays signed in')
  }
})
