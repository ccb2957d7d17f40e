import { randomUUID } from 'node:crypto'
import { request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { PageBrowser, type ShownPage } from '../support/page-browser.js'
import { build, password, restart, type Running } from '../support/server.js'

const origin = 'https://auth.example.com'
const wiki = 'https://wiki.example.com'
const settings = {
  baseUrl: origin,
  cookieDomain: 'example.com',
  trustedProxies: ['127.0.0.1'],
  trustedOrigins: ['https://app.example.com']
}
const email = `${randomUUID()}@example.com`
const running = await build(t, settings)

/** Asks as a proxy does, for a browser that opens `address`. Returns the page it is led to. */
async function ledTo({ app }: Running, address: string): Promise<URL> {
  const { protocol, host, pathname, search } = new URL(address)
  const { port } = app.server.address() as { port: number }
  const outgoing = request({
    host: '127.0.0.1',
    port,
    path: `/verify?redirect=${encodeURIComponent(`${origin}/sign-in`)}`,
    headers: {
      accept: 'text/html',
      'x-forwarded-method': 'GET',
      'x-forwarded-proto': protocol.slice(0, -1),
      'x-forwarded-host': host,
      'x-forwarded-uri': pathname + search
    }
  }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  response.resume()
  t.equal(response.statusCode, 302, address)
  return new URL(response.headers.location ?? '')
}

function newBrowser({ url }: Running): PageBrowser {
  const browser = new PageBrowser(url)
  browser.headers = { origin }
  return browser
}

/**
 * Signs in on a page with these parameters, in a new browser.
 *
 * @param isIgnored whether the form is one without them
 */
function signInAt(
  server: Running,
  parameters: Record<string, string>,
  isIgnored = false
): Promise<ShownPage> {
  const path = `/sign-in?${new URLSearchParams(parameters).toString()}`
  const action = isIgnored ? '/sign-in' : path
  return newBrowser(server).submit(path, { email, password }, { action })
}

function assertFollowed(t: Test, shown: ShownPage, address: string, message: string): void {
  t.equal(shown.status, 200, message)
  t.match(shown.html, `content="0; url=${address.replaceAll('&', '&amp;')}"`)
}

const ignored = { status: 303, location: '/account' }

t.before(async () => {
  const { status } = await newBrowser(running).submit('/sign-up', { name: 'Ada', email, password })
  if (status !== 303) throw new Error(`sign-up answered ${status}`)
})

t.test('an address below the cookie domain is followed where /verify has signed it', async (t) => {
  const wanted = `${wiki}/notes?page=2&q=a%20b`
  const page = await ledTo(running, wanted)
  t.equal(page.origin + page.pathname, `${origin}/sign-in`)
  t.strictSame([...page.searchParams.keys()], ['return_to', 'return_mac'])
  t.equal(page.searchParams.get('return_to'), wanted)
  const parameters = Object.fromEntries(page.searchParams)
  assertFollowed(t, await signInAt(running, parameters), wanted, 'it is followed')

  const { html } = await newBrowser(running).open(page.pathname + page.search)
  const [, signUp = ''] = /href="(\/sign-up\?[^"]*)"/.exec(html) ?? []
  const toSignUp = signUp.replaceAll('&amp;', '&')
  t.match(toSignUp, 'return_mac=', 'the link to another page has both')
  assertFollowed(
    t,
    await newBrowser(running).submit(toSignUp, {
      name: 'Eve',
      email: `${randomUUID()}@example.com`,
      password
    }),
    wanted,
    'so that a new person comes back as well'
  )

  const again = newBrowser(running)
  await again.submit('/sign-in', { email, password })
  const offered = await again.open(page.pathname + page.search)
  t.equal(offered.status, 200)
  t.match(offered.html, `href="${wanted.replaceAll('&', '&amp;')}"`)
  t.notMatch(
    offered.html,
    'http-equiv="refresh"',
    'two pages that send to each other would not end'
  )
})

t.test('without the signature, or with a wrong one, it is ignored', async (t) => {
  const mac = async (address: string) =>
    (await ledTo(running, address)).searchParams.get('return_mac') ?? ''
  const wanted = `${wiki}/notes?page=2`
  const right = await mac(wanted)
  const flipped = (right.startsWith('A') ? 'B' : 'A') + right.slice(1)
  const wrong: Record<string, Record<string, string>> = {
    'no signature': { return_to: wanted },
    'an empty one': { return_to: wanted, return_mac: '' },
    'an invented one': { return_to: wanted, return_mac: 'x'.repeat(43) },
    'a changed one': { return_to: wanted, return_mac: flipped },
    'a cut one': { return_to: wanted, return_mac: right.slice(0, -1) },
    'that of another path': { return_to: wanted, return_mac: await mac(`${wiki}/notes`) },
    'that of another host': {
      return_to: wanted,
      return_mac: await mac('https://shop.example.com/notes?page=2')
    },
    'another address with it': { return_to: `${wanted}0`, return_mac: right },
    'http with it': { return_to: wanted.replace('https:', 'http:'), return_mac: right },
    'another domain with it': {
      return_to: wanted.replace('example.com', 'example.com.evil.example'),
      return_mac: right
    }
  }
  for (const [name, parameters] of Object.entries(wrong))
    t.match(await signInAt(running, parameters, true), ignored, name)
  t.match(
    await newBrowser(running).submit(
      `/sign-in?return_to=${encodeURIComponent(wanted)}&return_mac=${right}&return_mac=${right}`,
      { email, password },
      { action: '/sign-in' }
    ),
    ignored,
    'two signatures are none'
  )
})

t.test('/verify signs only https hosts below the cookie domain', async (t) => {
  for (const [address, parameters] of [
    [`${origin}/account`, ['return_to']],
    ['https://app.example.com/orders', ['return_to']],
    ['https://example.com/', ['return_to', 'return_mac']],
    ['https://a.b.example.com:8443/x', ['return_to', 'return_mac']],
    ['http://wiki.example.com/', []],
    ['https://evilexample.com/', []],
    ['https://example.com.evil.example/', []],
    ['https://evil.example/', []]
  ] as const)
    t.strictSame([...(await ledTo(running, address)).searchParams.keys()], parameters, address)
})

t.test('without a cookie domain nothing is signed', async (t) => {
  const { cookieDomain: _none, ...others } = settings
  const server = await build(t, others)
  const page = await ledTo(server, `${wiki}/notes`)
  t.equal(page.search, '')
  t.strictSame(
    [...(await ledTo(server, 'https://app.example.com/x')).searchParams.keys()],
    ['return_to']
  )
})

t.test(
  'a signature lasts through a change of the secret, until the old one is dropped',
  async (t) => {
    const server = await build(t, settings)
    const wanted = `${wiki}/notes`
    const parameters = Object.fromEntries((await ledTo(server, wanted)).searchParams)
    await newBrowser(server).submit('/sign-up', { name: 'Ada', email, password })
    const old = server.options.authSecret ?? ''
    const next = `another secret ${randomUUID()}`
    const both = await restart(t, server, { authSecret: next, authSecretPrevious: [old] })
    assertFollowed(t, await signInAt(both, parameters), wanted, 'with both secrets')
    t.not((await ledTo(both, wanted)).searchParams.get('return_mac'), parameters['return_mac'])
  }
)
