import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import t from 'tap'
import { createHoldfast } from '../../src/client/client.js'
import { useSession, type SessionState } from '../../src/client/react.js'
import { noChromium, openChromium } from '../support/chromium.js'
import { until } from '../support/poll.js'
import { password } from '../support/server.js'
import { openSite } from './site.js'

const client = createHoldfast({ baseUrl: 'http://localhost:1' })
const ada = {
  status: 'signed_in',
  session: { id: 's' },
  user: { name: 'Ada' }
} as unknown as SessionState

function Who({ initial }: { initial?: SessionState }) {
  const { status, user } = useSession(client, initial)
  return createElement('p', null, `${status} ${user?.name ?? 'nobody'}`)
}

const render = (initial?: SessionState) =>
  renderToString(createElement(Who, initial ? { initial } : {}))

/** The same component in a page, with a client of the page. */
const SOURCE = `
  import { createElement } from 'react'
  import { hydrateRoot } from 'react-dom/client'
  import { useSession } from './react.js'
  export * from './client.js'
  export function mount(client, initial) {
    const Who = () => {
      const { status, user } = useSession(client, initial)
      return createElement('p', null, status + ' ' + (user?.name ?? 'nobody'))
    }
    return hydrateRoot(document.getElementById('root'), createElement(Who))
  }`

t.test('a server renders what it was told, each request for itself', async (t) => {
  t.equal(render(), '<p>pending nobody</p>')
  t.equal(render(ada), '<p>signed_in Ada</p>')
  t.equal(render(), '<p>pending nobody</p>')
})

t.test('a page shows sign-in, outage and sign-out', { skip: noChromium }, async (t) => {
  const { site, running } = await openSite(t, SOURCE, '<p>pending nobody</p>')
  const context = await (await openChromium(t)).newContext()
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    if (/hydrat|did not match|Warning/i.test(message.text())) complaints.push(message.text())
  })
  const open = async () => {
    await page.goto(site)
    await page.evaluate(`
      globalThis.client = Holdfast.createHoldfast({
        baseUrl: '${running.url}',
        storage: Holdfast.localStorageAdapter()
      })
      Holdfast.mount(client)
      null`)
  }
  const shows = (text: string) =>
    until(text, async () => (await page.textContent('#root')) === text)
  await open()
  await shows('signed_out nobody')
  await page.evaluate(
    `client.signUp({ email: '${crypto.randomUUID()}@example.com', password: '${password}', name: 'Ada' })`
  )
  await shows('signed_in Ada')
  await open()
  await shows('signed_in Ada')

  // The server is away, and comes back without a word.
  await context.route(`${running.url}/**`, (route) => route.fulfill({ status: 503, body: '' }))
  await page.evaluate('client.signIn({ email: "a", password: "b" }).catch(() => {})')
  await open()
  await shows('stale nobody')
  await context.unroute(`${running.url}/**`)
  await shows('signed_in Ada')

  // Another tab signs out.
  const other = await context.newPage()
  await other.goto(site)
  await other.evaluate(`
    Holdfast.createHoldfast({
      baseUrl: '${running.url}',
      storage: Holdfast.localStorageAdapter()
    }).signOut()`)
  await shows('signed_out nobody')
  t.strictSame(complaints, [])
})

t.test('an outage keeps the person who was shown', { skip: noChromium }, async (t) => {
  const { site, running } = await openSite(t, SOURCE, '<p>signed_in Ada</p>')
  const page = await (await openChromium(t)).newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    if (/hydrat|did not match|Warning/i.test(message.text())) complaints.push(message.text())
  })
  await page.goto(site)
  await page.evaluate(`
    globalThis.ahead = 0
    globalThis.client = Holdfast.createHoldfast({
      baseUrl: '${running.url}',
      clock: { now: () => Date.now() + ahead, monotonic: () => performance.now() + ahead }
    })
    client.signUp({ email: '${crypto.randomUUID()}@example.com', password: '${password}', name: 'Ada' })
      .then(() => { Holdfast.mount(client, { status: 'signed_in', session: {}, user: { name: 'Ada' } }) })`)
  const shows = (text: string) =>
    until(text, async () => (await page.textContent('#root')) === text)
  await shows('signed_in Ada')
  await page.route(`${running.url}/**`, (route) => route.abort())
  await page.evaluate('ahead += 3_600_000, client.getToken().catch(() => {})')
  await shows('stale Ada')
  await page.unroute(`${running.url}/**`)
  await shows('signed_in Ada')
  await page.evaluate('client.signOut()')
  await shows('signed_out nobody')
  t.strictSame(complaints, [])
})
