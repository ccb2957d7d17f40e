import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { TOKEN_FIELD } from '../../plugins/pages/parts.js'
import { noChromium, openChromium } from '../support/chromium.js'
import { buildWithMail, type Mailboxes, type ReadMail } from '../support/page-mail.js'
import { hiddenFields, PageBrowser, type ShownPage } from '../support/page-browser.js'
import { signUpByPage } from '../support/page-people.js'
import {
  build,
  makeAdmin,
  password,
  sessionState,
  signIn,
  storage,
  type Running
} from '../support/server.js'
import { totpOf } from '../support/totp.js'

type WithMail = Running & { mails: Mailboxes }

const next = 'another horse, battery and staple'
const newAddress = () => `${randomUUID()}@example.com`

const verifySubject = /^Confirm your address/
const resetSubject = /^Set a new password/
const signInSubject = /^Sign in at/

/** Somebody who has signed up, with the mail that proves the address. */
async function signedUp(
  { url, mails }: WithMail,
  email = newAddress()
): Promise<{ browser: PageBrowser; email: string; mail: ReadMail }> {
  const browser = await signUpByPage(url, { name: 'Ada Lovelace', email })
  return { browser, email, mail: await mails.read(email, verifySubject) }
}

/** Somebody whose address is proven. */
async function proven(running: WithMail, email = newAddress()) {
  const person = await signedUp(running, email)
  const shown = await person.browser.submit('/verify-email', { code: person.mail.code })
  if (shown.location !== '/account?done=verified') throw new Error(`verified: ${shown.html}`)
  return person
}

/** Follows redirects by GET to a page. */
async function follow(browser: PageBrowser, shown: ShownPage): Promise<ShownPage> {
  let page = shown
  for (let i = 0; page.location !== null && i < 5; i++) page = await browser.open(page.location)
  return page
}

/** Opens the link of a mail, and asserts that the token leaves the address. */
async function openLink(t: Test, browser: PageBrowser, { link }: ReadMail): Promise<ShownPage> {
  const [path = '', query = ''] = link.split('?')
  const moved = await browser.open(link)
  t.match(moved, { status: 303, location: path })
  const shown = await browser.open(path)
  const token = new URLSearchParams(query).get('token') ?? ''
  t.ok(token.length > 40)
  t.notOk(shown.html.includes(token), 'the token is not on the page')
  return shown
}

/** A page, without what differs for each browser and address. */
const plain = ({ html }: ShownPage, address: string) =>
  html.replaceAll(address, 'x@example.com').replaceAll(/name="form_token" value="[^"]*"/g, '')

/** The user of a browser. */
const idOf = async (browser: PageBrowser) =>
  ((await (await browser.get('/session')).json()) as { user: { id: string } }).user.id

const stateOf = (browser: PageBrowser) => sessionState(browser)

async function turnOnFactor(browser: PageBrowser): Promise<string> {
  await browser.submit(
    '/account/security',
    { password },
    { action: '/account/security/second-factor/on' }
  )
  const { html } = await browser.open('/account/security/second-factor')
  const secret = (/class="secret">([^<]*)/.exec(html)?.[1] ?? '').replaceAll(' ', '')
  await browser.submit('/account/security/second-factor', {
    code: totpOf(secret, Date.now() - 30_000)
  })
  return secret
}

t.test('a forgotten password is set anew by code, and every session ends', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails } = running
  const { email, browser: old } = await signedUp(running)
  const browser = new PageBrowser(url)
  const signInPage = await browser.open('/sign-in?return_to=%2Faccount%2Fsecurity')
  t.match(signInPage.html, 'href="/forgot-password?return_to=%2Faccount%2Fsecurity"')
  const path = '/forgot-password?return_to=%2Faccount%2Fsecurity'
  t.match(await browser.submit(path, { email: 'no address' }), {
    status: 400,
    html: /This is not an e-mail address/
  })
  const asked = await browser.submit(path, { email })
  t.match(asked, { status: 303, location: '/reset-password?return_to=%2Faccount%2Fsecurity' })
  const form = asked.location ?? ''
  const shown = await browser.open(form)
  t.match(shown.html, /Check your mail/)
  t.match(shown.html, new RegExp(email))
  t.match(shown.html, /<input id="code"[^>]*autocomplete="one-time-code"[^>]*inputmode="numeric"/)
  const stranger = new PageBrowser(url)
  const unknown = newAddress()
  const theirs = await follow(stranger, await stranger.submit(path, { email: unknown }))
  t.equal(plain(theirs, unknown), plain(shown, email), 'the same page for every address')

  const mail = await mails.read(email, resetSubject)
  const wrongCode = mail.code === '000000' ? '000001' : '000000'
  t.match(await browser.submit(form, { code: wrongCode, password: next }), {
    status: 400,
    html: /The code is wrong, or has expired/
  })
  t.match(await browser.submit(form, { code: mail.code, password: 'short' }), {
    status: 400,
    html: /at least 8 characters/
  })
  const set = await browser.submit(form, { code: mail.code, password: next })
  t.match(set, {
    status: 303,
    location: '/sign-in?done=reset&return_to=%2Faccount%2Fsecurity'
  })
  t.match((await browser.open(set.location ?? '')).html, /Your new password is set/)
  t.match(await stateOf(old), '401', 'signed out everywhere')
  t.match(
    await browser.submit(
      set.location ?? '',
      { email, password: next },
      {
        action: '/sign-in?return_to=%2Faccount%2Fsecurity'
      }
    ),
    { status: 303, location: '/account/security' }
  )
  t.match(await old.open('/reset-password'), { status: 303, location: '/forgot-password' })
})

