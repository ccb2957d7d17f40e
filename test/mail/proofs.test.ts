import t, { type Test } from 'tap'
import { enrol, officialClient, totp, nextStep, withCookiesOf } from '../support/device.js'
import { openMailbox } from '../support/mailbox.js'
import {
  App,
  ask,
  mailFor,
  newAddress,
  newProven,
  signUpAt,
  type MailAnswer
} from '../support/mail-people.js'
import { until } from '../support/poll.js'
import { Browser, build, password, sessionState, start, storage } from '../support/server.js'
import { readStore } from '../support/store-contents.js'

const mailbox = await openMailbox(t)
const running = await build(t, { ...mailbox.settings, oneTimeTokens: true })
const { url } = running
const { prisma, auth } = running.app.holdfast
// Two nodes where the store can be shared.
const { port: _, ...options } = running.options
const other = storage === 'embedded' ? running : await start(t, options)

const NEW_PASSWORD = 'a whale in the kitchen sings'
const someone = () => newProven(running, mailbox)
const reset = (token: string, newPassword = NEW_PASSWORD, browser = new Browser(url)) =>
  ask(browser, '/reset-password', { token, newPassword })
const signIn = (email: string, secret: string, browser = new Browser(url)) =>
  ask(browser, '/sign-in/email', { email, password: secret })
const wrongOf = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0')
/** Lets the next request for a mail be answered by one, though one was sent a moment ago. */
const letMailsAge = (email: string) =>
  prisma.$executeRaw`UPDATE "mail" SET "sentAt" = "sentAt" - interval '2 minutes', "createdAt" = "createdAt" - interval '2 minutes' WHERE "recipient" = ${email}`
const mailsDone = () =>
  until(
    'an empty outbox',
    async () => (await prisma.mail.count({ where: { sentAt: null, failedAt: null } })) === 0
  )
const outcomes = (answers: readonly MailAnswer[]) =>
  answers.map(({ outcome }) => outcome).toSorted()

t.test('a reset ends every session, and the old password', async (t) => {
  const { browser, email } = await someone()
  const app = new App(url)
  await signIn(email, password, app)
  const asked = new Browser(url)
  const { token } = await mailFor(mailbox, asked, email, 'reset')
  t.equal((await reset(token, 'short')).outcome, '400 PASSWORD_TOO_SHORT')
  t.equal(await sessionState(browser), 'valid')
  t.equal((await reset(token)).outcome, '200')
  t.match(await sessionState(browser), /^401 /)
  const headers = { authorization: `Bearer ${app.tokens?.access_token}` }
  t.equal((await fetch(`${url}/verify`, { headers })).status, 401)
  t.equal((await signIn(email, password)).outcome, '401 INVALID_EMAIL_OR_PASSWORD')
  t.equal((await signIn(email, NEW_PASSWORD)).outcome, '200')
  t.equal((await reset(token)).outcome, '400 INVALID_TOKEN', 'it counts once')
})

t.test('a reset ends the sessions of a user without a password, too', async (t) => {
  const browser = new Browser(url)
  const email = newAddress()
  const { code } = await mailFor(mailbox, browser, email, 'sign-in')
  t.equal((await ask(browser, '/sign-in/email-otp', { email, otp: code })).outcome, '200')
  t.equal(await sessionState(browser), 'valid')
  const { token } = await mailFor(mailbox, browser, email, 'reset')
  t.equal((await reset(token)).outcome, '200')
  t.match(await sessionState(browser), /^401 /)
  t.equal((await signIn(email, NEW_PASSWORD)).outcome, '200')
})

