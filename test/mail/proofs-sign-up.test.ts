import t from 'tap'
import { openMailbox } from '../support/mailbox.js'
import { App, ask, newAddress, signUpAt } from '../support/mail-people.js'
import { until } from '../support/poll.js'
import { Browser, build, password, sessionState } from '../support/server.js'

const mailbox = await openMailbox(t)
const { url, app } = await build(t, { ...mailbox.settings, requireEmailVerification: true })
const { prisma, auth } = app.holdfast

const NEW_PASSWORD = 'a whale in the kitchen sings'
const signIn = (email: string, secret: string, browser = new Browser(url)) =>
  ask(browser, '/sign-in/email', { email, password: secret })

t.test('an account begins with its proof, in the browser that signed up', async (t) => {
  for (const by of ['link', 'code']) {
    const browser = new Browser(url)
    const email = newAddress()
    const id = await signUpAt(browser, email)
    t.notOk(browser.cookies.has(auth.cookieName), 'no session')
    t.equal(await prisma.user.count({ where: { email } }), 0)
    t.equal((await signIn(email, password)).outcome, '401 INVALID_EMAIL_OR_PASSWORD')
    const { token, code } = await mailbox.next('verify', email)
    t.equal(
      by === 'link'
        ? (await ask(browser, '/verify-email', { token })).outcome
        : (await ask(browser, '/email-otp/verify-email', { email, otp: code })).outcome,
      '200'
    )
    t.notOk(browser.cookies.has(auth.cookieName), 'verification begins no session')
    t.match(await prisma.user.findUnique({ where: { email } }), {
      id,
      name: 'Ada Lovelace',
      emailVerified: true
    })
    t.equal((await signIn(email, password)).outcome, '200')
    t.equal((await ask(browser, '/verify-email', { token })).outcome, '400 INVALID_TOKEN')
  }
})

t.test('an app recognises its sign-up by its challenge, and others by the password', async (t) => {
  for (const by of ['challenge', 'password']) {
    const device = new App(url)
    const email = newAddress()
    await signUpAt(device, email)
    const { token } = await mailbox.next('verify', email)
    const { outcome } =
      by === 'challenge'
        ? await ask(device, '/verify-email', { token })
        : await ask(new Browser(url), '/verify-email', { token, password })
    t.equal(outcome, '200')
    t.match(await prisma.user.findUnique({ where: { email } }), { name: 'Ada Lovelace' })
    t.equal((await signIn(email, password)).outcome, '200')
  }
})

t.test("R1: of an attacker's sign-up nothing is left to the attacker", async (t) => {
  const email = newAddress()
  const attacker = new Browser(url)
  await signUpAt(attacker, email)
  const { token } = await mailbox.next('verify', email)
  const victim = new Browser(url)
  t.match((await ask(victim, '/describe-link', { token })).body, {
    purpose: 'sign-up',
    account: null,
    needsPassword: true
  })
  t.equal((await ask(victim, '/verify-email', { token })).outcome, '403 PASSWORD_NEEDED')
  t.equal(
    (await ask(victim, '/verify-email', { token, password: 'not the one' })).outcome,
    '400 INVALID_PASSWORD'
  )
  t.equal((await ask(victim, '/verify-email', { token, newPassword: NEW_PASSWORD })).outcome, '200')
  t.match(await prisma.user.findUnique({ where: { email } }), { name: '', image: null })
  t.equal((await signIn(email, password)).outcome, '401 INVALID_EMAIL_OR_PASSWORD')
  t.equal((await signIn(email, NEW_PASSWORD)).outcome, '200')
})

t.test('R1: passwords that are guessed on a link at once count as at most five', async (t) => {
  const email = newAddress()
  await signUpAt(new Browser(url), email)
  const { token } = await mailbox.next('verify', email)
  const tries = await Promise.all(
    Array.from({ length: 12 }, (_one, n) =>
      ask(new Browser(url), '/verify-email', { token, password: `guess number ${n}` })
    )
  )
  t.equal(tries.filter(({ outcome }) => outcome === '400 INVALID_PASSWORD').length, 5)
  t.equal(tries.filter(({ outcome }) => outcome === '400 INVALID_TOKEN').length, 7)
})

