import t from 'tap'
import { openMailbox } from '../support/mailbox.js'
import { App, ask, mailFor, newAddress, newProven, signUpAt } from '../support/mail-people.js'
import { Browser, build, sessionState } from '../support/server.js'

const mailbox = await openMailbox(t)
const running = await build(t, mailbox.settings)
const { url } = running
const { prisma, auth } = running.app.holdfast
const NEW_PASSWORD = 'a whale in the kitchen sings'

const requests = [
  '/request-password-reset',
  '/send-verification-email',
  '/sign-in/magic-link',
  '/forget-password/email-otp',
  '/email-otp/request-password-reset',
  '/email-otp/send-verification-otp'
]

t.test('what is no address is refused, and never answered 5xx', async (t) => {
  const wrong = [
    '',
    'ada',
    'ada@example.com,eve@example.com',
    'ada@example.com\r\nBcc: eve@example.com',
    'ada@example.com\0',
    'Ada <ada@example.com>',
    `${'a'.repeat(400)}@example.com`,
    'ada@\u{1f40b}.example',
    '\ud800@example.com',
    7,
    null,
    ['ada@example.com'],
    { contains: '@' }
  ]
  for (const path of requests)
    for (const email of wrong) {
      const { status } = await ask(new Browser(url), path, { email, type: 'sign-in' })
      t.equal(status, 400, `${path} ${JSON.stringify(email)}`)
    }
})

t.test('the case of an address does not matter, and look-alikes are nobody else', async (t) => {
  const { email } = await newProven(running, mailbox, `kim-${newAddress()}`)
  const browser = new Browser(url)
  const { code } = await mailFor(mailbox, browser, email, 'sign-in')
  t.equal(
    (
      await ask(browser, '/sign-in/email-otp', {
        email: email.toUpperCase(),
        otp: ` ${code.slice(0, 3)} ${code.slice(3)}`
      })
    ).outcome,
    '200'
  )
  // The Kelvin sign is a k in lower case: the mail goes to the address of the account, in ASCII.
  const kelvin = `\u212a${email.slice(1)}`
  const { status } = await ask(new Browser(url), '/request-password-reset', { email: kelvin })
  t.ok(status === 200 || status === 400)
  if (status === 200) t.equal((await mailbox.next('reset', email)).to, email)
})

t.test('long and odd codes and tokens are refused', async (t) => {
  const email = newAddress()
  for (const otp of ['', '1'.repeat(17), '\0\0\0\0\0\0', '１２３４５６', 123456, null, ['123456']])
    for (const path of [
      '/sign-in/email-otp',
      '/email-otp/verify-email',
      '/email-otp/reset-password'
    ])
      t.equal(
        (await ask(new Browser(url), path, { email, otp, password: NEW_PASSWORD })).status,
        400
      )
})

t.test('R7: an address of another origin is refused', async (t) => {
  const foreign = [
    'https://evil.example.com/',
    '//evil.example.com',
    String.raw`/\evil.example.com`,
    'https:evil.example.com',
    'javascript:alert(1)',
    'data:text/html,x',
    `${url}@evil.example.com/`,
    `${url}.evil.example.com/`,
    '/\t/evil.example.com',
    'http://[',
    '\u0000'
  ]
  for (const address of foreign) {
    const email = newAddress()
    for (const [path, field] of [
      ['/request-password-reset', 'redirectTo'],
      ['/sign-in/magic-link', 'callbackURL']
    ] as const) {
      const { status } = await ask(new Browser(url), path, { email, [field]: address })
      t.match(String(status), /^40[03]$/, `${path} ${address}`)
    }
    t.equal(await prisma.proof.count({ where: { email } }), 0)
  }
  const { email } = await newProven(running, mailbox)
  await ask(new Browser(url), '/request-password-reset', { email, redirectTo: '/own/reset?a=1' })
  const { link, token } = await mailbox.next('reset', email)
  t.equal(link, `${url}/own/reset?a=1&token=${token}`)
})

t.test('a request from a page of another origin is refused', async (t) => {
  const email = newAddress()
  for (const path of requests.filter((each) => !/verification-email|forget|request/.test(each))) {
    const { status } = await ask(
      new Browser(url),
      path,
      { email, type: 'sign-in' },
      { origin: 'https://evil.example.com', cookie: 'a=b' }
    )
    t.equal(status, 403, path)
  }
})

t.test(
  'R3: a handle is taken from the header, else from the cookie, and from nowhere else',
  async (t) => {
    const { email } = await newProven(running, mailbox)
    const browser = new Browser(url)
    const { code } = await mailFor(mailbox, browser, email, 'sign-in')
    const mine = browser.cookies.get(auth.mailCookie) ?? ''
    t.match(mine, /^[\w-]{32}$/)
    const check = (headers: Record<string, string>) =>
      ask(
        new Browser(url),
        '/email-otp/check-verification-otp',
        { email, otp: code, type: 'sign-in' },
        headers
      )
    t.equal((await check({})).outcome, '400 INVALID_OTP')
    t.equal((await check({ 'mail-challenge': mine })).outcome, '200')
    t.equal((await check({ cookie: `${auth.mailCookie}=${mine}` })).outcome, '200')
    for (const challenge of ['', 'x', mine.slice(1), `${mine}, ${mine}`, 'A'.repeat(32)])
      t.equal(
        (await check({ 'mail-challenge': challenge, cookie: `${auth.mailCookie}=${mine}` }))
          .outcome,
        '400 INVALID_OTP',
        'a header that is wrong is not made up for by the cookie'
      )
    const twice = `${auth.mailCookie}=${'A'.repeat(32)}; ${auth.mailCookie}=${mine}`
    t.equal((await check({ cookie: twice })).outcome, '400 INVALID_OTP', 'the first cookie counts')
  }
)