t.test(
  'a link sets a new password once, and a program that opens it changes nothing',
  async (t) => {
    const running = await buildWithMail(t)
    const { url, mails } = running
    const { email } = await proven(running)
    const asking = new PageBrowser(url)
    asking.headers = {
      'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
    }
    await asking.submit('/forgot-password', { email })
    const mail = await mails.read(email, resetSubject)
    // As programs that scan mails do.
    for (const method of ['HEAD', 'GET', 'GET'])
      t.equal((await new PageBrowser(url).fetch(mail.link, { method })).status, 303)
    await signIn(url, email)

    const browser = new PageBrowser(url)
    const shown = await openLink(t, browser, mail)
    t.match(shown.html, /asked for in another browser/)
    t.match(shown.html, /Firefox on Linux/)
    t.match(shown.html, /127\.0\.0\.1/)
    t.match(shown.html, new RegExp(`<dd>${email}</dd>`))
    t.notMatch((await openLink(t, asking, mail)).html, /another browser/, 'it is this browser')
    t.match(await browser.submit('/reset-password', { password: 'password' }), {
      status: 400,
      html: /one of the first that are tried|at least 8/
    })
    t.match(await browser.submit('/reset-password', { password: next }), {
      status: 303,
      location: '/sign-in?done=reset'
    })
    await signIn(url, email, next)
    t.match(
      await browser.open('/reset-password'),
      { location: '/forgot-password' },
      'no link is left'
    )
    const dead = await openLink(t, browser, mail)
    t.match(dead, { status: 400, html: /This link does not work any more/ })
    t.match(dead.html, 'href="/forgot-password"', 'what to do next')
    t.match(
      await asking
        .submit('/reset-password', { password: next })
        .catch((error: Error) => error.message),
      /without a form/,
      'the other tab, too'
    )
    t.match(await openLink(t, asking, mail), { status: 400, html: 'href="/reset-password"' })
  }
)

t.test(
  'whose mail is asked for anew goes on with that, and not with a link from before',
  async (t) => {
    const running = await buildWithMail(t)
    const { url, mails } = running
    const [ada, eve] = [await proven(running), await proven(running)]
    const browser = new PageBrowser(url)
    await browser.submit('/forgot-password', { email: ada.email })
    const mail = await mails.read(ada.email, resetSubject)
    await openLink(t, browser, mail)
    const older =
      hiddenFields((await browser.open('/reset-password')).html, '/reset-password') ?? {}
    t.match(await browser.submit('/forgot-password', { email: eve.email }), { status: 303 })
    t.match((await browser.open('/reset-password')).html, eve.email)
    t.match(await browser.send('/reset-password', { ...older, password: next }), {
      status: 400,
      html: /This link does not work any more/
    })
    await signIn(url, ada.email)
    // Two links in two tabs: a form is for its own.
    await mails.read(eve.email, resetSubject).then((other) => openLink(t, browser, other))
    const hers = hiddenFields((await browser.open('/reset-password')).html, '/reset-password') ?? {}
    await openLink(t, browser, mail)
    t.match(await browser.send('/reset-password', { ...hers, password: next }), {
      status: 403,
      html: /Nothing was changed/
    })
    await signIn(url, ada.email)
    await signIn(url, eve.email)
  }
)

t.test(
  'a scanner with script opens every link, and the person confirms after it',
  { skip: noChromium },
  async (t) => {
    const running = await buildWithMail(t)
    const { url, mails, app } = running
    const { email, mail: verify } = await signedUp(running)
    const asking = new PageBrowser(url)
    await asking.submit('/forgot-password', { email })
    await asking.submit('/sign-in/code', { email }, { action: '/sign-in/code/send' })
    const opened = [
      verify,
      await mails.read(email, resetSubject),
      await mails.read(email, signInSubject)
    ]
    const scanner = await (await openChromium(t)).newContext()
    const page = await scanner.newPage()
    const posts: string[] = []
    page.on('request', (request) => {
      if (request.method() !== 'GET') posts.push(request.url())
    })
    for (const { link } of opened) {
      await page.goto(url + link, { waitUntil: 'networkidle' })
      t.equal(new URL(page.url()).search, '')
    }
    t.strictSame(posts, [])
    for (const { link } of opened)
      t.equal((await new PageBrowser(url).fetch(link, { method: 'HEAD' })).status, 303)
    t.match(await app.holdfast.prisma.user.findUniqueOrThrow({ where: { email } }), {
      emailVerified: false
    })
    t.equal(await app.holdfast.prisma.proof.count({ where: { email, usedAt: { not: null } } }), 0)
    await signIn(url, email)
    for (const each of opened.slice(1, 2)) {
      await openLink(t, asking, each)
      t.match(await asking.submit('/reset-password', { password: next }), { status: 303 })
    }
  }
)

