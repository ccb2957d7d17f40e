import t from 'tap'
import {
  anotherDevice,
  enrol,
  leaks,
  newPerson,
  officialClient,
  totp,
  type Device
} from '../support/device.js'
import { Browser, build, password, proveAddress, sessionState } from '../support/server.js'

const running = await build(t)
const { url } = running

/** Enters the password in a browser. The second factor is then pending there. */
async function givePassword({ email }: Device, browser = new Browser(url)) {
  const client = officialClient(browser)
  return { browser, client, answer: await client.signIn.email({ email, password }) }
}

t.test(
  'enrolment: a code from the app turns the second factor on, and this browser stays signed in',
  async (t) => {
    const ada = await newPerson(url)
    const phone = await anotherDevice(ada)
    const { backupCodes } = await enrol(ada)
    t.ok(backupCodes.length > 0)
    t.match(await ada.client.getSession(), {
      error: null,
      data: { user: { id: ada.id, twoFactorEnabled: true } }
    })
    t.equal(await sessionState(ada.browser), 'valid')
    t.equal(await sessionState(phone.browser), 'valid')
  }
)

t.test('enrolment replaces the session, and the record says why', async (t) => {
  const ada = await newPerson(url)
  await enrol(ada)
  const { events } = (await (
    await ada.browser.get(`/sessions/${ada.sessionId}/events`)
  ).json()) as { events: { type: string; cause: string }[] }
  t.strictSame(
    events.map(({ type, cause }) => `${type} ${cause}`),
    ['created pwd', 'revoked second_factor_changed']
  )
})

t.test('a wrong code does not turn it on', async (t) => {
  const ada = await newPerson(url)
  await proveAddress(ada)
  await ada.client.twoFactor.enable({ password })
  t.match((await ada.client.twoFactor.verifyTotp({ code: '00000x' })).error, {
    status: 401,
    code: 'INVALID_CODE'
  })
  t.match(await ada.client.getSession(), { data: { user: { twoFactorEnabled: false } } })
})

t.test('a password alone is no session where a second factor is on', async (t) => {
  const ada = await newPerson(url)
  await enrol(ada)
  const { browser, client, answer } = await givePassword(ada)
  t.match(answer, { error: null, data: { twoFactorRedirect: true, twoFactorMethods: ['totp'] } })
  t.notOk(JSON.stringify(answer).includes('hst1_'), 'the answer contains no token')
  t.equal(browser.cookies.has('holdfast.session_token'), false)
  t.equal(await sessionState(browser), '401 credential_missing')
  t.strictSame(await client.getSession(), { data: null, error: null })
  t.match((await client.listSessions()).error, { status: 401 })
})

t.test('the session of a pending second factor is not in the lists', async (t) => {
  const ada = await newPerson(url)
  await enrol(ada)
  await givePassword(ada)
  t.equal((await ada.client.listSessions()).data?.length, 1)
  const pending = await running.app.holdfast.prisma.session.findMany({
    where: { userId: ada.id, revokedReason: 'second_factor_pending' }
  })
  t.equal(pending.length, 1, 'the session was revoked with its reason')
})

t.test('the code of the app completes the sign-in', async (t) => {
  const ada = await newPerson(url)
  const { totpURI } = await enrol(ada)
  const { browser, client } = await givePassword(ada)
  t.match(await client.twoFactor.verifyTotp({ code: totp(totpURI) }), {
    error: null,
    data: { user: { id: ada.id } }
  })
  const shown = (await (await browser.get('/session')).json()) as { session: { amr: string[] } }
  t.strictSame(shown.session.amr, ['pwd', 'otp', 'mfa'])
})

t.test('a backup code completes the sign-in, once', async (t) => {
  const ada = await newPerson(url)
  const {
    backupCodes: [code = '']
  } = await enrol(ada)
  const first = await givePassword(ada)
  t.match(await first.client.twoFactor.verifyBackupCode({ code }), { error: null })
  t.equal(await sessionState(first.browser), 'valid')
  const second = await givePassword(ada)
  t.match((await second.client.twoFactor.verifyBackupCode({ code })).error, {
    status: 401,
    code: 'INVALID_BACKUP_CODE'
  })
  t.equal(await sessionState(second.browser), '401 credential_missing')
})

t.test('a trusted device is not asked again; another one is', async (t) => {
  const ada = await newPerson(url)
  const { totpURI } = await enrol(ada)
  const { browser, client } = await givePassword(ada)
  t.match(await client.twoFactor.verifyTotp({ code: totp(totpURI), trustDevice: true }), {
    error: null
  })
  await client.signOut()
  const again = await givePassword(ada, browser)
  t.match(again.answer, { error: null, data: { user: { id: ada.id } } })
  t.equal(await sessionState(browser), 'valid')
  t.match((await givePassword(ada)).answer, { data: { twoFactorRedirect: true } })
})

t.test('a new password ends a pending second factor and the trust in devices', async (t) => {
  const ada = await newPerson(url)
  const { totpURI } = await enrol(ada)
  const trusted = await givePassword(ada)
  await trusted.client.twoFactor.verifyTotp({ code: totp(totpURI), trustDevice: true })
  const pending = await givePassword(ada)
  const newPassword = 'a different horse, a stronger battery'
  t.match(await ada.client.changePassword({ currentPassword: password, newPassword }), {
    error: null
  })

  t.match((await pending.client.twoFactor.verifyTotp({ code: totp(totpURI) })).error, {
    status: 401,
    code: 'INVALID_TWO_FACTOR_COOKIE'
  })
  t.equal(await sessionState(pending.browser), '401 credential_missing')
  t.match(await trusted.client.signIn.email({ email: ada.email, password: newPassword }), {
    data: { twoFactorRedirect: true }
  })
})

t.test('turning the second factor off makes the password enough again', async (t) => {
  const ada = await newPerson(url)
  await enrol(ada)
  t.match(await ada.client.twoFactor.disable({ password }), { error: null })
  t.equal(await sessionState(ada.browser), 'valid')
  const { browser } = await givePassword(ada)
  t.equal(await sessionState(browser), 'valid')
})

t.test('no answer to a request with a session cookie has held a token', async (t) =>
  t.strictSame(leaks, [])
)
