import { createAuthClient } from 'better-auth/client'
import { emailOTPClient, magicLinkClient, twoFactorClient } from 'better-auth/client/plugins'
import t from 'tap'
import { enrol, newPerson, totp } from '../support/device.js'
import { buildWithMail } from '../support/page-mail.js'
import { Browser, password, sessionState, signIn, signUp, type Person } from '../support/server.js'

/*
 * better-auth's official client, unmodified, with the plugins that lead through a mailbox. The two
 * calls that are GET by themselves are told to POST: links are opened by scanners of mail.
 */
const running = await buildWithMail(t)
const { url, mails } = running
const { prisma } = running.app.holdfast
const newPassword = 'wrong zebra capacitor clip'
const post = { method: 'POST' as const }

function mailClient(browser: Browser) {
  return createAuthClient({
    baseURL: browser.url,
    plugins: [emailOTPClient(), magicLinkClient(), twoFactorClient()],
    fetchOptions: {
      customFetchImpl: async (input, init) =>
        browser.fetch(new URL(input instanceof Request ? input.url : input).href, init)
    }
  })
}

const tokenOf = ({ link }: { link: string }) => new URL(link, url).searchParams.get('token') ?? ''

/** Somebody with a session, whose mail of the sign-up was read. */
async function newMember(): Promise<Person & { client: ReturnType<typeof mailClient> }> {
  const person = await signUp(url)
  await mails.read(person.email, /^Confirm your address/)
  return { ...person, client: mailClient(person.browser) }
}

/** The same, who has followed the link. */
async function newProven() {
  const person = await signUp(url)
  const token = tokenOf(await mails.read(person.email, /^Confirm your address/))
  const client = mailClient(person.browser)
  await client.verifyEmail({ query: { token }, fetchOptions: post })
  return { ...person, client }
}

const isProven = async ({ id }: Person) =>
  (await prisma.user.findUniqueOrThrow({ where: { id } })).emailVerified

t.test(
  'a forgotten password is set anew by the link of a mail, and every session ends',
  async (t) => {
    const ada = await newMember()
    const client = mailClient(new Browser(url))
    t.match(await client.requestPasswordReset({ email: ada.email }), {
      error: null,
      data: { status: true }
    })
    const token = tokenOf(await mails.read(ada.email, /^Set a new password/))
    t.match(await client.resetPassword({ newPassword, token }), {
      error: null,
      data: { status: true }
    })
    t.match((await client.resetPassword({ newPassword, token })).error, {
      status: 400,
      code: 'INVALID_TOKEN'
    })
    t.equal(await sessionState(ada.browser), '401 session_revoked')
    t.equal(await sessionState((await signIn(url, ada.email, newPassword)).browser), 'valid')
  }
)

t.test('a forgotten password is set anew by the code, in the client that asked', async (t) => {
  const ada = await newMember()
  const client = mailClient(new Browser(url))
  t.match(await client.emailOtp.requestPasswordReset({ email: ada.email }), {
    error: null,
    data: { success: true }
  })
  const { code: otp } = await mails.read(ada.email, /^Set a new password/)
  const form = { email: ada.email, otp, password: newPassword }
  t.match((await mailClient(new Browser(url)).emailOtp.resetPassword(form)).error, {
    status: 400,
    code: 'INVALID_OTP'
  })
  t.match(await client.emailOtp.resetPassword(form), { error: null, data: { success: true } })
  t.equal(await sessionState(ada.browser), '401 session_revoked')
  t.equal(await sessionState((await signIn(url, ada.email, newPassword)).browser), 'valid')
})

t.test('an address is verified by the link, which begins no session', async (t) => {
  const ada = await signUp(url)
  const client = mailClient(ada.browser)
  const token = tokenOf(await mails.read(ada.email, /^Confirm your address/))
  t.match((await client.verifyEmail({ query: { token } })).error, { status: 405 })
  t.equal(await isProven(ada), false, 'a GET verifies nothing')
  const cookies = new Map(ada.browser.cookies)
  t.match(await client.verifyEmail({ query: { token }, fetchOptions: post }), {
    error: null,
    data: { status: true }
  })
  t.equal(await isProven(ada), true)
  t.strictSame(ada.browser.cookies, cookies)
  t.match(await client.sendVerificationEmail({ email: ada.email }), {
    error: { status: 400, code: 'EMAIL_ALREADY_VERIFIED' }
  })
})

