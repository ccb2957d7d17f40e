import t, { type Test } from 'tap'
import { PageRoutes } from '../../plugins/pages/forms.js'
import { PageBrowser } from '../support/page-browser.js'
import { newPageAdmin, newPagePerson, pagesOf } from '../support/page-people.js'
import { buildWithMail } from '../support/page-mail.js'
import { build, password, signIn, type Running } from '../support/server.js'
import { totpOf } from '../support/totp.js'

/*
 * A page says what was just done by a parameter of its address. Anybody can make such an address:
 * it must not tell a person of something that did not happen.
 */

/** Keeps the path of every page that is added from now on. */
function recordPages(t: Test): Set<string> {
  const paths = new Set<string>()
  const original = Object.getOwnPropertyDescriptor(PageRoutes.prototype, 'page')
  const add = original?.value as PageRoutes['page']
  PageRoutes.prototype.page = function (path, access, show) {
    paths.add(path)
    add.call(this, path, access, show)
  }
  t.teardown(() => {
    PageRoutes.prototype.page = add
  })
  return paths
}

/** The notices of each page that has some, by the parameter that asks for them. */
const notices: Record<string, Record<string, RegExp>> = {
  '/account': {
    'done=profile': /^Saved\.$/,
    'done=reset': /^The new password is set/,
    'done=verified': /^Your address is confirmed/,
    'done=email_changed': /^The address of your account is changed/
  },
  '/reset-password': { 'done=sent': /^The mail is on its way/ },
  '/sign-in/code': { 'done=sent': /^The mail is on its way/ },
  '/verify-email': { 'done=sent': /^The mail is on its way/ },
  '/account/security': {
    'done=pending': /^This is done\./,
    'done=password': /^Your password is changed/,
    'done=factor_off': /^The second factor is off/
  },
  '/account/security/backup-codes': {
    'done=on': /^The second factor is on\./,
    'done=new': /^These are your new codes\./
  },
  '/account/sessions': {
    'done=pending': /^This is done\./,
    'done=one': /^That device is signed out/,
    'done=others': /^All other devices are signed out/
  },
  '/account/sessions/:id': { 'done=name': /^Saved\.$/ },
  '/admin/users/:id': {
    'done=pending': /^This is done\./,
    'done=roles': /^Saved\.$/,
    'done=ban': /^Saved\.$/,
    'done=unban': /^Saved\.$/,
    'done=end-session': /^Ended\.$/,
    'done=end-sessions': /^Ended\.$/,
    'done=send-password': /^The mail is on its way/
  },
  '/sign-in': {
    'expired=second_factor': /^That took too long/,
    'expired=codes': /^Too many codes were wrong/,
    'done=reset': /^Your new password is set/,
    'done=verified': /^Your address is confirmed/,
    'done=email_changed': /^The address of your account is changed/
  },
  '/sign-out': { 'done=pending': /^This is done\./ }
}
const foreign = [
  'done=',
  'done=saved',
  'done=end',
  'done=ended',
  'done=PROFILE',
  'done=constructor',
  'done=__proto__',
  'done=profile&done=profile',
  'done=erase',
  'expired=',
  'expired=constructor',
  'expired=profile',
  'done=second_factor',
  'effective_by=2026-01-01T00:00:00.000Z',
  'error=banned_user',
  'cause=user_banned',
  'saved=1'
]
const queries = [
  ...new Set(Object.values(notices).flatMap((known) => Object.keys(known))),
  ...foreign
]

/**
 * Whether it may have happened: who is signed in did not sign out, nor lose a second factor, and a
 * mail is sent again only to who has asked for one.
 */
function isPlausible(asked: string, who: string): boolean {
  if (asked === '/sign-out?done=pending') return !['with new codes', 'administrator'].includes(who)
  if (asked.endsWith('?done=sent')) return who === 'waiting for mails'
  return asked !== '/account/security?done=factor_off' || who === 'administrator'
}

/** A browser with the cookies of another one, so that a page it opens changes nothing there. */
function copyOf(browser: PageBrowser): PageBrowser {
  const copy = new PageBrowser(browser.url)
  for (const [name, value] of browser.cookies) copy.cookies.set(name, value)
  return copy
}

/** What a page tells by itself. Null where it answers without a page. */
async function toldOn(
  browser: PageBrowser,
  path: string,
  headers: Record<string, string> = {}
): Promise<string[] | null> {
  const { status, html } = await copyOf(browser).open(path, headers)
  if (status !== 200) return null
  return [...html.matchAll(/<div class="notice[^"]*" role="[^"]*">(.*?)<\/div>/gs)].map(
    ([, inner = '']) => inner
  )
}

