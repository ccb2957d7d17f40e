import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { noChromium, openChromium } from '../support/chromium.js'
import { buildWithMail } from '../support/page-mail.js'
import { password } from '../support/server.js'
import { totpOf } from '../support/totp.js'

/*
 * A person's way through every page, in a real browser. With SCREENSHOTS=<folder> each page is kept
 * there as an image, at three widths, light and dark.
 */

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const folder = process.env['SCREENSHOTS']
const WIDTHS = [320, 768, 1280]

/** Looks at the page that is open: for what axe finds, and whether it fits a small screen. */
async function look(t: Test, page: Page, name: string): Promise<void> {
  await page.setViewportSize({ width: 320, height: 800 })
  const overflow = await page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth'
  )
  t.equal(overflow, 0, `${name} fits 320 pixels`)
  await page.evaluate(axe)
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await page.evaluate<AxeResults>('axe.run()')
    t.strictSame(
      violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
      [],
      `${name}, ${colorScheme}: axe finds nothing`
    )
    if (folder !== undefined) await keepImages(page, `${name}-${colorScheme}`)
  }
  await page.setViewportSize({ width: 768, height: 900 })
}

async function keepImages(page: Page, name: string): Promise<void> {
  mkdirSync(folder ?? '', { recursive: true })
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 })
    await page.screenshot({ path: join(folder ?? '', `${name}-${width}.png`), fullPage: true })
  }
}