t.test('an address is proven in the browser that signed up, by code or by link', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails } = running
  const ada = await signedUp(running)
  const account = await ada.browser.open('/account')
  t.match(account.html, /Your address is not confirmed yet/)
  t.match(await ada.browser.submit('/account', {}, { action: '/verify-email/send' }), {
    status: 303,
    location: '/verify-email?done=sent'
  })
  t.match(await ada.browser.submit('/verify-email', { code: '12' }), {
    status: 400,
    html: /The code is wrong/
  })
  t.match(
    await ada.browser.submit('/verify-email', { code: ` ${ada.mail.code.replace(/^.../, '$& ')}` }),
    {
      status: 303,
      location: '/account?done=verified'
    }
  )
  const done = await ada.browser.open('/account?done=verified')
  t.match(done.html, /Your address is confirmed/)
  t.notMatch(done.html, /not confirmed yet/)
  t.match(await ada.browser.open('/verify-email'), { location: '/account?done=verified' })
  t.match(await openLink(t, ada.browser, ada.mail), { status: 400 })

  const eve = await signedUp(running)
  const shown = await openLink(t, eve.browser, eve.mail)
  t.match(shown.html, new RegExp(`Is ${eve.email} your address`))
  t.notMatch(shown.html, /another browser/)
  t.match(await eve.browser.submit('/verify-email', {}), {
    status: 303,
    location: '/account?done=verified'
  })
  // Signed in elsewhere: the code of the sign-up is asked for anew there.
  const bob = await signedUp(running)
  const elsewhere = new PageBrowser(url)
  await elsewhere.submit('/sign-in', { email: bob.email, password })
  t.match((await elsewhere.open('/verify-email')).html, /We send you a mail/)
  t.match(await elsewhere.submit('/verify-email', {}, { action: '/verify-email/send' }), {
    location: '/verify-email'
  })
  const { code } = await mails.read(bob.email, verifySubject)
  t.match(await elsewhere.submit('/verify-email', { code }), { location: '/account?done=verified' })
})

t.test(
  'in another browser the owner shows the password of the sign-up, or sets a new one',
  async (t) => {
    const running = await buildWithMail(t)
    const { url } = running
    const ada = await signedUp(running)
    const browser = new PageBrowser(url)
    const ways = await openLink(t, browser, ada.mail)
    t.match(ways.html, /I signed up here/)
    t.match(ways.html, /I did not sign up, or do not remember it/)
    t.match(await browser.submit('/verify-email', { way: '' }), {
      status: 403,
      html: /Please say who made the account/
    })
    t.match(await browser.submit('/verify-email', { way: 'known', password: 'wrong password' }), {
      status: 400,
      html: /The password is wrong/
    })
    t.match(await browser.submit('/verify-email', { way: 'known', password }), {
      status: 303,
      location: '/sign-in?done=verified'
    })
    t.match(
      (await browser.open('/sign-in?done=verified')).html,
      /Your address is confirmed. Sign in/
    )
    t.equal(await stateOf(ada.browser), 'valid')

    const eve = await signedUp(running)
    await openLink(t, browser, eve.mail)
    const short = await browser.submit('/verify-email', { way: 'new', new_password: 'short' })
    t.match(short, { status: 400, html: /<input id="new-new_password"[^>]*aria-invalid/ })
    t.match(await browser.submit('/verify-email', { way: 'new', new_password: next }), {
      status: 303,
      location: '/sign-in?done=verified'
    })
    t.match(await stateOf(eve.browser), '401', 'what is older ended')
    await signIn(url, eve.email, next)
    const devices = new PageBrowser(url)
    await devices.submit('/sign-in', { email: eve.email, password: next })
    t.match(
      (await devices.open('/account/sessions')).html,
      /because the owner of the mailbox confirmed the address/
    )
  }
)

t.test('a code in another browser asks for a password as well', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails } = running
  const { email } = await signedUp(running)
  const browser = new PageBrowser(url)
  t.match(await browser.submit('/verify-email', { email }, { action: '/verify-email/send' }), {
    location: '/verify-email'
  })
  const { code } = await mails.read(email, verifySubject)
  t.match(await browser.submit('/verify-email', { code }), {
    status: 403,
    html: /I signed up here[^]*name="code"/
  })
  t.match(await browser.submit('/verify-email', { way: 'known', code, password: 'wrong one' }), {
    status: 400,
    html: /The password is wrong[^]*I signed up here/
  })
  t.match(await browser.submit('/verify-email', { way: 'known', code, password }), {
    location: '/sign-in?done=verified'
  })
})