t.test('"this was not me" ends sessions, and mails a reset, once', async (t) => {
  const { email } = await someone()
  const { token } = await mailFor(mailbox, new Browser(url), email, 'reset')
  await reset(token)
  const thief = new Browser(url)
  await signIn(email, NEW_PASSWORD, thief)
  const notice = await mailbox.next('password-changed', email)
  t.match(notice.link, /\/not-me\?token=/)
  t.equal(notice.code, '')
  const me = new Browser(url)
  t.match((await ask(me, '/describe-link', { token: notice.token })).body, { purpose: 'not-me' })
  t.equal(await sessionState(thief), 'valid', 'to describe it changes nothing')
  t.match((await ask(me, '/not-me', { token: notice.token })).body, {
    status: true,
    resetMailed: true
  })
  t.match(await sessionState(thief), /^401 /)
  t.equal((await ask(me, '/not-me', { token: notice.token })).outcome, '400 INVALID_TOKEN')
  const mine = await mailbox.next('reset', email)
  t.equal((await reset(mine.token, 'my own again, for good')).outcome, '200')
  t.equal((await signIn(email, NEW_PASSWORD)).outcome, '401 INVALID_EMAIL_OR_PASSWORD')
})

t.test('"this was not me" mails a reset that counts, however many were asked for', async (t) => {
  const { browser, email } = await someone()
  for (let n = 0; n < 3; n++) {
    await letMailsAge(email)
    await mailFor(mailbox, new Browser(url), email, 'reset')
  }
  const changed = { currentPassword: password, newPassword: NEW_PASSWORD }
  t.equal((await ask(browser, '/change-password', changed)).outcome, '200')
  const notice = await mailbox.next('password-changed', email)
  await letMailsAge(email)
  t.equal((await ask(new Browser(url), '/not-me', { token: notice.token })).outcome, '200')
  const { token } = await mailbox.next('reset', email)
  t.equal((await reset(token, 'my own again, for good')).outcome, '200')
})

/** Changes an address as somebody who reads both mailboxes. */
async function changeAddress(t: Test, browser: Browser, email: string, newEmail: string) {
  t.equal((await ask(browser, '/change-email', { newEmail })).outcome, '200')
  const { token } = await mailbox.next('change-confirm', email)
  t.equal((await ask(browser, '/verify-email', { token })).outcome, '200')
  const verify = await mailbox.next('change-verify', newEmail)
  t.equal((await ask(browser, '/verify-email', { token: verify.token })).outcome, '200')
}

t.test('after changes of address "this was not me" restores the old one for good', async (t) => {
  const { browser, email, id } = await someone()
  const [second, third, fourth] = [newAddress(), newAddress(), newAddress()]
  await changeAddress(t, browser, email, second)
  const notice = await mailbox.next('email-changed', email)
  t.match(notice.text, second)
  await changeAddress(t, browser, second, third)
  const theirs = await mailbox.next('email-changed', second)
  t.equal((await ask(browser, '/change-email', { newEmail: fourth })).outcome, '200')
  const pending = await mailbox.next('change-confirm', third)

  const answer = await ask(new Browser(url), '/not-me', { token: notice.token })
  t.match(answer.body, { status: true, resetMailed: true })
  t.match(await prisma.user.findUnique({ where: { id } }), { email, emailVerified: true })
  t.match(await sessionState(browser), /^401 /)
  for (const path of ['/verify-email', '/reset-password'] as const)
    t.equal(
      (await ask(browser, path, { token: pending.token, newPassword: NEW_PASSWORD })).outcome,
      '400 INVALID_TOKEN'
    )
  t.equal((await ask(browser, '/not-me', { token: theirs.token })).outcome, '400 INVALID_TOKEN')
  const told = await mailbox.next('email-changed', third)
  t.equal(told.link, '', 'who took the address is not told how to take it back')
  t.equal((await reset((await mailbox.next('reset', email)).token)).outcome, '200')
  t.equal((await signIn(email, NEW_PASSWORD)).outcome, '200')
})