for (const javaScriptEnabled of [true, false]) {
  const way = javaScriptEnabled ? 'with script' : 'without script'
  t.test(`a person's way through every page, ${way}`, { skip: noChromium }, async (t) => {
    const { url, app, mails } = await buildWithMail(t, {
      trustedOrigins: ['https://app.example.com']
    })
    const context = await (await openChromium(t)).newContext({ javaScriptEnabled, locale: 'en' })
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
        complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('requestfailed', (request) => complaints.push(`${request.url()} was not loaded`))
    const email = `ada-${javaScriptEnabled}@example.com`
    const submit = (name: string) => page.getByRole('button', { name, exact: true }).click()
    const at = async (path: string, title: string | RegExp, name: string) => {
      t.equal(new URL(page.url()).pathname, path, name)
      t.match(await page.title(), title)
      // axe is script: it looks at the pages once, where script is on.
      if (javaScriptEnabled) await look(t, page, name)
    }

    await page.goto(`${url}/`)
    await at('/sign-in', /^Sign in/, 'sign-in')
    await page.getByLabel('E-mail address').fill('nobody@example.com')
    await page.getByLabel('Password').fill('wrong password')
    await submit('Sign in')
    await at('/sign-in', /^Error: Sign in/, 'sign-in-wrong')
    t.equal(await page.locator(':focus').getAttribute('id'), 'password', 'the focus is there')
    await page.getByRole('link', { name: 'Create an account' }).click()
    await at('/sign-up', /^Create an account/, 'sign-up')
    await page.getByLabel('Name').fill('Ada Lovelace')
    await page.getByLabel('E-mail address').fill(email)
    await page.getByLabel('Password').fill('short')
    await submit('Create the account')
    await at('/sign-up', /^Error: Create/, 'sign-up-wrong')
    t.equal(await page.getByLabel('E-mail address').inputValue(), email, 'what was typed is kept')
    await page.getByLabel('Password').fill(password)
    await page.keyboard.press('Enter')
    await page.waitForURL('**/account')
    await at('/account', /^Your account/, 'account')
    await page.getByLabel('Name').fill('Augusta Ada')
    await submit('Save')
    await page.getByText('Saved.', { exact: true }).waitFor()
    await at('/account', /^Your account/, 'account-saved')
    await page.goto(`${url}/account?done=profile`)
    t.equal(await page.getByText('Saved.', { exact: true }).count(), 0, 'a link says nothing')
    await page.getByRole('link', { name: 'Security' }).click()
    await at('/account/security', /^Security/, 'security')
    await page.locator('#on-password').fill(password)
    await submit('Turn it on')
    await at('/account/security/second-factor/on', /^Error: Security/, 'security-unconfirmed')
    await page.getByRole('main').getByRole('link', { name: 'Confirm your address' }).click()
    await at('/verify-email', /^Check your mail/, 'check-mail')
    await page.getByLabel('Code from the mail').fill('wrong')
    await submit('Confirm')
    await at('/verify-email', /^Error: Check your mail/, 'check-mail-wrong')
    await page
      .getByLabel('Code from the mail')
      .fill((await mails.read(email, /^Confirm your address/)).code)
    await submit('Confirm')
    await page.getByText('Your address is confirmed.').waitFor()
    await at('/account', /^Your account/, 'account-confirmed')
    await page.getByRole('link', { name: 'Security' }).click()
    await page.locator('#on-password').fill(password)
    await submit('Turn it on')
    await at('/account/security/second-factor', /^Connect your app/, 'enrolment')
    const secret = ((await page.locator('code.secret').textContent()) ?? '').replaceAll(' ', '')
    await page.getByLabel('Code from your app').fill('000000')
    await submit('Turn it on')
    await at('/account/security/second-factor', /^Error: Connect/, 'enrolment-wrong')
    await page.getByLabel('Code from your app').fill(totpOf(secret))
    await submit('Turn it on')
    await at('/account/security/backup-codes', /^Backup codes/, 'backup-codes')
    const codes = await page.locator('#backup-codes li').allTextContents()
    t.equal(codes.length, 10)
    t.equal(
      await page.getByRole('button', { name: 'Copy' }).count(),
      javaScriptEnabled ? 1 : 0,
      'the button that needs script is there with script'
    )
    await page.reload()
    t.strictSame(
      await page.locator('#backup-codes li').allTextContents(),
      codes,
      'a reload shows the same codes'
    )
    await page.getByRole('link', { name: 'I have kept them' }).click()
    await at('/account/security', /^Security/, 'security-with-factor')

    await page.getByRole('link', { name: 'Devices' }).click()
    await at('/account/sessions', /^Your devices/, 'devices')
    await page.getByText('This device').first().waitFor()
    await page.getByRole('link', { name: /Chrom/ }).first().click()
    t.match(page.url(), /\/account\/sessions\/[\w-]{36}$/)
    await page.getByLabel('Name of the device').fill('My desk')
    await submit('Save')
    t.match(await page.title(), /^My desk/)
    if (javaScriptEnabled) await look(t, page, 'device')
    await page.goto(`${url}/sign-in/confirm`)
    await at('/sign-in/confirm', /^Confirm/, 'confirm')
    await page.goto(`${url}/sign-in?return_to=https%3A%2F%2Fapp.example.com%2F`)
    await at('/sign-in', /^You are signed in/, 'onward')
    await page.goto(`${url}/nowhere`)
    await at('/nowhere', /^Error: There is no such page/, 'nowhere')
    await page.goto(`${url}/sign-out`)
    await at('/sign-out', /^Sign out/, 'sign-out')
    await page.getByRole('main').getByRole('button', { name: 'Sign out' }).click()
    await at('/sign-out', /^You are signed out/, 'signed-out')

    await page.goto(`${url}/account/delete`)
    t.equal(new URL(page.url()).pathname, '/sign-in')
    await page.getByLabel('E-mail address').fill(email)
    await page.getByLabel('Password').fill(password)
    await submit('Sign in')
    await at('/second-factor', /^Second factor/, 'second-factor')
    await page.getByRole('link', { name: 'Use a backup code' }).click()
    await at('/second-factor', /^Second factor/, 'backup-code')
    await page.getByLabel('Backup code').fill(codes[0] ?? '')
    await submit('Go on')
    await at('/account/delete', /^Delete the account/, 'delete')

    // An administrator looks at what happened to the person.
    const administrator = `admin-${javaScriptEnabled}@example.com`
    const other = await context.browser()?.newContext({ javaScriptEnabled, locale: 'en' })
    const desk = (await other?.newPage()) ?? page
    await desk.goto(`${url}/sign-up`)
    await desk.getByLabel('Name').fill('Grace Hopper')
    await desk.getByLabel('E-mail address').fill(administrator)
    await desk.getByLabel('Password').fill(password)
    await desk.getByRole('button', { name: 'Create the account' }).click()
    await desk.goto(`${url}/admin/users`)
    t.match(await desk.title(), /^Error: You may not see this page/)
    await app.holdfast.auth.users.update(
      (await app.holdfast.prisma.user.findUniqueOrThrow({ where: { email: administrator } })).id,
      { role: 'admin' }
    )
    await desk.goto(`${url}/admin`)
    t.equal(new URL(desk.url()).pathname, '/admin/users')
    if (javaScriptEnabled) await look(t, desk, 'admin-users')
    await desk.getByLabel('Name, e-mail address or id').fill('augusta')
    await desk.getByRole('button', { name: 'Find' }).click()
    await desk.getByRole('link', { name: email }).click()
    t.match(await desk.title(), new RegExp(`^${email}`))
    t.match(
      await desk.getByRole('main').textContent(),
      /Ended because the second factor was changed/
    )
    if (javaScriptEnabled) await look(t, desk, 'admin-user')
    await desk
      .getByRole('button', { name: /^End: / })
      .first()
      .click()
    await desk.getByText('Ended by an administrator').first().waitFor()
    await desk.getByLabel('Reason').fill('a test')
    await desk.getByRole('button', { name: 'Block', exact: true }).click()
    await desk.getByText('This account is blocked.').waitFor()
    if (javaScriptEnabled) await look(t, desk, 'admin-user-blocked')
    await desk.getByRole('link', { name: /Chrom/ }).first().click()
    await desk.getByText('What happened to it').waitFor()
    if (javaScriptEnabled) await look(t, desk, 'admin-session')
    await desk.goto(`${url}/admin/first?token=used`)
    t.equal(new URL(desk.url()).search, '', 'the token has left the address')
    if (javaScriptEnabled) await look(t, desk, 'first-administrator')
    await desk.getByRole('button', { name: 'Make me the administrator' }).click()
    t.match(await desk.title(), /^Error: This link does not work any more/)
    if (javaScriptEnabled) await look(t, desk, 'first-administrator-expired')
    await desk.getByRole('link', { name: 'Events' }).click()
    await desk.locator('.events').getByText('The account was blocked').first().waitFor()
    if (javaScriptEnabled) await look(t, desk, 'admin-events')
    await desk.getByLabel('Account', { exact: true }).fill('nobody@example.com')
    await desk.getByRole('button', { name: 'Show' }).click()
    t.match(await desk.title(), /^Error: Events/)
    t.equal(await desk.locator(':focus').getAttribute('id'), 'account', 'the focus is there')
    if (javaScriptEnabled) await look(t, desk, 'admin-events-nobody')
    await desk.getByLabel('Account', { exact: true }).fill(email)
    await desk.getByRole('button', { name: 'Show' }).click()
    await desk.locator('.events').getByText('The account was blocked').first().waitFor()
    if (javaScriptEnabled) await look(t, desk, 'admin-events-account')

    await page.goto(`${url}/account`)
    t.equal(new URL(page.url()).pathname, '/sign-in')
    t.match(
      await page.getByRole('main').textContent(),
      /This account is blocked|You were signed out/
    )
    // Both are gone in the end.
    await desk.getByRole('link', { name: email }).click()
    await desk.getByLabel('Type the e-mail address to confirm').fill(email)
    await desk.getByRole('button', { name: 'Erase the person' }).click()
    t.match(await desk.title(), /^The (person is erased|erasure has begun)/)
    if (javaScriptEnabled) await look(t, desk, 'admin-erased')
    await desk.goto(`${url}/account/delete`)
    await desk.getByLabel('Password').fill(password)
    await desk.getByRole('button', { name: 'Delete the account for good' }).click()
    t.match(await desk.title(), /^Your account is deleted/)
    if (javaScriptEnabled) await look(t, desk, 'deleted')
    await page.goto(`${url}/error`)
    await at('/error', /^Error: This did not work/, 'error')
    await page.goto(`${url}/sign-in?lang=de`)
    await at('/sign-in', /^Anmelden/, 'sign-in-german')
    t.strictSame(complaints, [], 'the browser complains about nothing')
  })
}

