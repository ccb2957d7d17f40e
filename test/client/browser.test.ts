import type { BrowserContext, Page } from 'playwright-core'
import t from 'tap'
import { noChromium, openChromium } from '../support/chromium.js'
import { until } from '../support/poll.js'
import { password } from '../support/server.js'
import { openSite } from './site.js'

const skip = noChromium

/** Opens a tab with a client on the storage that all tabs share. Its clock is `ahead` of the machine's. */
async function openTab(context: BrowserContext, site: string, url: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(site)
  await page.evaluate(`
    globalThis.ahead = 0
    globalThis.events = []
    globalThis.client = Holdfast.createHoldfast({
      baseUrl: '${url}',
      storage: Holdfast.localStorageAdapter(),
      clock: { now: () => Date.now() + ahead, monotonic: () => performance.now() + ahead }
    })
    for (const name of ['signedIn', 'signedOut', 'refreshed', 'stale'])
      client.on(name, ({ cause }) => events.push(cause ? name + ' ' + cause : name))
    null`)
  return page
}

const eventsOf = (page: Page) => page.evaluate<string[]>('events')

const signUp = (page: Page) =>
  page.evaluate(
    `client.signUp({ email: '${crypto.randomUUID()}@example.com', password: '${password}', name: 'Ada' })`
  )

/** The refresh requests of all tabs: a line for each, with its token and the successor it got. */
function watchRefreshes(context: BrowserContext): { token: string; next: string }[] {
  const seen: { token: string; next: string }[] = []
  context.on('response', async (response) => {
    const request = response.request()
    if (!response.url().endsWith('/oauth2/token') || request.method() !== 'POST') return
    const { refresh_token: token } = request.postDataJSON() as { refresh_token: string }
    const body = (await response.json().catch(() => ({}))) as { refresh_token?: string }
    seen.push({ token, next: body.refresh_token ?? '' })
  })
  return seen
}

t.test('eight tabs that wake at once refresh once', { skip, timeout: 120_000 }, async (t) => {
  const { site, running } = await openSite(t, "export * from './client.js'")
  const context = await (await openChromium(t)).newContext()
  const tabs: Page[] = []
  for (let i = 0; i < 8; i++) tabs.push(await openTab(context, site, running.url))
  const [first] = tabs
  if (!first) throw new Error('no tab')
  await signUp(first)
  await until('every tab to know the session', async () => {
    const known = await Promise.all(tabs.map((tab) => tab.evaluate('client.getToken()')))
    return new Set(known).size === 1 && known[0] !== null
  })
  const refreshes = watchRefreshes(context)
  // An hour in which the machine slept.
  await Promise.all(tabs.map((tab) => tab.evaluate('ahead += 3_600_000')))
  const tokens = await Promise.all(tabs.map((tab) => tab.evaluate('client.getToken()')))
  t.ok(tokens.every((token) => typeof token === 'string'))
  await until('the answer to be seen', () => refreshes.length > 0)
  // A tab that has waited for five seconds goes on without, and so does one whose copy of the storage
  // is late.
  t.comment(`${refreshes.length} requests`)
  t.equal(new Set(refreshes.map(({ token }) => token)).size, 1)
  t.equal(new Set(refreshes.map(({ next }) => next)).size, 1, 'one successor')

  // Without locks: the server gives all of them the same successor.
  await Promise.all(
    tabs.map((tab) =>
      tab.evaluate(`
        ahead += 3_600_000
        globalThis.client = Holdfast.createHoldfast({
          baseUrl: '${running.url}',
          storage: Holdfast.localStorageAdapter(),
          clock: { now: () => Date.now() + ahead, monotonic: () => performance.now() + ahead },
          locks: null
        })
        client.on('signedOut', ({ cause }) => events.push('signedOut ' + cause))
        null`)
    )
  )
  refreshes.length = 0
  const more = await Promise.all(tabs.map((tab) => tab.evaluate('client.getToken()')))
  t.ok(more.every((token) => typeof token === 'string'))
  await until('the answers to be seen', () => refreshes.length > 0)
  t.equal(new Set(refreshes.map(({ next }) => next)).size, 1, `${refreshes.length} requests`)
  for (const tab of tabs)
    t.notOk((await eventsOf(tab)).some((event) => event.startsWith('signedOut')))

  // A sign-out reaches them all.
  await first.evaluate('client.signOut()')
  await until('every tab to be signed out', async () =>
    (await Promise.all(tabs.map(eventsOf))).every((events) =>
      events.includes('signedOut signed_out')
    )
  )
})