t.test('REQUIRE_EMAIL_VERIFICATION: the account begins with the proof', async (t) => {
  const running = await buildWithMail(t, { requireEmailVerification: true })
  const { url, mails } = running
  const email = newAddress()
  const browser = new PageBrowser(url)
  const path = '/sign-up?return_to=%2Faccount%2Fsecurity'
  const waiting = await browser.submit(path, { name: 'Ada', email, password })
  t.match(waiting, { status: 303, location: '/verify-email?return_to=%2Faccount%2Fsecurity' })
  const form = waiting.location ?? ''
  t.match((await browser.open(form)).html, /Check your mail/)
  const { code } = await mails.read(email, verifySubject)
  const begun = await browser.submit(form, { code })
  t.match(begun, {
    location: '/sign-in?done=verified&return_to=%2Faccount%2Fsecurity'
  })
  await signIn(url, email)

  // By link, in the same browser and in another one.
  for (const [name, other, fields, secret] of [
    ['here', false, {}, password],
    ['elsewhere', true, { way: 'known', password }, password],
    ['elsewhere, anew', true, { way: 'new', new_password: next }, next]
  ] as const) {
    const address = newAddress()
    const here = new PageBrowser(url)
    await here.submit('/sign-up', { name: 'Eve', email: address, password })
    const there = other ? new PageBrowser(url) : here
    await openLink(t, there, await mails.read(address, verifySubject))
    t.match(
      await there.submit('/verify-email', fields),
      { location: '/sign-in?done=verified' },
      name
    )
    await signIn(url, address, secret)
  }
  // An account that an administrator made.
  await running.app.holdfast.prisma.user.updateMany({
    where: { email },
    data: { emailVerified: false }
  })
  const refused = await browser.submit('/sign-in', { email, password })
  t.match(refused, { status: 403, html: /Your e-mail address is not confirmed yet/ })
  const hidden = hiddenFields(refused.html, '/verify-email/send')
  const sent = [
    ...(/<form[^>]*action="\/verify-email\/send"[^]*?<\/form>/.exec(refused.html) ?? [])
  ].join('')
  t.match(sent, `name="email" value="${email}"`)
  t.match(await browser.send('/verify-email/send', { ...hidden, email }), {
    status: 303,
    location: /^\/verify-email/
  })
  await mails.read(email, verifySubject)
})

t.test('a code or a link of a mail signs in', async (t) => {
  const running = await buildWithMail(t, { trustedOrigins: ['https://app.example.com'] })
  const { url, mails } = running
  const { email } = await proven(running)
  const ask = async (browser: PageBrowser, query = '') =>
    browser.submit(`/sign-in/code${query}`, { email }, { action: `/sign-in/code/send${query}` })
  const browser = new PageBrowser(url)
  t.match((await browser.open('/sign-in')).html, 'href="/sign-in/code"')
  const back = '?return_to=%2Faccount%2Fsessions'
  t.match(await ask(browser, back), { status: 303, location: `/sign-in/code${back}` })
  const { code } = await mails.read(email, signInSubject)
  t.match(await browser.submit(`/sign-in/code${back}`, { code: 'wrong' }), { status: 400 })
  t.match(await browser.submit(`/sign-in/code${back}`, { code }), {
    status: 303,
    location: '/account/sessions'
  })
  t.equal(await stateOf(browser), 'valid')
  t.match(await browser.open('/sign-in/code'), { location: '/account' })

  const asking = new PageBrowser(url)
  await ask(asking, `?return_to=${encodeURIComponent('https://app.example.com/x?y=1')}`)
  const mail = await mails.read(email, signInSubject)
  const there = new PageBrowser(url)
  t.match((await openLink(t, there, mail)).html, /asked for in another browser/)
  t.match(await there.submit('/sign-in/code', {}), {
    status: 200,
    html: 'content="0; url=https://app.example.com/x?y=1"'
  })
  t.equal(await stateOf(there), 'valid')
  t.match(await openLink(t, asking, mail), { status: 400, html: 'href="/sign-in/code?with=other"' })
  t.equal(await stateOf(asking), '401 credential_missing')
})