t.test('"this was not me" removes the second factor that it tells of, and no other', async (t) => {
  const { browser, email, id } = await someone()
  const enrolled = () => {
    const client = officialClient(browser)
    return enrol({ browser, email, id, sessionId: '', bearer: '', client })
  }
  await enrolled()
  const first = await mailbox.next('factor-added', email)
  t.match(first.text, /removes\s+the\s+second\s+factor/)
  t.equal((await ask(browser, '/two-factor/disable', { password })).outcome, '200')
  await mailbox.next('factor-removed', email)
  await enrolled()
  const second = await mailbox.next('factor-added', email)

  t.equal((await ask(new Browser(url), '/not-me', { token: first.token })).outcome, '200')
  t.match(await sessionState(browser), /^401 /)
  t.match(
    (await signIn(email, password)).body,
    { twoFactorRedirect: true },
    'the factor of the first notice was gone already: the one of now stays'
  )
  t.equal((await ask(new Browser(url), '/not-me', { token: second.token })).outcome, '200')
  const { outcome, body } = await signIn(email, password)
  t.equal(outcome, '200')
  t.equal(body['twoFactorRedirect'], undefined, 'its owner is not asked for a factor of a thief')
  t.equal(await prisma.twoFactor.count({ where: { userId: id } }), 0)
  const removal = await mailbox.next('factor-removed', email)
  t.equal(removal.link, '', 'nobody is told how to undo that')
})

t.test('a proof of one account is not sent for another', async (t) => {
  const newEmail = newAddress()
  for (let n = 0; n < 3; n++) {
    const stranger = new Browser(url)
    await signUpAt(stranger, newAddress())
    t.equal((await ask(stranger, '/change-email', { newEmail })).outcome, '200')
    await mailbox.next('change-verify', newEmail)
  }
  const browser = new Browser(url)
  const id = await signUpAt(browser, newAddress())
  t.equal((await ask(browser, '/change-email', { newEmail })).outcome, '200')
  const { token } = await mailbox.next('change-verify', newEmail)
  t.equal((await ask(browser, '/verify-email', { token })).outcome, '200')
  t.equal((await prisma.user.findUnique({ where: { id } }))?.email, newEmail)
})

t.test('a change of address is confirmed as it was asked for last', async (t) => {
  const { browser, email } = await someone()
  const wanted = [newAddress(), newAddress(), newAddress(), newAddress()]
  const tokens: string[] = []
  for (const newEmail of wanted) {
    await letMailsAge(email)
    t.equal((await ask(browser, '/change-email', { newEmail })).outcome, '200')
    const mail = await mailbox.next('change-confirm', email)
    t.match(mail.text, newEmail)
    tokens.push(mail.token)
  }
  t.equal((await ask(browser, '/verify-email', { token: tokens[0] })).outcome, '400 INVALID_TOKEN')
  t.equal((await ask(browser, '/verify-email', { token: tokens[3] })).outcome, '200')
  await mailbox.next('change-verify', wanted[3] ?? '')
})

t.test('an address that was taken in the meantime is refused', async (t) => {
  for (const by of ['link', 'code']) {
    const browser = new Browser(url)
    await signUpAt(browser, newAddress())
    const newEmail = newAddress()
    await ask(browser, '/change-email', { newEmail })
    const { token, code } = await mailbox.next('change-verify', newEmail)
    await signUpAt(new Browser(url), newEmail)
    const { outcome } =
      by === 'link'
        ? await ask(browser, '/verify-email', { token })
        : await ask(browser, '/email-otp/change-email', { newEmail, otp: code })
    t.match(outcome, /^400 /)
  }
})

t.test('R3: a code counts where it was asked for, and five wrong ones end it', async (t) => {
  const { email } = await someone()
  const browser = new Browser(url)
  const { code, token } = await mailFor(mailbox, browser, email, 'sign-in')
  const sign = (by: Browser, otp: string) => ask(by, '/sign-in/email-otp', { email, otp })
  t.equal((await sign(new Browser(url), code)).outcome, '400 INVALID_OTP')
  const elsewhere = new Browser(url)
  await ask(elsewhere, '/email-otp/send-verification-otp', { email, type: 'sign-in' })
  t.equal((await sign(elsewhere, code)).outcome, '400 INVALID_OTP', 'the handle of another browser')
  for (let n = 0; n < 4; n++)
    t.equal((await sign(browser, wrongOf(code))).outcome, '400 INVALID_OTP')
  const fifth = new Browser(url)
  for (const [name, value] of browser.cookies) fifth.cookies.set(name, value)
  t.equal((await sign(fifth, wrongOf(code))).outcome, '400 INVALID_OTP')
  t.equal((await sign(browser, code)).outcome, '403 TOO_MANY_ATTEMPTS')
  t.equal(
    (await ask(browser, '/magic-link/verify', { token })).outcome,
    '400 INVALID_TOKEN',
    'the link has ended with it'
  )
})