t.test(
  'a tab that is closed in the middle of a refresh leaves the session',
  { skip },
  async (t) => {
    const { site, running } = await openSite(t, "export * from './client.js'")
    const context = await (await openChromium(t)).newContext()
    const dying = await openTab(context, site, running.url)
    await signUp(dying)
    const other = await openTab(context, site, running.url)
    const sessionId = await dying.evaluate<string>(
      'client.session().then(({ session }) => session.id)'
    )
    // The request has arrived, and its answer never does.
    let isHeld = false
    await dying.route('**/oauth2/token', async (route) => {
      await route.fetch()
      isHeld = true
    })
    await dying.evaluate('ahead += 3_600_000, void client.getToken()')
    await until('the request to be answered', () => isHeld)
    const asked = other.evaluate('ahead += 3_600_000, client.getToken()')
    await dying.close()
    t.match(await asked, /^ey/)
    const row = await running.app.holdfast.prisma.session.findUniqueOrThrow({
      where: { id: sessionId }
    })
    t.equal(row.refreshGeneration, 1, 'the other tab was given the same successor')
    t.equal(row.revokedAt, null)
    t.notOk((await eventsOf(other)).some((event) => event.startsWith('signedOut')))
  }
)

t.test('an hour offline is no sign-out', { skip }, async (t) => {
  const { site, running } = await openSite(t, "export * from './client.js'")
  const context = await (await openChromium(t)).newContext()
  const tab = await openTab(context, site, running.url)
  await signUp(tab)
  await context.setOffline(true)
  await tab.evaluate('ahead += 3_600_000')
  t.equal(await tab.evaluate('client.getToken().catch((error) => error.name)'), 'StaleError')
  t.equal(await tab.evaluate('client.session().catch((error) => error.name)'), 'StaleError')
  t.strictSame(await eventsOf(tab), ['signedIn', 'stale'])
  await context.setOffline(false)
  const token = await until('a token', () => tab.evaluate('client.getToken().catch(() => null)'))
  t.match(token, /^ey/)
  t.strictSame((await eventsOf(tab)).at(-1), 'refreshed')
})

t.test('in cookie mode no token is seen by script', { skip }, async (t) => {
  const { site, running } = await openSite(t, "export * from './client.js'")
  const context = await (await openChromium(t)).newContext()
  const page = await context.newPage()
  await page.goto(site)
  await page.evaluate(`
    globalThis.events = []
    globalThis.client = Holdfast.createHoldfast({ baseUrl: '${running.url}', storage: 'cookie' })
    client.on('signedIn', () => events.push('signedIn'))
    client.on('signedOut', ({ cause }) => events.push('signedOut ' + cause))
    null`)
  const bodies: string[] = []
  context.on('response', async (response) => {
    if (response.url().startsWith(running.url)) bodies.push(await response.text().catch(() => ''))
  })
  t.equal(await page.evaluate('client.session()'), null)
  await signUp(page)
  t.match(await page.evaluate('client.session()'), { user: { name: 'Ada' } })
  const { sessions } = await page.evaluate<{ sessions: { id: string }[] }>('client.sessions()')
  t.equal(sessions.length, 1)
  t.equal(await page.evaluate("client.fetch('/session').then((response) => response.status)"), 200)
  t.match(await page.evaluate('client.getToken().catch((error) => error.message)'), /cookie mode/)
  t.notMatch(
    await page.evaluate('document.cookie + JSON.stringify({ ...localStorage })'),
    /h[sr]t1_|eyJ/
  )

  const id = sessions[0]?.id ?? ''
  await running.app.holdfast.revoker.revoke([id], null, 'signed_out')
  t.equal(await page.evaluate('client.session()'), null)
  t.strictSame(await eventsOf(page), ['signedIn', 'signedOut session_revoked'])

  await signUp(page)
  t.strictSame(await page.evaluate('client.signOut()'), { final: true })
  t.equal(await page.evaluate('client.session()'), null)
  t.strictSame(
    bodies.filter((body) => /h[sr]t1_|"access_token"/.test(body)),
    []
  )
})