t.test('an app is given a challenge, and a browser a cookie, for every address', async (t) => {
  for (const path of requests) {
    const app = new App(url)
    const response = await app.post(`/api/auth${path}`, { email: newAddress(), type: 'sign-in' })
    t.match(await response.json(), { challenge: /^[\w-]{32}$/ }, path)
    t.strictSame(response.headers.getSetCookie(), [])
    const browser = new Browser(url)
    const inBrowser = await browser.post(`/api/auth${path}`, {
      email: newAddress(),
      type: 'sign-in'
    })
    t.notMatch(await inBrowser.text(), 'challenge')
    t.match(inBrowser.headers.getSetCookie().join(), /holdfast\.mail=[\w-]{32};.*HttpOnly/i)
  }
})

t.test('R5: a link signs in the browser that posts it alone', async (t) => {
  const { email } = await newProven(running, mailbox)
  const asking = new Browser(url)
  const { token } = await mailFor(mailbox, asking, email, 'sign-in')
  const posting = new Browser(url)
  t.match((await ask(posting, '/describe-link', { token })).body, {
    askedHere: false,
    account: email
  })
  t.equal((await ask(posting, '/magic-link/verify', { token })).outcome, '200')
  t.equal(await sessionState(posting), 'valid')
  t.match(await sessionState(asking), /^401 /)
})

t.test('a verification in the session of another account changes nothing there', async (t) => {
  const other = await newProven(running, mailbox)
  const email = newAddress()
  await signUpAt(new Browser(url), email)
  const { token } = await mailbox.next('verify', email)
  t.equal((await ask(other.browser, '/verify-email', { token })).outcome, '403 PASSWORD_NEEDED')
  t.equal(
    (await ask(other.browser, '/verify-email', { token, newPassword: NEW_PASSWORD })).outcome,
    '200'
  )
  t.equal(await sessionState(other.browser), 'valid')
})

t.test('a change of address takes a recent sign-in and its own session', async (t) => {
  const { browser, email, id } = await newProven(running, mailbox)
  const eve = await newProven(running, mailbox)
  const newEmail = newAddress()
  t.equal((await ask(new Browser(url), '/change-email', { newEmail })).status, 401)
  await prisma.session.updateMany({ where: { userId: id }, data: { reauthAt: new Date(0) } })
  for (const path of ['/change-email', '/email-otp/request-email-change'])
    t.equal((await ask(browser, path, { newEmail })).outcome, '403 SESSION_NOT_FRESH')
  await ask(browser, '/sign-out')
  await ask(browser, '/sign-in/email', { email, password: 'correct horse battery staple' })
  t.equal((await ask(browser, '/email-otp/request-email-change', { newEmail })).outcome, '200')
  const { code: otp } = await mailbox.next('change-confirm', email)
  t.match(
    (await ask(browser, '/email-otp/request-email-change', { newEmail: newAddress(), otp }))
      .outcome,
    /^400 /,
    'a code is for one new address'
  )
  t.match(
    (await ask(eve.browser, '/email-otp/request-email-change', { newEmail, otp })).outcome,
    /^400 /
  )
  t.equal((await ask(browser, '/email-otp/request-email-change', { newEmail, otp })).outcome, '200')
  const { code } = await mailbox.next('change-verify', newEmail)
  t.match(
    (await ask(eve.browser, '/email-otp/change-email', { newEmail, otp: code })).outcome,
    /^400 /
  )
  t.equal((await ask(browser, '/email-otp/change-email', { newEmail, otp: code })).outcome, '200')
  t.equal((await prisma.user.findUnique({ where: { id } }))?.email, newEmail)
})

t.test('a page of another origin signs nobody in', async (t) => {
  const { email } = await newProven(running, mailbox)
  const asking = new Browser(url)
  const { token, code } = await mailFor(mailbox, asking, email, 'sign-in')
  const handle = `${auth.mailCookie}=${asking.cookies.get(auth.mailCookie)}`
  const origins: Record<string, string>[] = [
    {
      origin: 'https://evil.example.com',
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document'
    },
    {
      origin: 'null',
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document'
    }
  ]
  for (const origin of origins)
    for (const [path, body] of [
      ['/magic-link/verify', { token }],
      [`/magic-link/verify?token=${token}`, {}],
      ['/sign-in/email-otp', { email, otp: code }]
    ] as const)
      for (const [type, text] of [
        ['application/json', JSON.stringify(body)],
        ['application/x-www-form-urlencoded', new URLSearchParams(body).toString()],
        ['text/plain', JSON.stringify(body)]
      ] as const)
        for (const cookie of ['', handle]) {
          const browser = new Browser(url)
          const response = await browser.fetch(`/api/auth${path}`, {
            method: 'POST',
            body: text,
            headers: { ...origin, 'content-type': type, ...(cookie === '' ? {} : { cookie }) }
          })
          t.match(
            String(response.status),
            /^4(03|15|00)$/,
            `${path} ${type} ${cookie} ${response.status}`
          )
          t.notOk(browser.cookies.has(auth.cookieName), `${path} ${type}`)
        }
  t.equal((await ask(new Browser(url), '/magic-link/verify', { token })).outcome, '200')
})