/** A second factor wants a proven address, and so does the notice that it is. */
async function proveAddresses({ app }: Running): Promise<void> {
  await app.holdfast.prisma.user.updateMany({ data: { emailVerified: true } })
}

/**
 * The browsers of somebody with new backup codes, an administrator, somebody signed out, and
 * somebody who has asked for mails.
 */
async function newBrowsers(running: Running): Promise<{
  browsers: Record<string, PageBrowser>
  ids: Record<string, string>
}> {
  const ada = await newPagePerson(running.url)
  await proveAddresses(running)
  await ada.pages.submit(
    '/account/security',
    { password },
    { action: '/account/security/second-factor/on' }
  )
  const { html } = await ada.pages.open('/account/security/second-factor')
  const secret = (/class="secret">([^<]*)/.exec(html)?.[1] ?? '').replaceAll(' ', '')
  await ada.pages.submit('/account/security/second-factor', { code: totpOf(secret) })
  const administrator = await newPageAdmin(running)
  await proveAddresses(running)
  const asking = new PageBrowser(running.url)
  const { email } = ada
  await asking.submit('/forgot-password', { email })
  for (const path of ['/sign-in/code', '/verify-email'])
    await asking.submit(path, { email }, { action: `${path}/send` })
  return {
    browsers: {
      'with new codes': ada.pages,
      administrator: administrator.pages,
      'signed out': new PageBrowser(running.url),
      'waiting for mails': asking
    },
    ids: {
      '/account/sessions/:id': administrator.sessionId,
      '/admin/users/:id': ada.id,
      '/admin/users/:id/sessions/:session': ada.id
    }
  }
}

t.test('a page tells only what it knows, and nothing that a link has invented', async (t) => {
  const paths = recordPages(t)
  const running = await buildWithMail(t)
  const { browsers, ids } = await newBrowsers(running)
  const shown = new Set<string>()
  let opened = 0
  for (const [who, browser] of Object.entries(browsers)) {
    for (const path of paths) {
      const address = path
        .replace(':id', ids[path] ?? 'x')
        .replace(
          ':session',
          browsers['administrator'] === browser ? (ids['/account/sessions/:id'] ?? '') : 'x'
        )
      const plain = await toldOn(browser, address)
      if (plain === null) continue
      opened++
      for (const query of queries) {
        const told = (await toldOn(browser, `${address}?${query}`)) ?? []
        const added = told.filter((each) => !plain.includes(each))
        const known = notices[path]?.[query]
        const name = `${path}?${query}, ${who}`
        if (known === undefined || !isPlausible(`${path}?${query}`, who)) {
          t.strictSame(added, [], name)
          continue
        }
        t.equal(added.length, 1, name)
        t.match(added[0], known)
        shown.add(`${path}?${query}`)
        const from = (site: string) =>
          toldOn(browser, `${address}?${query}`, { 'sec-fetch-site': site })
        t.strictSame(await from('same-origin'), told, `${name}, from a page of ours`)
        for (const site of ['cross-site', 'same-site', 'none'])
          t.strictSame(await from(site), plain, `${name}, ${site}`)
      }
    }
  }
  t.ok(opened > 20, `${opened} pages were opened`)
  t.strictSame(
    Object.entries(notices)
      .flatMap(([path, known]) => Object.keys(known).map((query) => `${path}?${query}`))
      .filter((each) => !shown.has(each)),
    [],
    'every notice was shown'
  )
})

t.test('a sign-in, another language and the next page take no notice with them', async (t) => {
  const running = await build(t)
  const { email, pages } = await newPagePerson(running.url)
  const german = await pages.open('/account?done=profile&x=1')
  t.match(german.html, 'href="/account?x=1&amp;lang=de"')
  const browser = new PageBrowser(running.url)
  const away = await browser.open('/account?done=profile&x=1')
  t.match(await browser.submit(away.location ?? '', { email, password }), {
    status: 303,
    location: '/account?x=1'
  })
  const again = pagesOf(await signIn(running.url, email))
  t.match(await again.open(away.location ?? ''), { status: 303, location: '/account?x=1' })
})

t.test('/error tells what its code means, and of any other code nothing', async (t) => {
  const { url } = await build(t)
  const browser = new PageBrowser(url)
  const mainOf = async (path: string) => {
    const { status, html } = await browser.open(path)
    t.equal(status, 400, path)
    return /<main[^>]*>(.*)<\/main>/s.exec(html)?.[1] ?? ''
  }
  const plain = await mainOf('/error')
  t.match(await mainOf('/error?error=banned_user'), /This account is blocked/)
  for (const sent of ['x', '', 'constructor', '__proto__', 'banned_user&error=banned_user', '<b>'])
    t.equal(await mainOf(`/error?error=${sent}`), plain, sent)
})