t.test('a second factor follows a mailed code and a mailed link', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails } = running
  const { email, browser: owner } = await proven(running)
  const secret = await turnOnFactor(owner)
  const browser = new PageBrowser(url)
  const back = '?return_to=%2Faccount%2Fsessions'
  await browser.submit(`/sign-in/code${back}`, { email }, { action: `/sign-in/code/send${back}` })
  const { code } = await mails.read(email, signInSubject)
  t.match(await browser.submit(`/sign-in/code${back}`, { code }), {
    status: 303,
    location: `/second-factor${back}`
  })
  t.match(await stateOf(browser), '401', 'not signed in yet')
  t.match(await browser.submit(`/second-factor${back}`, { code: totpOf(secret) }), {
    status: 303,
    location: '/account/sessions'
  })
  const other = new PageBrowser(url)
  await other.submit('/sign-in/code', { email }, { action: '/sign-in/code/send' })
  await openLink(t, other, await mails.read(email, signInSubject))
  t.match(await other.submit('/sign-in/code', {}), { status: 303, location: '/second-factor' })
  t.match(await stateOf(other), '401')
})

t.test(
  'with another account signed in, nothing happens until the account is switched',
  async (t) => {
    const running = await buildWithMail(t)
    const { url, mails } = running
    const ada = await signedUp(running)
    const eve = await proven(running)
    const asking = new PageBrowser(url)
    await asking.submit('/forgot-password', { email: ada.email })
    await asking.submit('/sign-in/code', { email: ada.email }, { action: '/sign-in/code/send' })
    const reset = await mails.read(ada.email, resetSubject)
    const code = await mails.read(ada.email, signInSubject)
    for (const [path, mail] of [
      ['/verify-email', ada.mail],
      ['/sign-in/code', code],
      ['/reset-password', reset]
    ] as const) {
      const shown = await openLink(t, eve.browser, mail)
      t.match(shown.html, /You are signed in to another account/)
      t.match(shown.html, new RegExp(`${eve.email}[^]*${ada.email}`))
      t.equal(hiddenFields(shown.html, path), null, 'no form does it')
      // A form that was open before.
      const visitor = new PageBrowser(url)
      await openLink(t, visitor, mail)
      const { link } = hiddenFields((await visitor.open(path)).html, path) ?? {}
      const hidden = hiddenFields(shown.html, `${path}/switch`) ?? {}
      t.match(
        await eve.browser.send(path, { ...hidden, link: link ?? '', password: next, way: 'known' }),
        { html: /You are signed in to another account/ }
      )
      t.equal(await stateOf(eve.browser), 'valid')
    }
    await signIn(url, ada.email)
    t.match(await eve.browser.submit('/sign-in/code', {}, { action: '/sign-in/code/switch' }), {
      status: 303,
      location: '/sign-in/code'
    })
    t.match(await stateOf(eve.browser), '401', 'signed out')
    t.match(await eve.browser.submit('/sign-in/code', {}), { status: 303, location: '/account' })
    t.match((await eve.browser.open('/account')).html, ada.email)
  }
)

t.test('an address is changed by codes of the old mailbox and the new one', async (t) => {
  const running = await buildWithMail(t)
  const { mails, app, url } = running
  const { email, browser } = await proven(running)
  const newEmail = newAddress()
  t.match((await browser.open('/account')).html, 'href="/account/email"')
  await app.holdfast.prisma.session.updateMany({ data: { reauthAt: new Date(0) } })
  t.match(await browser.submit('/account/email', { new_email: newEmail }), {
    status: 303,
    location: /^\/sign-in\/confirm\?return_to=/
  })
  await browser.submit('/sign-in/confirm', { password })
  for (const [wrong, text] of [
    ['x', /not an e-mail address/],
    [email, /the address of the account already/]
  ] as const)
    t.match(await browser.submit('/account/email', { new_email: wrong }), {
      status: 400,
      html: text
    })
  t.match(await browser.submit('/account/email', { new_email: newEmail }), {
    status: 303,
    location: '/account/email'
  })
  const old = await mails.read(email, /^Confirm your new address/)
  t.match((await browser.open('/account/email')).html, /Check the mail at the old address/)
  t.match(
    await browser.submit('/account/email', { code: 'wrong' }, { action: '/account/email/old' }),
    {
      status: 400,
      html: /The code is wrong/
    }
  )
  t.match(
    await browser.submit('/account/email', { code: old.code }, { action: '/account/email/old' }),
    {
      location: '/account/email'
    }
  )
  t.match((await browser.open('/account/email')).html, /Check the mail at the new address/)
  const fresh = await mails.read(newEmail, /^Confirm this address/)
  t.match(
    await browser.submit('/account/email', { code: fresh.code }, { action: '/account/email/new' }),
    {
      location: '/account?done=email_changed'
    }
  )
  t.match((await browser.open('/account?done=email_changed')).html, new RegExp(newEmail))
  await signIn(url, newEmail)
})