t.test('R3: of fifty tries at once five count', async (t) => {
  const { email } = await someone()
  const browser = new Browser(url)
  const { code } = await mailFor(mailbox, browser, email, 'sign-in')
  const tries = await Promise.all(
    Array.from({ length: 50 }, (_one, n) =>
      untilKnown(() =>
        ask(n % 2 ? withCookiesOf(browser) : atOther(browser), '/sign-in/email-otp', {
          email,
          otp: wrongOf(code)
        })
      )
    )
  )
  const looked = tries.filter(({ outcome }) => outcome === '400 INVALID_OTP').length
  const ended = tries.filter(({ outcome }) => outcome === '403 TOO_MANY_ATTEMPTS').length
  // A try that was answered 503 may have counted.
  t.ok(looked <= 5, `${looked} were looked at`)
  t.equal(looked + ended, 50)
})

/** Repeats a request while a busy machine answers 503: that is not known, then. */
async function untilKnown(send: () => Promise<MailAnswer>): Promise<MailAnswer> {
  return until('an answer other than 503', async () => {
    const answer = await send()
    return answer.status === 503 ? null : answer
  })
}

function atOther(browser: Browser): Browser {
  const twin = new Browser(other.url)
  for (const [name, value] of browser.cookies) twin.cookies.set(name, value)
  return twin
}

t.test('R3: twenty wrong codes a day for an address, then links only', async (t) => {
  const { email } = await someone()
  const browser = new Browser(url)
  for (const [kind, path] of [
    ['sign-in', '/sign-in/email-otp'],
    ['reset', '/email-otp/reset-password']
  ] as const) {
    for (let n = 0; n < 3; n++) {
      await letMailsAge(email)
      await mailFor(mailbox, browser, email, kind)
    }
    await Promise.all(
      Array.from({ length: 20 }, () =>
        ask(withCookiesOf(browser), path, { email, otp: '000000', password: NEW_PASSWORD })
      )
    )
  }
  const { _sum } = await prisma.proof.aggregate({
    where: { email, purpose: { in: ['sign-in', 'reset'] } },
    _sum: { wrongCodes: true }
  })
  t.ok((_sum.wrongCodes ?? 0) <= 22, `${_sum.wrongCodes} tries`)
  await prisma.proof.updateMany({ where: { email }, data: { usedAt: new Date() } })
  await letMailsAge(email)
  const { code, token } = await mailFor(mailbox, browser, email, 'sign-in')
  t.equal(
    (await ask(browser, '/sign-in/email-otp', { email, otp: code })).outcome,
    '403 TOO_MANY_ATTEMPTS'
  )
  t.equal((await ask(browser, '/magic-link/verify', { token })).outcome, '200')
})

/** All that requests and wrong codes for an address are answered. */
async function steps(email: string): Promise<unknown[]> {
  const browser = new Browser(url)
  const seen: unknown[] = []
  for (const [path, body] of [
    ['/request-password-reset', { email }],
    ['/email-otp/send-verification-otp', { email, type: 'sign-in' }],
    ['/email-otp/send-verification-otp', { email, type: 'forget-password' }],
    ['/email-otp/send-verification-otp', { email, type: 'email-verification' }],
    ['/send-verification-email', { email }],
    ['/sign-in/magic-link', { email }],
    ['/forget-password/email-otp', { email }],
    ['/email-otp/request-password-reset', { email }]
  ] as const) {
    const response = await browser.post(`/api/auth${path}`, body)
    seen.push(response.status, await response.text(), [...response.headers.keys()])
  }
  seen.push([...browser.cookies.keys()])
  for (const [path, body] of [
    ['/sign-in/email-otp', {}],
    ['/email-otp/reset-password', { password: NEW_PASSWORD }],
    ['/email-otp/verify-email', {}],
    ['/email-otp/check-verification-otp', { type: 'sign-in' }]
  ] as const)
    for (let n = 0; n < 7; n++)
      seen.push(await ask(browser, path, { ...body, email, otp: 'no code' }))
  return seen
}

