import { randomUUID } from 'node:crypto'
import t from 'tap'
import {
  anotherDevice,
  leaks,
  newPerson,
  officialClient,
  withCookiesOf
} from '../support/device.js'
import { Browser, build, password, sessionState } from '../support/server.js'

const running = await build(t, { oneTimeTokens: true })
const COOKIE = running.app.holdfast.auth.cookieName
const { url } = running
const newPassword = 'a different horse, a stronger battery'

t.test('sign-up begins a session, and the client knows the person', async (t) => {
  const browser = new Browser(url)
  const client = officialClient(browser)
  const email = `${randomUUID()}@example.com`
  const signedUp = await client.signUp.email({ name: 'Grace Hopper', email, password })
  t.match(signedUp, { error: null, data: { user: { email, name: 'Grace Hopper' } } })
  t.match(await client.getSession(), {
    error: null,
    data: { user: { email }, session: { userId: signedUp.data?.user.id } }
  })
  t.equal(await sessionState(browser), 'valid')
})

t.test('sign-in begins a session of its own', async (t) => {
  const ada = await newPerson(url)
  const browser = new Browser(url)
  const client = officialClient(browser)
  t.match(await client.signIn.email({ email: ada.email, password }), {
    error: null,
    data: { user: { id: ada.id } }
  })
  const session = await client.getSession()
  t.not(session.data?.session.id, ada.sessionId)
  t.equal(await sessionState(browser), 'valid')
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('a wrong password is refused and sets no cookie', async (t) => {
  const ada = await newPerson(url)
  const browser = new Browser(url)
  const { error } = await officialClient(browser).signIn.email({
    email: ada.email,
    password: 'wrong password'
  })
  t.match(error, { status: 401, code: 'INVALID_EMAIL_OR_PASSWORD' })
  t.equal(browser.cookies.size, 0)
})

t.test('without a session, get-session says null and keeps quiet', async (t) => {
  const browser = new Browser(url)
  t.strictSame(await officialClient(browser).getSession(), { data: null, error: null })
})

t.test('list-sessions shows every session by a handle', async (t) => {
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  const { data } = await laptop.client.listSessions()
  t.strictSame(
    data?.map(({ id, token }) => ({ id, token })),
    [phone, laptop].map(({ sessionId }) => ({ id: sessionId, token: `hsh1_${sessionId}` }))
  )
})

t.test('one session is revoked by its handle', async (t) => {
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  const { data: sessions } = await laptop.client.listSessions()
  const token = sessions?.find(({ id }) => id === phone.sessionId)?.token ?? ''
  t.match(await laptop.client.revokeSession({ token }), { error: null, data: { status: true } })
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(laptop.browser), 'valid')
})

t.test("another user's handle revokes nothing", async (t) => {
  const ada = await newPerson(url)
  const mallory = await newPerson(url)
  t.match(await mallory.client.revokeSession({ token: `hsh1_${ada.sessionId}` }), {
    error: null,
    data: { status: true }
  })
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test('revoking the current session by its handle signs this browser out', async (t) => {
  const ada = await newPerson(url)
  await ada.client.revokeSession({ token: `hsh1_${ada.sessionId}` })
  t.notOk(ada.browser.cookies.has(COOKIE))
  t.equal(await sessionState(ada.browser), '401 credential_missing')
})

t.test('revoke-other-sessions ends all but this one', async (t) => {
  const laptop = await newPerson(url)
  const others = [await anotherDevice(laptop), await anotherDevice(laptop)]
  t.match(await laptop.client.revokeOtherSessions(), { error: null, data: { status: true } })
  for (const other of others) t.equal(await sessionState(other.browser), '401 session_revoked')
  t.equal(await sessionState(laptop.browser), 'valid')
})

t.test('revoke-sessions ends all, this one too', async (t) => {
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  const thief = withCookiesOf(laptop.browser)
  t.match(await laptop.client.revokeSessions(), { error: null, data: { status: true } })
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(thief), '401 session_revoked')
  t.strictSame(await laptop.client.getSession(), { data: null, error: null })
})

t.test(
  'a new password ends the other sessions, asked for or not, and keeps this one',
  async (t) => {
    const laptop = await newPerson(url)
    const phone = await anotherDevice(laptop)
    t.match(await laptop.client.changePassword({ currentPassword: password, newPassword }), {
      error: null
    })
    t.equal(await sessionState(phone.browser), '401 session_revoked')
    t.equal(await sessionState(laptop.browser), 'valid')
    t.equal((await laptop.client.getSession()).data?.session.id, laptop.sessionId)
  }
)

t.test('a new password with revokeOtherSessions replaces this session, too', async (t) => {
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  const thief = withCookiesOf(laptop.browser)
  t.match(
    await laptop.client.changePassword({
      currentPassword: password,
      newPassword,
      revokeOtherSessions: true
    }),
    { error: null }
  )
  t.equal(await sessionState(phone.browser), '401 session_revoked')
  t.equal(await sessionState(laptop.browser), 'valid')
  t.not((await laptop.client.getSession()).data?.session.id, laptop.sessionId)
  t.equal(await sessionState(thief), '401 session_revoked')
})

t.test('only the new password signs in', async (t) => {
  const ada = await newPerson(url)
  await ada.client.changePassword({ currentPassword: password, newPassword })
  const browser = new Browser(url)
  t.match((await officialClient(browser).signIn.email({ email: ada.email, password })).error, {
    status: 401,
    code: 'INVALID_EMAIL_OR_PASSWORD'
  })
  t.match(await officialClient(browser).signIn.email({ email: ada.email, password: newPassword }), {
    error: null
  })
})

t.test('a wrong current password changes nothing', async (t) => {
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  const { error } = await laptop.client.changePassword({
    currentPassword: 'wrong password',
    newPassword,
    revokeOtherSessions: true
  })
  t.match(error, { status: 400, code: 'INVALID_PASSWORD' })
  t.equal(await sessionState(phone.browser), 'valid')
  t.equal(await sessionState(laptop.browser), 'valid')
})

t.test('update-user changes what a check shows', async (t) => {
  const ada = await newPerson(url)
  t.match(await ada.client.updateUser({ name: 'Ada King' }), {
    error: null,
    data: { status: true }
  })
  t.match(await (await ada.browser.get('/session')).json(), {
    user: { name: 'Ada King' },
    session: { id: ada.sessionId }
  })
})

t.test('delete-user ends the sessions and the account', async (t) => {
  const laptop = await newPerson(url)
  const phone = await anotherDevice(laptop)
  t.match(await laptop.client.deleteUser({ password }), { error: null, data: { success: true } })
  t.equal(await sessionState(phone.browser), '401 user_gone')
  t.equal(await sessionState(laptop.browser), '401 credential_missing')
  t.match(
    (await officialClient(new Browser(url)).signIn.email({ email: laptop.email, password })).error,
    { status: 401, code: 'INVALID_EMAIL_OR_PASSWORD' }
  )
})

t.test('sign-out ends the session and takes the cookie', async (t) => {
  const ada = await newPerson(url)
  const thief = withCookiesOf(ada.browser)
  t.match(await ada.client.signOut(), { error: null, data: { success: true } })
  t.notOk(ada.browser.cookies.has(COOKIE))
  t.equal(await sessionState(thief), '401 session_revoked')
})

t.test('a one-time token begins a new session in another browser', async (t) => {
  const laptop = await newPerson(url)
  const { data } = await laptop.client.oneTimeToken.generate()
  const browser = new Browser(url)
  t.match(await officialClient(browser).oneTimeToken.verify({ token: data?.token ?? '' }), {
    error: null,
    data: { user: { id: laptop.id } }
  })
  t.equal(await sessionState(browser), 'valid')
  t.not((await officialClient(browser).getSession()).data?.session.id, laptop.sessionId)
  await officialClient(browser).signOut()
  t.equal(await sessionState(laptop.browser), 'valid', 'the first session is not affected')
})

t.test('a one-time token works once', async (t) => {
  const laptop = await newPerson(url)
  const token = (await laptop.client.oneTimeToken.generate()).data?.token ?? ''
  t.match(await officialClient(new Browser(url)).oneTimeToken.verify({ token }), { error: null })
  const second = new Browser(url)
  t.match((await officialClient(second).oneTimeToken.verify({ token })).error, {
    status: 400,
    message: 'Invalid token'
  })
  t.equal(second.cookies.size, 0)
})

t.test('a one-time token dies with the session that made it', async (t) => {
  const laptop = await newPerson(url)
  const token = (await laptop.client.oneTimeToken.generate()).data?.token ?? ''
  await laptop.client.signOut()
  const browser = new Browser(url)
  t.match((await officialClient(browser).oneTimeToken.verify({ token })).error, {
    status: 400,
    message: 'Session not found'
  })
  t.equal(browser.cookies.size, 0)
})

t.test(
  'the session of a one-time token takes over when the person signed in, and lives no longer',
  async (t) => {
    const laptop = await newPerson(url)
    const absoluteExpiresAt = new Date(Date.now() + 3_600_000)
    const authTime = new Date(Date.now() - 3_600_000)
    await running.app.holdfast.prisma.session.update({
      where: { id: laptop.sessionId },
      data: { absoluteExpiresAt, authTime }
    })
    const token = (await laptop.client.oneTimeToken.generate()).data?.token ?? ''
    const browser = new Browser(url)
    t.match(await officialClient(browser).oneTimeToken.verify({ token }), { error: null })
    t.match(await (await browser.get('/session')).json(), {
      session: {
        absoluteExpiresAt: absoluteExpiresAt.toISOString(),
        expiresAt: absoluteExpiresAt.toISOString(),
        authTime: authTime.toISOString(),
        amr: ['pwd']
      }
    })
  }
)

t.test('no answer to a request with a session cookie has held a token', async (t) =>
  t.strictSame(leaks, [])
)