for (const javaScriptEnabled of [true, false]) {
  const way = javaScriptEnabled ? 'with script' : 'without script'
  t.test(`a person's way through the pages of mails, ${way}`, { skip: noChromium }, async (t) => {
    const { url, mails } = await buildWithMail(t)
    const browser = await openChromium(t)
    const newPage = async (locale = 'en') => {
      const opened = await (await browser.newContext({ javaScriptEnabled, locale })).newPage()
      opened.on('console', (message) => {
        if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
          complaints.push(message.text())
      })
      return opened
    }
    const complaints: string[] = []
    const page = await newPage()
    const email = `mel-${javaScriptEnabled}@example.com`
    const press = (name: string, where = page) =>
      where.getByRole('main').getByRole('button', { name, exact: true }).click()
    const at = async (path: string, title: RegExp, name: string, where = page) => {
      t.equal(new URL(where.url()).pathname + new URL(where.url()).search, path, name)
      t.match(await where.title(), title)
      if (javaScriptEnabled) await look(t, where, name)
    }
    const signUpAs = async (address: string) => {
      const signUpPage = await newPage()
      await signUpPage.goto(`${url}/sign-up`)
      await signUpPage.getByLabel('Name').fill('Mel')
      await signUpPage.getByLabel('E-mail address').fill(address)
      await signUpPage.getByLabel('Password').fill(password)
      await press('Create the account', signUpPage)
      await signUpPage.waitForURL('**/account')
      return signUpPage
    }

    // The owner of a mailbox whose address somebody else signed up.
    const eve = await signUpAs(email)
    const verify = await mails.read(email, /^Confirm your address/)
    await page.goto(url + verify.link)
    await at('/verify-email', /^Confirm your address/, 'verify-ways')
    await page.locator('#new-new_password').fill('short')
    await press('Set the password')
    await at('/verify-email', /^Error: Confirm your address/, 'verify-ways-wrong')
    t.equal(await page.locator(':focus').getAttribute('id'), 'new-new_password')
    await page.locator('#new-new_password').fill(password)
    await press('Set the password')
    await page.getByText('Your address is confirmed. Sign in.').waitFor()
    await at('/sign-in?done=verified', /^Sign in/, 'sign-in-confirmed')
    await eve.goto(`${url}/account`)
    t.equal(new URL(eve.url()).pathname, '/sign-in', 'the older session has ended')
    await eve.goto(url + verify.link)
    await at('/verify-email', /^Error: This link does not work any more/, 'dead-link', eve)
    await eve.getByRole('main').getByRole('link', { name: 'Ask for a new mail' }).click()
    await at('/verify-email?with=other', /^Confirm your address/, 'verify-ask', eve)
    t.equal(await eve.getByLabel('E-mail address').inputValue(), email)

    await page.getByRole('link', { name: 'Forgot your password?' }).click()
    await at('/forgot-password', /^Forgot your password/, 'forgot-password')
    await page.getByLabel('E-mail address').fill(email)
    await press('Send the mail')
    await at('/reset-password', /^Check your mail/, 'reset-code')
    await press('Send the mail again')
    await at('/reset-password?done=sent', /^Check your mail/, 'reset-sent-again')
    const reset = await mails.read(email, /^Set a new password/)
    await eve.goto(url + reset.link)
    await at('/reset-password', /^Set a new password/, 'reset-link-elsewhere', eve)
    await page.getByLabel('Code from the mail').fill(reset.code)
    await page.getByLabel('New password').fill(password)
    await press('Set the password')
    await page.getByText('Your new password is set').waitFor()
    await at('/sign-in?done=reset', /^Sign in/, 'sign-in-reset')

    await page.getByRole('link', { name: 'Sign in with a code by mail' }).click()
    await at('/sign-in/code', /^Sign in by mail/, 'sign-in-code-ask')
    await page.getByLabel('E-mail address').fill(email)
    await press('Send the mail')
    await at('/sign-in/code', /^Check your mail/, 'sign-in-code')
    const signIn = await mails.read(email, /^Sign in at/)
    const other = await signUpAs(`other-${email}`)
    await other.goto(url + signIn.link)
    await at('/sign-in/code', /^You are signed in to another account/, 'other-account', other)
    await press('Switch account', other)
    await at('/sign-in/code', /^Sign in by mail/, 'sign-in-link', other)
    await press('Sign in', other)
    await other.waitForURL('**/account')
    t.match(await other.getByRole('main').textContent(), email)

    await page.goto(`${url}/sign-in`)
    await page.getByLabel('E-mail address').fill(email)
    await page.getByLabel('Password').fill(password)
    await press('Sign in')
    await page.waitForURL('**/account')
    await page.getByRole('link', { name: 'Change the e-mail address' }).click()
    await at('/account/email', /^Change the e-mail address/, 'change-email')
    const newEmail = `new-${email}`
    await page.getByLabel('New e-mail address').fill(newEmail)
    await press('Go on')
    await at('/account/email', /^Check the mail at the old address/, 'change-email-old')
    const confirm = await mails.read(email, /^Confirm your new address/)
    await page.goto(url + confirm.link)
    await at('/verify-email', /^Change the e-mail address/, 'change-email-confirm')
    await press('Change the address')
    await at('/account/email', /^Check the mail at the new address/, 'change-email-new')
    await page
      .getByLabel('Code from the mail')
      .fill((await mails.read(newEmail, /^Confirm this address/)).code)
    await press('Go on')
    await page.getByText('The address of your account is changed.').waitFor()

    const german = await newPage('de')
    const notice = await mails.read(email, /^Your address at .* was changed/)
    await german.goto(url + notice.link)
    await at('/not-me', /^Das war ich nicht/, 'not-me', german)
    await press('Das war ich nicht', german)
    await at('/not-me?done=mailed', /^Das Konto ist vorerst sicher/, 'not-me-done', german)
    await page.goto(`${url}/account`)
    t.equal(new URL(page.url()).pathname, '/sign-in', 'it is signed out everywhere')
    t.strictSame(complaints, [], 'the browser complains about nothing')
  })
}