t.test('an address is changed by links, and "this was not me" takes it back', async (t) => {
  const running = await buildWithMail(t)
  const { mails, url, app } = running
  const { email, browser } = await proven(running)
  const newEmail = newAddress()
  await browser.submit('/account/email', { new_email: newEmail })
  const old = await mails.read(email, /^Confirm your new address/)
  const asked = await openLink(t, browser, old)
  t.match(asked.html, `from ${email} to ${newEmail}?`)
  const confirmed = await browser.submit('/verify-email', {})
  t.match(confirmed, { status: 303, location: '/account/email' })
  t.match((await browser.open('/account/email')).html, /Check the mail at the new address/)
  const phone = new PageBrowser(url)
  t.match(
    (await openLink(t, phone, await mails.read(newEmail, /^Confirm this address/))).html,
    /your new address\?/
  )
  t.match(await phone.submit('/verify-email', {}), { location: '/sign-in?done=email_changed' })
  await signIn(url, newEmail)

  const notice = await mails.read(email, /^Your address at .* was changed/)
  t.match(notice.link, '/not-me?token=')
  const shown = await openLink(t, phone, notice)
  t.match(shown.html, new RegExp(`${newEmail} is signed out on every device`))
  t.equal(
    await app.holdfast.prisma.user.count({ where: { email: newEmail } }),
    1,
    'a GET changes nothing'
  )
  const done = await phone.submit('/not-me', {})
  t.match(done, { status: 303, location: '/not-me?done=mailed' })
  t.match((await phone.open('/not-me?done=mailed')).html, /A mail is on its way/)
  t.match(await stateOf(browser), '401')
  t.equal(await app.holdfast.prisma.user.count({ where: { email } }), 1, 'the old address is back')
  await openLink(t, phone, await mails.read(email, resetSubject))
  t.match(await phone.submit('/reset-password', { password: next }), { status: 303 })
  await browser.submit('/sign-in', { email, password: next })
  t.match((await browser.open('/account/sessions')).html, /this was not me/)
  t.match(await openLink(t, phone, notice), { status: 400, html: 'href="/forgot-password"' })
})

t.test('who has no password renews the sign-in by mail', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails, app } = running
  const email = newAddress()
  const browser = new PageBrowser(url)
  await browser.submit('/sign-in/code', { email }, { action: '/sign-in/code/send' })
  const first = await mails.read(email, signInSubject)
  t.match(await browser.submit('/sign-in/code', { code: first.code }), { location: '/account' })
  await app.holdfast.prisma.session.updateMany({ data: { reauthAt: new Date(0) } })
  const there = await browser.submit('/account/email', { new_email: newAddress() })
  const confirm = await browser.open(there.location ?? '')
  t.match(confirm.html, /You have no password here/)
  const [, action = ''] = /action="(\/sign-in\/code\/send[^"]*)"/.exec(confirm.html) ?? []
  const sent = await browser.submit(
    there.location ?? '',
    {},
    { action: action.replaceAll('&amp;', '&') }
  )
  t.equal(sent.status, 303)
  const { code } = await mails.read(email, signInSubject)
  t.match(await browser.submit(sent.location ?? '', { code }), {
    status: 303,
    location: '/account/email'
  })
  t.match(await (await browser.get('/api/auth/recent-sign-in')).json(), {
    recent: true,
    password: false
  })
  const { sessions } = (await (await browser.get('/sessions')).json()) as { sessions: unknown[] }
  t.equal(sessions.length, 1, 'one session, with the new sign-in')
})

t.test('the second factor wants a proven address, and the page leads there', async (t) => {
  const running = await buildWithMail(t)
  const { browser } = await signedUp(running)
  const refused = await browser.submit(
    '/account/security',
    { password },
    { action: '/account/security/second-factor/on' }
  )
  t.match(refused, { status: 403, html: /Your e-mail address is not confirmed yet/ })
  t.match(refused.html, 'href="/verify-email"')
})

t.test('an administrator has a user set a password', async (t) => {
  const running = await buildWithMail(t)
  const { mails, url } = running
  const [ada, admin] = [await proven(running), await proven(running)]
  await makeAdmin(running, { ...(await signIn(url, admin.email)), id: await idOf(admin.browser) })
  await admin.browser.submit('/sign-out', {})
  await admin.browser.submit('/sign-in', { email: admin.email, password })
  const path = `/admin/users/${await idOf(ada.browser)}`
  const sent = await admin.browser.submit(path, {}, { action: `${path}/send-password` })
  t.match(sent, { status: 303, location: `${path}?done=send-password` })
  t.match((await admin.browser.open(sent.location ?? '')).html, /The mail is on its way/)
  const browser = new PageBrowser(url)
  t.match((await openLink(t, browser, await mails.read(ada.email, resetSubject))).html, ada.email)
  t.match(await browser.submit('/reset-password', { password: next }), { status: 303 })
})

t.test('mails come in the language of the page', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails } = running
  const email = newAddress()
  const browser = new PageBrowser(url)
  browser.headers = { 'accept-language': 'en' }
  await browser.open('/sign-up?lang=de')
  await browser.submit('/sign-up', { name: 'Ada', email, password })
  t.match(await mails.read(email, /Bestätigen|bestätigen/), { language: 'de' })
  await browser.submit('/account', { name: 'Ada', image: '', language: 'en' })
  t.match(await running.app.holdfast.prisma.user.findUniqueOrThrow({ where: { email } }), {
    language: 'en'
  })
})