t.test('R3: known and unknown addresses answer and count alike', async (t) => {
  const { email: known } = await someone()
  t.strictSame(await steps(known), await steps(newAddress()))
})

t.test('R4: three proofs live at once, and using one ends the others', async (t) => {
  const { email } = await someone()
  const tokens: string[] = []
  for (let n = 0; n < 4; n++) {
    await letMailsAge(email)
    tokens.push((await mailFor(mailbox, new Browser(url), email, 'reset')).token)
  }
  t.equal(new Set(tokens).size, 3)
  t.equal(tokens[3], tokens[2], 'the fourth mail carries the newest again')
  for (const token of tokens)
    t.equal((await ask(new Browser(url), '/describe-link', { token })).outcome, '200')
  t.equal((await reset(tokens[0] ?? '')).outcome, '200')
  for (const token of tokens) t.equal((await reset(token)).outcome, '400 INVALID_TOKEN')
})

t.test('R4: a request after a new password is mailed a proof that counts', async (t) => {
  const { browser, email } = await someone()
  for (let n = 0; n < 3; n++) {
    await letMailsAge(email)
    await mailFor(mailbox, new Browser(url), email, 'reset')
  }
  const change = { currentPassword: password, newPassword: NEW_PASSWORD }
  await ask(browser, '/change-password', change)
  await letMailsAge(email)
  const { token } = await mailFor(mailbox, new Browser(url), email, 'reset')
  t.equal((await reset(token, 'yet another one, sir')).outcome, '200')
})

t.test('R4: of one link that is posted many times at once, to all nodes, one counts', async (t) => {
  const { email } = await someone()
  const at = (n: number) => new Browser(n % 2 ? url : other.url)
  const signInMail = await mailFor(mailbox, new Browser(url), email, 'sign-in')
  const signIns = await Promise.all(
    Array.from({ length: 20 }, (_one, n) =>
      untilKnown(() => ask(at(n), '/magic-link/verify', { token: signInMail.token }))
    )
  )
  t.strictSame(outcomes(signIns), ['200', ...Array<string>(19).fill('400 INVALID_TOKEN')])
  const resetMail = await mailFor(mailbox, new Browser(url), email, 'reset')
  const resets = await Promise.all(
    Array.from({ length: 8 }, (_one, n) =>
      untilKnown(() => reset(resetMail.token, NEW_PASSWORD, at(n)))
    )
  )
  t.strictSame(outcomes(resets), ['200', ...Array<string>(7).fill('400 INVALID_TOKEN')])
  const newcomer = newAddress()
  const first = await mailFor(mailbox, new Browser(url), newcomer, 'sign-in')
  const begun = await Promise.all(
    Array.from({ length: 8 }, (_one, n) =>
      untilKnown(() => ask(at(n), '/magic-link/verify', { token: first.token }))
    )
  )
  t.strictSame(outcomes(begun), ['200', ...Array<string>(7).fill('400 INVALID_TOKEN')])
})

