import t from 'tap'
import { openMailbox } from '../support/mailbox.js'
import { ask, newAddress, newProven } from '../support/mail-people.js'
import { until } from '../support/poll.js'
import { Browser, build } from '../support/server.js'

const requests = [
  ['/request-password-reset', {}],
  ['/email-otp/send-verification-otp', { type: 'sign-in' }],
  ['/sign-in/magic-link', {}],
  ['/send-verification-email', {}],
  ['/forget-password/email-otp', {}],
  ['/email-otp/request-password-reset', {}],
  ['/email-otp/send-verification-otp', { type: 'email-verification' }]
] as const

t.test('all endpoints together send an address five mails in a quarter of an hour', async (t) => {
  const mailbox = await openMailbox(t)
  const running = await build(t, { ...mailbox.settings, rateLimit: true })
  const { prisma } = running.app.holdfast
  const { email } = await newProven(running, mailbox)
  for (const address of [email, newAddress(), email.toUpperCase()]) {
    const outcomes: string[] = []
    for (const [path, body] of requests) {
      // As if each was asked for an hour after the one before: no mail stands in for another.
      await prisma.mail.updateMany({
        data: { sentAt: new Date(0) },
        where: { sentAt: { not: null } }
      })
      outcomes.push(
        (await ask(new Browser(running.url), path, { ...body, email: address })).outcome
      )
    }
    t.strictSame(
      outcomes.map((outcome) => outcome.slice(0, 3)),
      address === email.toUpperCase()
        ? Array<string>(7).fill('429')
        : ['200', '200', '200', '200', '200', '429', '429'],
      'a known address, an unknown one, and the known one in capitals'
    )
  }
  await until(
    'an empty outbox',
    async () => (await prisma.mail.count({ where: { sentAt: null, failedAt: null } })) === 0
  )
  // The sign-up has sent one.
  t.ok((await mailbox.all(email)).length <= 6)
})

t.test('one client asks for thirty mails a minute, to whatever addresses', async (t) => {
  const mailbox = await openMailbox(t)
  const { url } = await build(t, { ...mailbox.settings, rateLimit: true })
  const answers = await Promise.all(
    Array.from({ length: 50 }, () =>
      ask(new Browser(url), '/request-password-reset', { email: newAddress() })
    )
  )
  t.equal(answers.filter(({ status }) => status === 200).length, 30)
  t.equal(answers.filter(({ status }) => status === 429).length, 20)
})

t.test('wrong codes of one client are thirty an hour, and right ones cost nothing', async (t) => {
  const mailbox = await openMailbox(t)
  const { url } = await build(t, { ...mailbox.settings, rateLimit: true })
  const outcomes: string[] = []
  for (let n = 0; n < 32; n++)
    outcomes.push(
      (await ask(new Browser(url), '/sign-in/email-otp', { email: newAddress(), otp: '000000' }))
        .outcome
    )
  t.strictSame(outcomes.slice(0, 30), Array<string>(30).fill('400 INVALID_OTP'))
  t.match(outcomes[30], /^429 /)
})

t.test('on https the handle is a cookie that no other host can set or read', async (t) => {
  const mailbox = await openMailbox(t)
  for (const cookieDomain of [undefined, 'example.com']) {
    const { app } = await build(t, {
      ...mailbox.settings,
      baseUrl: 'https://auth.example.com',
      ...(cookieDomain === undefined ? {} : { cookieDomain })
    })
    const answer = await app.inject({
      method: 'POST',
      url: '/api/auth/request-password-reset',
      headers: { host: 'auth.example.com', origin: 'https://auth.example.com' },
      payload: { email: newAddress() }
    })
    const cookie = [answer.headers['set-cookie'] ?? []]
      .flat()
      .find((each) => each.includes('.mail='))
    t.match(cookie, /; HttpOnly/i)
    t.match(cookie, /; Secure/i)
    t.match(cookie, /; SameSite=Lax/i)
    t.match(cookie, /^__Host-/)
    t.notMatch(cookie, /domain=/i)
    await app.close()
  }
})