t.test('every form of mails wants its token, of this browser and session', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails, app } = running
  const { email, browser, mail } = await signedUp(running)
  const asking = new PageBrowser(url)
  await asking.submit('/forgot-password', { email })
  await asking.submit('/sign-in/code', { email }, { action: '/sign-in/code/send' })
  const reset = await mails.read(email, resetSubject)
  const code = await mails.read(email, signInSubject)
  await openLink(t, browser, mail)
  const other = new PageBrowser(url)
  const foreign =
    hiddenFields((await other.open('/forgot-password')).html, '/forgot-password') ?? {}
  const forms: [PageBrowser, string, Record<string, string>][] = [
    [asking, '/forgot-password', { email }],
    [asking, '/reset-password', { code: reset.code, password: next }],
    [asking, '/reset-password/switch', {}],
    [asking, '/sign-in/code', { code: code.code }],
    [asking, '/sign-in/code/send', { email }],
    [browser, '/sign-in/code/switch', {}],
    [browser, '/verify-email', { code: mail.code }],
    [browser, '/verify-email/send', {}],
    [browser, '/verify-email/switch', {}],
    [browser, '/account/email', { new_email: newAddress() }],
    [browser, '/account/email/old', { code: '123456' }],
    [browser, '/account/email/new', { code: '123456' }],
    [browser, '/not-me/switch', {}]
  ]
  const before = await app.holdfast.prisma.proof.count()
  for (const [who, path, fields] of forms) {
    for (const token of [{}, { [TOKEN_FIELD]: 'x'.repeat(43) }, foreign])
      t.match(await who.send(path, { ...fields, ...token }), { status: /^[34]0[03]$/ }, path)
    t.match(await who.send(path, fields, { origin: 'https://evil.example' }), {
      status: 403,
      html: /sent from another address/
    })
  }
  t.equal(await app.holdfast.prisma.proof.count(), before, 'no mail was asked for')
  t.equal(await app.holdfast.prisma.proof.count({ where: { usedAt: { not: null } } }), 0)
  t.equal(await stateOf(browser), 'valid')
  await signIn(url, email)
})

t.test('dead and invented links lead on, and no log has a token', async (t) => {
  const running = await buildWithMail(t)
  const { url, log, mails } = running
  const { email, mail } = await proven(running)
  await new PageBrowser(url).submit('/forgot-password', { email })
  const reset = await mails.read(email, resetSubject)
  const token = new URL(url + reset.link).searchParams.get('token') ?? ''
  for (const path of ['/reset-password', '/verify-email', '/sign-in/code', '/not-me']) {
    for (const sent of [
      '',
      'x',
      'x'.repeat(54),
      'x'.repeat(5_000),
      '<script>alert(1)</script>',
      path === '/reset-password' ? 'y' : token
    ]) {
      const browser = new PageBrowser(url)
      t.match(await browser.open(`${path}?token=${encodeURIComponent(sent)}`), {
        status: 303,
        location: path
      })
      const shown = await browser.open(path)
      t.match(shown, { status: 400, html: /This link does not work any more/ }, `${path} ${sent}`)
      t.match(shown.html, /<main[^]*href="\/(forgot-password|verify-email|sign-in\/code)["?]/)
      if (sent.length > 10) t.notOk(shown.html.includes(sent))
      const onward = await browser.open(path)
      t.ok(onward.status === 200 || onward.status === 303 || path === '/not-me')
    }
    const twice = new PageBrowser(url)
    t.match(await twice.open(`${path}?token=${token}&token=${token}`), {
      status: 303,
      location: path
    })
    t.match((await twice.open(path)).headers.get('referrer-policy'), 'same-origin')
  }
  const secrets = [token, new URL(url + mail.link).searchParams.get('token') ?? '']
  t.strictSame(
    log.filter((line) => secrets.some((secret) => line.includes(secret))),
    []
  )
})

t.test('what people type is shown as text on the pages of mails', async (t) => {
  const running = await buildWithMail(t)
  const { url } = running
  const payloads = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)"
  ]
  const { browser } = await signedUp(running)
  for (const payload of payloads) {
    const sent = [
      await new PageBrowser(url).submit('/forgot-password', { email: payload }),
      await new PageBrowser(url).submit(
        '/sign-in/code',
        { email: payload },
        { action: '/sign-in/code/send' }
      ),
      await new PageBrowser(url).submit(
        '/verify-email',
        { email: payload },
        { action: '/verify-email/send' }
      ),
      await browser.submit('/account/email', { new_email: payload }),
      await browser.submit('/verify-email', { code: payload, way: payload })
    ]
    for (const path of [
      '/forgot-password',
      '/reset-password',
      '/verify-email',
      '/sign-in/code',
      '/not-me'
    ])
      for (const query of ['done', 'return_to', 'lang', 'with', 'step'])
        sent.push(
          await new PageBrowser(url).open(`${path}?${query}=${encodeURIComponent(payload)}`)
        )
    for (const { html } of sent) {
      t.equal(html.match(/<script/g)?.length ?? 0, html === '' ? 0 : 1)
      const tags = html.replaceAll(/"[^"]*"/g, '""').match(/<[^>]*>/g) ?? []
      t.strictSame(
        tags.filter((tag) => /\son\w+=|^<img/.test(tag)),
        []
      )
    }
  }
})