t.test('a sign-up with a known address is answered alike, and its mail says so', async (t) => {
  const email = newAddress()
  const browser = new Browser(url)
  await signUpAt(browser, email)
  const { token } = await mailbox.next('verify', email)
  await ask(browser, '/verify-email', { token })
  const answerTo = async (address: string) => {
    const response = await new Browser(url).post('/api/auth/sign-up/email', {
      name: 'Eve',
      email: address,
      password: NEW_PASSWORD,
      image: 'https://example.com/eve.png'
    })
    const text = (await response.text())
      .replace(/"id":"[^"]+"/, '"id":"…"')
      .replaceAll(/"(created|updated)At":"[^"]+"/g, '"$1At":"…"')
      .replaceAll(address, '…')
    return { status: response.status, text, headers: [...response.headers.keys()] }
  }
  t.strictSame(await answerTo(email), await answerTo(newAddress()))
  const mail = await mailbox.next('already-account', email)
  t.equal(mail.token, '')
  t.equal(mail.code, '')
  t.equal(await prisma.user.count({ where: { email } }), 1)
  t.equal((await signIn(email, password)).outcome, '200')
  t.equal((await signIn(email, NEW_PASSWORD)).outcome, '401 INVALID_EMAIL_OR_PASSWORD')
})

t.test('an unproven account is told so for its right password alone', async (t) => {
  const email = newAddress()
  const browser = new Browser(url)
  await signUpAt(browser, email)
  const { token } = await mailbox.next('verify', email)
  await ask(browser, '/verify-email', { token })
  await prisma.user.update({ where: { email }, data: { emailVerified: false } })
  t.equal((await signIn(email, password)).outcome, '403 EMAIL_NOT_VERIFIED')
  t.equal((await signIn(email, NEW_PASSWORD)).outcome, '401 INVALID_EMAIL_OR_PASSWORD')
})

t.test('a sign-up is mailed again, in the browser that signed up', async (t) => {
  const email = newAddress()
  const browser = new Browser(url)
  await signUpAt(browser, email)
  const { token } = await mailbox.next('verify', email)
  await ask(browser, '/send-verification-email', { email })
  t.equal((await mailbox.next('verify', email)).token, token)
  t.equal((await ask(browser, '/verify-email', { token })).outcome, '200')
})

t.test('R4: of one sign-up that is proven many times at once, one account begins', async (t) => {
  const email = newAddress()
  const browser = new Browser(url)
  await signUpAt(browser, email)
  await signUpAt(new Browser(url), email, NEW_PASSWORD)
  const first = await mailbox.next('verify', email)
  const second = await mailbox.next('verify', email)
  const tries = await Promise.all(
    Array.from({ length: 12 }, (_one, n) =>
      ask(browser, '/verify-email', {
        token: n % 2 ? first.token : second.token,
        newPassword: NEW_PASSWORD
      })
    )
  )
  t.equal(tries.filter(({ outcome }) => outcome === '200').length, 1)
  t.ok(tries.every(({ outcome }) => outcome === '200' || outcome === '400 INVALID_TOKEN'))
  t.equal(await prisma.user.count({ where: { email } }), 1)
})

t.test('a sign-up from another origin gives no handle', async (t) => {
  const foreign: Record<string, string>[] = [
    { origin: 'https://evil.example.com' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', origin: 'null' }
  ]
  for (const headers of foreign) {
    const browser = new Browser(url)
    const { status } = await ask(
      browser,
      '/sign-up/email',
      { name: 'Eve', email: newAddress(), password },
      headers
    )
    t.equal(status, 403)
    t.equal(browser.cookies.size, 0)
  }
})

t.test('a sign-up whose waiting password is wrong at last still ends', async (t) => {
  const email = newAddress()
  await signUpAt(new Browser(url), email)
  await mailbox.next('verify', email)
  await prisma.proof.updateMany({ where: { email }, data: { expiresAt: new Date(0) } })
  const browser = new Browser(url)
  await signUpAt(browser, email)
  const { token } = await mailbox.next('verify', email)
  t.equal((await ask(browser, '/verify-email', { token })).outcome, '200')
  t.match(await sessionState(browser), /^401 /)
  await until(
    'no mail that waits',
    async () => (await prisma.mail.count({ where: { sentAt: null } })) === 0
  )
})