t.test('R4: a proof does not outlive its credentials, its address or its time', async (t) => {
  const cases: Record<string, (who: { id: string; email: string; browser: Browser }) => unknown> = {
    'a new password': ({ browser }) =>
      ask(browser, '/change-password', { currentPassword: password, newPassword: NEW_PASSWORD }),
    'the end of all sessions': ({ browser }) => ask(browser, '/revoke-sessions'),
    'another address': ({ id }) => auth.users.update(id, { email: newAddress() }),
    'the end of its time': ({ email }) =>
      prisma.proof.updateMany({ where: { email }, data: { expiresAt: new Date(0) } }),
    'the end of its secret': ({ email }) =>
      prisma.proof.updateMany({ where: { email }, data: { keyId: 'gone' } }),
    'another purpose in the row': ({ email }) =>
      prisma.proof.updateMany({ where: { email, purpose: 'sign-in' }, data: { purpose: 'reset' } }),
    'the end of the account': ({ id }) => prisma.user.delete({ where: { id } })
  }
  for (const [name, change] of Object.entries(cases)) {
    const who = await someone()
    const browser = new Browser(url)
    const { token, code } = await mailFor(mailbox, browser, who.email, 'sign-in')
    await change(who)
    const byLink = await ask(new Browser(url), '/magic-link/verify', { token })
    t.equal(byLink.outcome, '400 INVALID_TOKEN', `${name}: link`)
    const byCode = await ask(browser, '/sign-in/email-otp', { email: who.email, otp: code })
    t.match(byCode.outcome, /^40[03] (INVALID_OTP|TOO_MANY)/, `${name}: code`)
  }
})

t.test('a banned user is signed in by no mail', async (t) => {
  const { email, id } = await someone()
  await auth.users.update(id, { banned: true })
  const browser = new Browser(url)
  const { token, code } = await mailFor(mailbox, browser, email, 'sign-in')
  t.match((await ask(new Browser(url), '/magic-link/verify', { token })).outcome, /^403 /)
  t.match((await ask(browser, '/sign-in/email-otp', { email, otp: code })).outcome, /^40[03] /)
  t.match(await sessionState(browser), /^401 /)
})

t.test('a token counts at the endpoint of its purpose alone', async (t) => {
  const { email } = await someone()
  const browser = new Browser(url)
  const tokens = {
    reset: (await mailFor(mailbox, browser, email, 'reset')).token,
    'sign-in': (await mailFor(mailbox, browser, email, 'sign-in')).token
  }
  for (const [purpose, token] of Object.entries(tokens))
    for (const path of ['/reset-password', '/verify-email', '/magic-link/verify', '/not-me']) {
      if (path === (purpose === 'reset' ? '/reset-password' : '/magic-link/verify')) continue
      const body = { token, newPassword: NEW_PASSWORD, password }
      t.equal((await ask(browser, path, body)).outcome, '400 INVALID_TOKEN', `${purpose} ${path}`)
    }
  for (const token of ['', 'x'.repeat(54), 'A'.repeat(128), '\0'.repeat(54)])
    for (const path of ['/reset-password', '/verify-email', '/magic-link/verify', '/not-me'])
      t.match((await ask(browser, path, { token, newPassword: NEW_PASSWORD })).outcome, /^400 /)
})

/** A user with a second factor. */
async function withFactor() {
  const who = await someone()
  const client = officialClient(who.browser)
  return { ...who, ...(await enrol({ ...who, sessionId: '', bearer: '', client })) }
}

const amrOf = async (browser: Browser) =>
  ((await (await browser.get('/session')).json()) as { session: { amr: string[] } }).session.amr

t.test('a mailed sign-in asks for the second factor', async (t) => {
  for (const by of ['code', 'link']) {
    const { email, id, totpURI } = await withFactor()
    const browser = new Browser(url)
    const mail = await mailFor(mailbox, browser, email, 'sign-in')
    const answer =
      by === 'code'
        ? await ask(browser, '/sign-in/email-otp', { email, otp: mail.code })
        : await ask(browser, '/magic-link/verify', { token: mail.token })
    t.match(answer.body, { twoFactorRedirect: true })
    t.notMatch(JSON.stringify(answer.body), 'hst1_')
    t.match(await sessionState(browser), /^401 /)
    const code = totp(totpURI)
    const shown = await ask(browser, '/two-factor/verify-totp', { code, trustDevice: true })
    t.equal(shown.outcome, '200')
    t.strictSame(await amrOf(browser), ['otp', 'mfa'])

    await ask(browser, '/sign-out')
    const again = await mailFor(mailbox, browser, email, 'sign-in')
    const trusted = await ask(browser, '/magic-link/verify', { token: again.token })
    t.equal(trusted.body['twoFactorRedirect'], undefined, 'a trusted device')
    t.strictSame(await amrOf(browser), ['otp'])

    await nextStep(running, id)
    const app = new App(url)
    const toApp = await mailFor(mailbox, app, email, 'sign-in')
    const pending = await ask(app, '/magic-link/verify', { token: toApp.token })
    t.match(pending.body, { twoFactorRedirect: true })
    t.equal(app.tokens, null)
    const challenge = { 'two-factor-challenge': String(pending.body['challenge']) }
    t.equal(
      (await ask(app, '/two-factor/verify-totp', { code: totp(totpURI) }, challenge)).outcome,
      '200'
    )
    t.ok(app.tokens)
  }
})