t.test('a link is kept in a cookie that only this origin is sent, by https alone', async (t) => {
  const { url } = await buildWithMail(t, { baseUrl: 'https://auth.example.com' })
  for (const path of ['/reset-password', '/verify-email', '/sign-in/code', '/not-me']) {
    const { headers } = await new PageBrowser(url).open(`${path}?token=${'x'.repeat(54)}`)
    const [cookie = '', ...more] = headers.getSetCookie()
    t.match(cookie, /^__Host-holdfast\.link-[a-z-]+=/, path)
    for (const attribute of ['Max-Age=7200', 'Path=/', 'HttpOnly', 'Secure', 'SameSite=Lax'])
      t.match(cookie, attribute, path)
    t.notMatch(cookie, 'xxxx', 'it is encrypted')
    t.strictSame(more, [])
  }
})

t.test('an address is the same in capitals', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails } = running
  const email = newAddress()
  const browser = new PageBrowser(url)
  const typed = email.toUpperCase()
  await browser.submit('/sign-up', { name: 'Ada', email: typed, password })
  const { code } = await mails.read(email, verifySubject)
  t.match(await browser.submit('/verify-email', { code }), { location: '/account?done=verified' })
  const other = new PageBrowser(url)
  await other.submit('/sign-in/code', { email: typed }, { action: '/sign-in/code/send' })
  const mail = await mails.read(email, signInSubject)
  t.match(await other.submit('/sign-in/code', { code: mail.code }), { location: '/account' })
})

t.test(
  'without mail there are no such pages, and no links to them',
  { skip: storage === 'embedded' ? 'it always has mail' : false },
  async (t) => {
    const { url } = await build(t)
    const browser = await signUpByPage(url, { name: 'Ada', email: newAddress() })
    for (const path of [
      '/forgot-password',
      '/reset-password',
      '/verify-email',
      '/sign-in/code',
      '/not-me',
      '/account/email'
    ])
      t.equal((await browser.open(path)).status, 404, path)
    for (const { html } of [
      await new PageBrowser(url).open('/sign-in'),
      await browser.open('/account')
    ])
      t.notMatch(html, /forgot-password|verify-email|sign-in\/code|account\/email/)
  }
)

t.test('a browser whose session has ended signs in by mail, and sets a password', async (t) => {
  const running = await buildWithMail(t)
  const { url, mails } = running
  const { email, browser } = await proven(running)
  const phone = await signIn(url, email)
  const endOthers = () => phone.browser.delete('/sessions?except=current')
  t.equal((await endOthers()).status, 200)
  await browser.submit('/sign-in/code', { email }, { action: '/sign-in/code/send' })
  const { code } = await mails.read(email, signInSubject)
  t.match(await browser.submit('/sign-in/code', { code }), { status: 303, location: '/account' })
  t.equal(await sessionState(browser), 'valid')
  t.equal((await endOthers()).status, 200)
  t.match(await sessionState(browser), '401')
  await browser.submit('/forgot-password', { email })
  const reset = await mails.read(email, resetSubject)
  t.match(await browser.submit('/reset-password', { code: reset.code, password: next }), {
    status: 303,
    location: '/sign-in?done=reset'
  })
})

t.test(
  'who has a second factor and no password renews the sign-in by mail and factor',
  async (t) => {
    const running = await buildWithMail(t)
    const { mails, app } = running
    const { email, browser } = await proven(running)
    const secret = await turnOnFactor(browser)
    await app.holdfast.prisma.account.updateMany({ data: { password: null } })
    await app.holdfast.prisma.session.updateMany({
      data: { reauthAt: new Date(0), passwordAt: null }
    })
    const there = await browser.submit('/account/email', { new_email: newAddress() })
    const confirm = await browser.open(there.location ?? '')
    const [, action = ''] = /action="(\/sign-in\/code\/send[^"]*)"/.exec(confirm.html) ?? []
    const sent = await browser.submit(
      there.location ?? '',
      {},
      { action: action.replaceAll('&amp;', '&') }
    )
    const { code } = await mails.read(email, signInSubject)
    const factor = await browser.submit(sent.location ?? '', { code })
    t.match(factor, { status: 303, location: /^\/second-factor\?return_to=/ })
    t.match(await browser.submit(factor.location ?? '', { code: totpOf(secret) }), {
      status: 303,
      location: '/account/email'
    })
    t.match(await (await browser.get('/api/auth/recent-sign-in')).json(), { recent: true })
  }
)
