import t, { type Test } from 'tap'
import { enrol, officialClient, withCookiesOf } from '../support/device.js'
import { openMailbox } from '../support/mailbox.js'
import { App, ask, mailFor, newAddress, newProven, signUpAt } from '../support/mail-people.js'
import { Browser, build, password, sessionState } from '../support/server.js'

const mailbox = await openMailbox(t)
const running = await build(t, { ...mailbox.settings, oneTimeTokens: true })
const { url } = running
const { prisma, auth } = running.app.holdfast

const NEW_PASSWORD = 'a whale in the kitchen sings'
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const stateOf = async (headers: Record<string, string>) =>
  (await fetch(`${url}/verify`, { headers })).status
const refresh = async (refreshToken: string) =>
  (
    await fetch(`${url}/oauth2/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken })
    })
  ).status

/** Everything that an attacker can keep of an account with the address of another person. */
async function attack(email: string) {
  const browser = new Browser(url)
  const id = await signUpAt(browser, email)
  await mailbox.next('verify', email)
  // An account can have a second factor here that is older than mail.
  const { signUpHandle } = await prisma.user.findUniqueOrThrow({ where: { id } })
  const client = officialClient(browser)
  const { backupCodes } = await enrol({ browser, email, id, sessionId: '', bearer: '', client })
  await prisma.user.update({ where: { id }, data: { emailVerified: false, signUpHandle } })
  const [toApp = '', toTrusted = '', toPending = '', unused = ''] = backupCodes

  const app = new App(url)
  const { body } = await ask(app, '/sign-in/email', { email, password })
  const challenge = { 'two-factor-challenge': String(body['challenge']) }
  await ask(app, '/two-factor/verify-backup-code', { code: toApp }, challenge)
  if (app.tokens === null) throw new Error('the app was given no tokens')

  const trusted = new Browser(url)
  await ask(trusted, '/sign-in/email', { email, password })
  await ask(trusted, '/two-factor/verify-backup-code', { code: toTrusted, trustDevice: true })

  const pending = new Browser(url)
  await ask(pending, '/sign-in/email', { email, password })

  const oneTime = (await (await browser.get('/api/auth/one-time-token/generate')).json()) as {
    token: string
  }
  if (typeof oneTime.token !== 'string') throw new Error('no one-time token was made')
  const theirs = newAddress()
  const change = await ask(browser, '/change-email', { newEmail: theirs })
  if (change.status !== 200) throw new Error(`the change of address answered ${change.outcome}`)
  const changeMail = await mailbox.next('change-verify', theirs)
  const stranger = new Browser(url)
  const resetMail = await mailFor(mailbox, stranger, email, 'reset')
  const signInMail = await mailFor(mailbox, stranger, email, 'sign-in')
  return {
    id,
    browser,
    app: app.tokens,
    trusted,
    pending,
    toPending,
    unused,
    oneTime: oneTime.token,
    changeMail,
    resetMail,
    signInMail,
    stranger
  }
}

type Attack = Awaited<ReturnType<typeof attack>>

/** Whether the attacker has what they had. */
async function isAlive(t: Test, { browser, app, trusted }: Attack): Promise<void> {
  t.equal(await sessionState(browser), 'valid')
  t.equal(await sessionState(trusted), 'valid')
  t.equal(await stateOf(bearer(app.access_token)), 200)
}

/** That nothing is left to the attacker, and nothing of it is asked of the victim. */
async function isDead(t: Test, email: string, attacked: Attack): Promise<void> {
  const { id, browser, app, trusted, pending, toPending, unused, oneTime } = attacked
  for (const each of [browser, trusted])
    t.match(await sessionState(each), /^401 /, 'a session has ended')
  t.equal(await stateOf(bearer(app.access_token)), 401, 'the access token')
  t.not(await refresh(app.refresh_token), 200, 'the refresh token')
  const signIn = await ask(new Browser(url), '/sign-in/email', { email, password })
  t.equal(signIn.outcome, '401 INVALID_EMAIL_OR_PASSWORD', 'the password')
  const asTrusted = withCookiesOf(trusted)
  t.equal(
    (await ask(asTrusted, '/sign-in/email', { email, password })).outcome,
    '401 INVALID_EMAIL_OR_PASSWORD'
  )
  const backup = await ask(pending, '/two-factor/verify-backup-code', { code: toPending })
  t.not(backup.status, 200, 'the sign-in that waits for a second factor')
  t.match(await sessionState(pending), /^401 /)
  t.not(
    (await ask(withCookiesOf(trusted), '/two-factor/verify-backup-code', { code: unused })).status,
    200,
    'backup codes'
  )
  t.not((await ask(new Browser(url), '/one-time-token/verify', { token: oneTime })).status, 200)
  const { changeMail, resetMail, signInMail, stranger } = attacked
  for (const [path, body] of [
    ['/verify-email', { token: changeMail.token }],
    ['/reset-password', { token: resetMail.token, newPassword: NEW_PASSWORD }],
    ['/magic-link/verify', { token: signInMail.token }]
  ] as const)
    t.equal((await ask(new Browser(url), path, body)).outcome, '400 INVALID_TOKEN', path)
  t.match(
    (await ask(stranger, '/sign-in/email-otp', { email, otp: signInMail.code })).outcome,
    /^40[03] /
  )
  t.strictSame(await prisma.twoFactor.findMany({ where: { userId: id } }), [], 'no second factor')
  t.equal(await prisma.verification.count({ where: { value: id } }), 0, 'no challenge, no trust')
  t.match(await prisma.user.findUnique({ where: { id } }), {
    emailVerified: true,
    twoFactorEnabled: false,
    signUpHandle: null
  })
}

/** That the victim signs in with this password, and is asked for nothing else. */
async function signsIn(t: Test, email: string, secret: string): Promise<void> {
  const browser = new Browser(url)
  const { outcome, body } = await ask(browser, '/sign-in/email', { email, password: secret })
  t.equal(outcome, '200')
  t.equal(body['twoFactorRedirect'], undefined, 'no second factor is asked for')
  t.equal(await sessionState(browser), 'valid')
}

t.test('R1: a link in another browser takes a new password, and ends all else', async (t) => {
  const email = newAddress()
  const attacked = await attack(email)
  const victim = new Browser(url)
  const { token } = await mailFor(mailbox, victim, email, 'verify')
  t.match((await ask(victim, '/describe-link', { token })).body, {
    purpose: 'verify',
    email,
    needsPassword: true,
    askedHere: true
  })
  t.equal((await ask(victim, '/verify-email', { token })).outcome, '403 PASSWORD_NEEDED')
  await isAlive(t, attacked)
  t.equal(
    (await ask(victim, '/verify-email', { token, newPassword: 'short' })).outcome,
    '400 PASSWORD_TOO_SHORT'
  )
  t.equal((await ask(victim, '/verify-email', { token, newPassword: NEW_PASSWORD })).outcome, '200')
  t.notOk(victim.cookies.has(auth.cookieName), 'verification begins no session')
  await isDead(t, email, attacked)
  await signsIn(t, email, NEW_PASSWORD)
})

t.test('R1: the link of the sign-up itself, in the browser of the victim', async (t) => {
  const email = newAddress()
  const attacker = new Browser(url)
  await signUpAt(attacker, email)
  const { token } = await mailbox.next('verify', email)
  const victim = new Browser(url)
  t.equal((await ask(victim, '/verify-email', { token })).outcome, '403 PASSWORD_NEEDED')
  const wrong = { token, password: 'not the one of the sign-up' }
  t.equal((await ask(victim, '/verify-email', wrong)).outcome, '400 INVALID_PASSWORD')
  t.equal((await ask(victim, '/verify-email', { token, newPassword: NEW_PASSWORD })).outcome, '200')
  t.match(await sessionState(attacker), /^401 /)
  await signsIn(t, email, NEW_PASSWORD)
})

t.test('R1: a reset', async (t) => {
  const email = newAddress()
  const attacked = await attack(email)
  const victim = new Browser(url)
  await prisma.mail.deleteMany({ where: { recipient: email } })
  const { token } = await mailFor(mailbox, victim, email, 'reset')
  t.equal(
    (await ask(victim, '/reset-password', { token, newPassword: NEW_PASSWORD })).outcome,
    '200'
  )
  await isDead(t, email, attacked)
  await signsIn(t, email, NEW_PASSWORD)
})

t.test('R1: a reset by code', async (t) => {
  const email = newAddress()
  const attacked = await attack(email)
  const victim = new Browser(url)
  await prisma.mail.deleteMany({ where: { recipient: email } })
  const { code } = await mailFor(mailbox, victim, email, 'reset')
  const body = { email, otp: code, password: NEW_PASSWORD }
  t.equal((await ask(victim, '/email-otp/reset-password', body)).outcome, '200')
  await isDead(t, email, attacked)
  await signsIn(t, email, NEW_PASSWORD)
})

for (const by of ['code', 'link'] as const)
  t.test(`R1: a sign-in by ${by}`, async (t) => {
    const email = newAddress()
    const attacked = await attack(email)
    const victim = new Browser(url)
    await prisma.mail.deleteMany({ where: { recipient: email } })
    const { token, code } = await mailFor(mailbox, victim, email, 'sign-in')
    const { outcome, body } =
      by === 'code'
        ? await ask(victim, '/sign-in/email-otp', { email, otp: code })
        : await ask(victim, '/magic-link/verify', { token })
    t.equal(outcome, '200')
    t.equal(body['twoFactorRedirect'], undefined, 'no older factor is asked for')
    t.equal(await sessionState(victim), 'valid')
    await isDead(t, email, attacked)
    t.equal(
      await prisma.account.count({ where: { userId: attacked.id } }),
      0,
      'no password is left'
    )
    t.equal(await sessionState(victim), 'valid')
  })

t.test('R1: a sign-in by link in an app', async (t) => {
  const email = newAddress()
  const attacked = await attack(email)
  const victim = new App(url)
  await prisma.mail.deleteMany({ where: { recipient: email } })
  const { token } = await mailFor(mailbox, victim, email, 'sign-in')
  t.equal((await ask(victim, '/magic-link/verify', { token })).outcome, '200')
  t.equal(await stateOf(bearer(victim.tokens?.access_token ?? '')), 200)
  await isDead(t, email, attacked)
  t.equal(await stateOf(bearer(victim.tokens?.access_token ?? '')), 200)
})

t.test('R1: a code from another handle', async (t) => {
  const email = newAddress()
  const attacked = await attack(email)
  const victim = new Browser(url)
  const { code: otp } = await mailFor(mailbox, victim, email, 'verify')
  t.equal(
    (await ask(victim, '/email-otp/verify-email', { email, otp })).outcome,
    '403 PASSWORD_NEEDED'
  )
  await isAlive(t, attacked)
  t.equal(
    (await ask(victim, '/email-otp/verify-email', { email, otp, newPassword: NEW_PASSWORD }))
      .outcome,
    '200'
  )
  await isDead(t, email, attacked)
  await signsIn(t, email, NEW_PASSWORD)
})

t.test('R1: a proof that the attacker asked for, and that was mailed to nobody yet', async (t) => {
  const email = newAddress()
  const attacker = new Browser(url)
  const id = await signUpAt(attacker, email)
  const { token } = await mailbox.next('verify', email)
  await prisma.proof.createMany({
    data: ['change-verify', 'sign-in', 'reset'].map((purpose) => ({
      purpose,
      email: purpose === 'change-verify' ? newAddress() : email,
      userId: purpose === 'change-verify' ? id : null,
      keyId: 'any',
      expiresAt: new Date(Date.now() + 600_000)
    }))
  })
  await ask(new Browser(url), '/verify-email', { token, newPassword: NEW_PASSWORD })
  t.equal(
    await prisma.proof.count({
      where: { OR: [{ userId: id }, { email }], usedAt: null, purpose: { not: 'not-me' } }
    }),
    0
  )
})

/** A person who signed up, with a session in an app and one in a browser. */
async function signedUp(browser: Browser) {
  const email = newAddress()
  const id = await signUpAt(browser, email)
  const mail = await mailbox.next('verify', email)
  const other = new Browser(url)
  await ask(other, '/sign-in/email', { email, password })
  return { email, id, mail, other }
}

async function losesNothing(t: Test, id: string, email: string, other: Browser): Promise<void> {
  t.match(await prisma.user.findUnique({ where: { id } }), {
    emailVerified: true,
    signUpHandle: null,
    name: 'Ada Lovelace'
  })
  t.equal(await sessionState(other), 'valid', 'the other session goes on')
  await signsIn(t, email, password)
}

t.test('R1: who signed up in an app and types the password elsewhere loses nothing', async (t) => {
  const app = new App(url)
  const { email, id, mail, other } = await signedUp(app)
  const { token } = mail
  t.match((await ask(new Browser(url), '/describe-link', { token })).body, {
    needsPassword: true,
    askedHere: false
  })
  t.equal((await ask(new Browser(url), '/verify-email', { token, password })).outcome, '200')
  t.equal(await stateOf(bearer(app.tokens?.access_token ?? '')), 200)
  t.equal(await refresh(app.tokens?.refresh_token ?? ''), 200)
  await losesNothing(t, id, email, other)
})

t.test('R1: an app that sends its challenge loses nothing', async (t) => {
  const app = new App(url)
  const { email, id, mail, other } = await signedUp(app)
  t.equal((await ask(app, '/verify-email', { token: mail.token })).outcome, '200')
  t.equal(await stateOf(bearer(app.tokens?.access_token ?? '')), 200)
  await losesNothing(t, id, email, other)
})

t.test('R1: the browser that signed up loses nothing, by link or code', async (t) => {
  for (const by of ['link', 'code']) {
    const browser = new Browser(url)
    const { email, id, mail, other } = await signedUp(browser)
    t.equal(
      by === 'link'
        ? (await ask(browser, '/verify-email', { token: mail.token })).outcome
        : (await ask(browser, '/email-otp/verify-email', { email, otp: mail.code })).outcome,
      '200'
    )
    t.equal(await sessionState(browser), 'valid')
    await losesNothing(t, id, email, other)
  }
})

t.test('R1: the browser that signed up keeps its password by a sign-in by mail', async (t) => {
  const browser = new Browser(url)
  const { email, id, other } = await signedUp(browser)
  browser.cookies.delete(auth.cookieName)
  const { code } = await mailFor(mailbox, browser, email, 'sign-in')
  t.equal((await ask(browser, '/sign-in/email-otp', { email, otp: code })).outcome, '200')
  await losesNothing(t, id, email, other)
})

t.test('R1: a code in a session of the account loses nothing', async (t) => {
  const { email, id, other } = await signedUp(new Browser(url))
  await ask(other, '/send-verification-email', { email })
  const { code } = await mailbox.next('verify', email)
  t.equal((await ask(other, '/email-otp/verify-email', { email, otp: code })).outcome, '200')
  await losesNothing(t, id, email, other)
})

t.test(
  'R1: a link in a session of the account, in a browser that did not sign up, asks',
  async (t) => {
    const { email, id, mail, other } = await signedUp(new Browser(url))
    t.equal(
      (await ask(other, '/verify-email', { token: mail.token })).outcome,
      '403 PASSWORD_NEEDED'
    )
    t.equal((await ask(other, '/verify-email', { token: mail.token, password })).outcome, '200')
    await losesNothing(t, id, email, other)
  }
)

t.test('R1: an account from before mail was on loses nothing', async (t) => {
  for (const path of ['/verify-email', '/magic-link/verify', '/email-otp/verify-email']) {
    const { email, id, other } = await signedUp(new Browser(url))
    await prisma.user.update({ where: { id }, data: { signUpHandle: null } })
    const stranger = new Browser(url)
    const kind = path === '/magic-link/verify' ? 'sign-in' : 'verify'
    const { token, code } = await mailFor(mailbox, stranger, email, kind)
    const body = path === '/email-otp/verify-email' ? { email, otp: code } : { token }
    t.equal((await ask(stranger, path, body)).outcome, '200', path)
    await losesNothing(t, id, email, other)
  }
})

t.test("R1: an administrator's edit is no proof, and neither is a change of address", async (t) => {
  const { email, id, other } = await signedUp(new Browser(url))
  await running.app.holdfast.auth.users.update(id, { emailVerified: true })
  await losesNothing(t, id, email, other)

  const browser = new Browser(url)
  const second = await signedUp(browser)
  const newEmail = newAddress()
  t.equal((await ask(browser, '/change-email', { newEmail })).outcome, '200')
  const { token } = await mailbox.next('change-verify', newEmail)
  t.equal((await ask(new Browser(url), '/verify-email', { token })).outcome, '200')
  t.equal((await prisma.user.findUnique({ where: { id: second.id } }))?.email, newEmail)
  t.equal(
    (await ask(new Browser(url), '/verify-email', { token: second.mail.token })).outcome,
    '400 INVALID_TOKEN',
    'the proof of the earlier address'
  )
  await losesNothing(t, second.id, newEmail, second.other)
})

t.test('R1: a second proof changes nothing', async (t) => {
  const { browser, email, id } = await newProven(running, mailbox)
  const stranger = new Browser(url)
  const { token } = await mailFor(mailbox, stranger, email, 'sign-in')
  t.equal((await ask(stranger, '/magic-link/verify', { token })).outcome, '200')
  await losesNothing(t, id, email, browser)
})

t.test('R1: a second factor needs a proven address', async (t) => {
  const browser = new Browser(url)
  await signUpAt(browser, newAddress())
  t.equal(
    (await ask(browser, '/two-factor/enable', { password })).outcome,
    '403 EMAIL_NOT_VERIFIED'
  )
})