t.test('a reset keeps the second factor, and trusts no device', async (t) => {
  const { email, totpURI, id } = await withFactor()
  const browser = new Browser(url)
  await signIn(email, password, browser)
  await ask(browser, '/two-factor/verify-totp', { code: totp(totpURI), trustDevice: true })
  const { token } = await mailFor(mailbox, browser, email, 'reset')
  t.equal((await reset(token)).outcome, '200')
  await nextStep(running, id)
  t.match((await signIn(email, NEW_PASSWORD, browser)).body, { twoFactorRedirect: true })
})

/** Everything that a request could have changed. */
async function contents(): Promise<string> {
  const store = await readStore(prisma)
  return JSON.stringify(
    ['user', 'account', 'session', 'verification', 'two_factor', 'proof', 'mail'].map((name) =>
      store.get(name)
    )
  )
}

t.test('R5: GET and HEAD change nothing', async (t) => {
  const { email } = await someone()
  const browser = new Browser(url)
  const mails = [
    await mailFor(mailbox, browser, email, 'reset'),
    await mailFor(mailbox, browser, email, 'sign-in')
  ]
  const unproven = newAddress()
  await signUpAt(new Browser(url), unproven)
  mails.push(await mailbox.next('verify', unproven))
  await mailsDone()
  const before = await contents()
  for (const { link, token } of mails)
    for (const address of [
      link,
      ...auth.endpoints
        .filter(({ path }) => /mail|magic|reset|not-me|otp|describe|delete-user/.test(path))
        .map(({ path }) => `${url}/api/auth${path.replace(':token', token)}?token=${token}`)
    ])
      for (const method of ['GET', 'HEAD']) {
        const { status } = await new Browser(url).fetch(address, { method })
        if (address !== link)
          t.match(String(status), /^40[45]$/, `${method} ${new URL(address).pathname}`)
      }
  t.equal(await contents(), before)
})

t.test('R6: a mail to an address that was never proven tells nothing that was typed', async (t) => {
  const advertisement = 'Casino-Advertisement'
  const browser = new Browser(url)
  browser.headers = { 'user-agent': `${advertisement}/1.0 (Windows)` }
  const email = newAddress()
  await ask(browser, '/sign-up/email', {
    name: advertisement,
    image: `https://example.com/${advertisement}`,
    email,
    password
  })
  await ask(browser, '/sign-in/magic-link', {
    email: newAddress(),
    name: advertisement,
    callbackURL: `/${advertisement}`
  })
  const unknown = newAddress()
  await ask(browser, '/sign-in/magic-link', {
    email: unknown,
    name: advertisement,
    callbackURL: `${url}/${advertisement}`
  })
  await ask(browser, '/request-password-reset', { email, redirectTo: `/${advertisement}` })
  const theirs = newAddress()
  await ask(browser, '/change-email', { newEmail: theirs, callbackURL: `/${advertisement}` })
  const mails = [
    await mailbox.next('verify', email),
    await mailbox.next('sign-in', unknown),
    await mailbox.next('change-verify', theirs)
  ]
  const resetMail = await mailbox.next('reset', email)
  for (const { kind, subject, text, html } of mails) {
    t.notMatch(`${subject}${text}${html}`, advertisement, kind)
    t.notMatch(`${text}${html}`, /127\.0\.0\.1(?!:)/, `${kind}: no address of the requester`)
  }
  t.notMatch(
    resetMail.text.replace(resetMail.link, ''),
    advertisement,
    'a page of the application is in its link alone'
  )
})