t.test('an address is verified by the code', async (t) => {
  const ada = await newMember()
  t.match(
    await ada.client.emailOtp.sendVerificationOtp({
      email: ada.email,
      type: 'email-verification'
    }),
    { error: null, data: { success: true } }
  )
  const { code: otp } = await mails.read(ada.email, /^Confirm your address/)
  t.match(
    await ada.client.emailOtp.checkVerificationOtp({
      email: ada.email,
      type: 'email-verification',
      otp
    }),
    { error: null, data: { success: true } }
  )
  t.match(await ada.client.emailOtp.verifyEmail({ email: ada.email, otp }), {
    error: null,
    data: { status: true, token: null, user: { id: ada.id, emailVerified: true } }
  })
})

t.test('an address changes once both have said so, by links', async (t) => {
  const ada = await newProven()
  const newEmail = `new-${ada.email}`
  t.match(await ada.client.changeEmail({ newEmail }), { error: null, data: { status: true } })
  const confirm = tokenOf(await mails.read(ada.email, /^Confirm your new address/))
  t.match(await ada.client.verifyEmail({ query: { token: confirm }, fetchOptions: post }), {
    error: null
  })
  const verify = tokenOf(await mails.read(newEmail, /^Confirm this address/))
  t.match(await ada.client.verifyEmail({ query: { token: verify }, fetchOptions: post }), {
    error: null
  })
  t.match(await prisma.user.findUniqueOrThrow({ where: { id: ada.id } }), {
    email: newEmail,
    emailVerified: true
  })
  t.ok(await mails.read(ada.email, /^Your address .* was changed/), 'the old address is told')
})

t.test('an address changes once both have said so, by codes', async (t) => {
  const ada = await newProven()
  const newEmail = `new-${ada.email}`
  t.match(await ada.client.emailOtp.requestEmailChange({ newEmail }), { error: null })
  const { code } = await mails.read(ada.email, /^Confirm your new address/)
  t.match(await ada.client.emailOtp.requestEmailChange({ newEmail, otp: code }), {
    error: null,
    data: { success: true }
  })
  const { code: otp } = await mails.read(newEmail, /^Confirm this address/)
  t.match(await ada.client.emailOtp.changeEmail({ newEmail, otp }), {
    error: null,
    data: { success: true }
  })
  t.match(await prisma.user.findUniqueOrThrow({ where: { id: ada.id } }), { email: newEmail })
})

t.test('a code signs in the client that asked for it', async (t) => {
  const { email, id } = await newMember()
  const client = mailClient(new Browser(url))
  await client.emailOtp.sendVerificationOtp({ email, type: 'sign-in' })
  const { code: otp } = await mails.read(email, /^Sign in/)
  t.match((await mailClient(new Browser(url)).signIn.emailOtp({ email, otp })).error, {
    status: 400,
    code: 'INVALID_OTP'
  })
  t.match(await client.signIn.emailOtp({ email, otp }), { error: null, data: { user: { id } } })
  t.match(await client.getSession(), { data: { user: { id, emailVerified: true } } })
})

t.test(
  'a link signs in the browser that posts it, and begins an account for a new address',
  async (t) => {
    const email = `eve-${crypto.randomUUID()}@example.com`
    const browser = new Browser(url)
    const client = mailClient(browser)
    t.match(await client.signIn.magicLink({ email, name: 'Eve', callbackURL: '/home' }), {
      error: null,
      data: { status: true }
    })
    const token = tokenOf(await mails.read(email, /^Sign in/))
    t.match((await client.magicLink.verify({ query: { token } })).error, { status: 405 })
    t.match(await client.magicLink.verify({ query: { token }, fetchOptions: post }), {
      error: null,
      data: { user: { email, name: 'Eve' }, callbackURL: `${url}/home` }
    })
    t.equal(await sessionState(browser), 'valid')
  }
)

t.test('a second factor is asked for after a code as after a password', async (t) => {
  const device = await newPerson(url)
  const { totpURI } = await enrol(device)
  const browser = new Browser(url)
  const client = mailClient(browser)
  await client.emailOtp.sendVerificationOtp({ email: device.email, type: 'sign-in' })
  const { code: otp } = await mails.read(device.email, /^Sign in/)
  t.match(await client.signIn.emailOtp({ email: device.email, otp }), {
    error: null,
    data: { twoFactorRedirect: true, twoFactorMethods: ['totp'] }
  })
  t.equal(await sessionState(browser), '401 credential_missing')
  t.match(await client.twoFactor.verifyTotp({ code: totp(totpURI) }), { error: null })
  t.equal(await sessionState(browser), 'valid')
  t.match((await client.signIn.email({ email: device.email, password })).error, null)
})