t.test('a new device is told of, and nothing else is', async (t) => {
  const { browser, email, id } = await someone()
  const told = () => prisma.mail.count({ where: { userId: id, kind: 'new-device' } })
  t.equal(await told(), 0, 'the first sign-in is no news')
  await ask(browser, '/sign-out')
  await signIn(email, password, browser)
  t.equal(await told(), 0, 'the same device')
  const oneTime = (await (await browser.get('/api/auth/one-time-token/generate')).json()) as {
    token: string
  }
  const derived = new Browser(url)
  derived.headers = { 'user-agent': 'Derived/1.0' }
  t.equal((await ask(derived, '/one-time-token/verify', { token: oneTime.token })).outcome, '200')
  t.equal(await told(), 0, 'a one-time token')
  const wrong = new Browser(url)
  wrong.headers = { 'user-agent': 'Wrong/1.0' }
  await signIn(email, 'not this one at all', wrong)
  t.equal(await told(), 0, 'a wrong password')
  const device = new Browser(url)
  device.headers = {
    'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
  }
  await signIn(email, password, device)
  t.equal(await told(), 1)
  const notice = await mailbox.next('new-device', email)
  t.match(notice.text, /Firefox/)
  t.match(notice.link, /\/not-me\?token=/)
  await ask(device, '/sign-out')
  await signIn(email, password, device)
  t.equal(await told(), 1, 'the same device again')
})

t.test('a sign-in that waits for its factor is told of with the factor', async (t) => {
  const { email, id, totpURI } = await withFactor()
  const told = () => prisma.mail.count({ where: { userId: id, kind: 'new-device' } })
  const device = new Browser(url)
  device.headers = { 'user-agent': 'Other/1.0' }
  t.match((await signIn(email, password, device)).body, { twoFactorRedirect: true })
  t.equal(await told(), 0)
  await ask(device, '/two-factor/verify-totp', { code: totp(totpURI) })
  t.equal(await told(), 1)
})

t.test(
  'notices of one kind stop at twenty a day, and block no mail that is asked for',
  async (t) => {
    const { email } = await someone()
    for (let n = 0; n < 24; n++) {
      const device = new Browser(url)
      device.headers = { 'user-agent': `Device/${n}` }
      await signIn(email, password, device)
    }
    await mailsDone()
    const all = await mailbox.all(email)
    t.equal(all.filter(({ kind }) => kind === 'new-device').length, 20)
    const { token } = await mailFor(mailbox, new Browser(url), email, 'reset')
    t.equal((await reset(token)).outcome, '200')
  }
)

t.test('an address is mailed a hundred times a day at most, without limits, too', async (t) => {
  const { email } = await someone()
  const unknown = newAddress()
  for (let n = 0; n < 130; n++) {
    if (n % 10 === 0) await mailsDone()
    await letMailsAge(email)
    await ask(new Browser(url), '/email-otp/send-verification-otp', {
      email,
      type: n % 2 ? 'sign-in' : 'forget-password'
    })
    if (n % 10 === 0) await ask(new Browser(url), '/request-password-reset', { email: unknown })
  }
  await mailsDone()
  const mails = (await mailbox.all(email)).length
  t.ok(mails <= 100, `${mails} mails`)
  t.strictSame(await mailbox.all(unknown), [])
})

t.test('many requests at once are one mail', async (t) => {
  const { email } = await someone()
  await Promise.all(
    Array.from({ length: 30 }, (_one, n) =>
      ask(new Browser(n % 2 ? url : other.url), '/request-password-reset', { email })
    )
  )
  await mailsDone()
  const mails = (await mailbox.all(email)).filter(({ kind }) => kind === 'reset')
  t.ok(
    mails.length >= 1 && mails.length <= 3,
    `${mails.length} mails: one for each proof that lives`
  )
  t.equal(await prisma.proof.count({ where: { email, purpose: 'reset' } }), 3)
})
