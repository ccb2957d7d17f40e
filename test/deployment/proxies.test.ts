import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import t from 'tap'
import { build, makeAdmin, password, signIn, signUp, type Person } from '../support/server.js'
import { makeFamily, refresh, type TestFamily } from '../support/refresh-fixtures.js'
import { makeCertificate } from '../support/certificate.js'
import { decodeEntities } from '../support/page-browser.js'
import { Front, FrontBrowser, type Reply, type Sent } from '../support/front.js'
import { publicPages } from '../support/manifests.js'
import {
  HOST,
  missing,
  startProxy,
  startTls,
  startUpstream,
  type Proxy
} from '../support/proxies.js'
import { freePort } from '../support/ports.js'

/*
 * The real proxies with the files of examples/: the entry for browsers and programs, with three
 * small applications behind the check. Clients see only https://app.example.com.
 */
const root = t
const secret = 'a-secret-of-the-gateway-in-this-test'
const origin = `https://${HOST}`
const [port, metricsPort] = [await freePort(), await freePort()]
const running = await build(t, {
  port,
  metricsPort,
  baseUrl: origin,
  trustedProxies: ['127.0.0.1'],
  gatewayClients: [`apache:${secret}`],
  accessTokenAudience: origin,
  // For tests that do not go through a proxy.
  trustedOrigins: [`http://127.0.0.1:${port}`]
})
const certificate = makeCertificate([HOST])
const [applicationPort, staffPort, apiPort] = await Promise.all([
  startUpstream(t),
  startUpstream(t),
  startUpstream(t)
])
const tlsPort = await startTls(t, port, certificate)
const places = {
  holdfastPort: port,
  applicationPort,
  staffPort,
  apiPort,
  certificate,
  replace: {
    'the-secret-that-holdfast-gateway-create-has-shown': secret,
    'https://auth.example.com': `https://127.0.0.1:${tlsPort}`,
    'SSLValidateServer On': 'SSLValidateServer Off',
    '__Secure-holdfast.session_token': '__Host-holdfast.session_token'
  }
}

// Both spellings, and mixed ones: an application that reads CGI variables cannot tell them apart.
const forged = [
  'Remote-User',
  'Remote-Email',
  'Remote-Name',
  'Remote-Groups',
  'X-Session-Id',
  'Remote_User',
  'Remote_Email',
  'Remote_Name',
  'Remote_Groups',
  'X_Session_Id',
  'REMOTE_USER',
  'remote-user'
].flatMap((name) => [name, 'forged'])
const asBrowser = ['accept', 'text/html,application/xhtml+xml']

/** What reached an application, as the application reports it. */
interface Seen {
  port: number
  method: string
  url: string
  headers: Record<string, string>
}

const seenIn = ({ status, body }: Reply) =>
  status === 200 && body ? (JSON.parse(body) as Seen) : null
const bearerOf = ({ bearer }: Person) => ['authorization', `Bearer ${bearer}`]
const cookieOf = ({ browser }: Person) => [
  'cookie',
  [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
]

/** An access token as an app gets it: from a refresh. */
async function accessTokenOf(family: TestFamily): Promise<string> {
  const { status, body } = await refresh(running.url, family.refreshToken)
  if (status !== 200) throw new Error(`the refresh was answered ${status}`)
  return body.access_token
}

/** Sends requests through one proxy. */
type Send = (
  path: string,
  headers?: readonly string[],
  sent?: Omit<Sent, 'headers'>
) => Promise<Reply>

// They run until the last test, in which Holdfast is stopped.
const names: Proxy[] = ['nginx', 'caddy', 'haproxy', 'apache2']
const fronts = new Map<Proxy, Front>()
const failures = new Map<Proxy, unknown>()
await Promise.all(
  names
    .filter((proxy) => missing(proxy) === false)
    .map(async (proxy) => {
      try {
        fronts.set(proxy, new Front(await startProxy(root, proxy, places), certificate.cert))
      } catch (error) {
        failures.set(proxy, error) // its tests fail; a throw here would leave the others running
      }
    })
)
function frontOf(proxy: Proxy): Front {
  const front = fronts.get(proxy)
  if (!front) throw new Error(`${proxy} did not start`, { cause: failures.get(proxy) })
  return front
}

for (const proxy of names) {
  const skip = missing(proxy)

  t.test(
    `O10: through ${proxy} a person signs up, signs out for good, and signs in`,
    { skip },
    async (t) => {
      const front = frontOf(proxy)
      const ada = new FrontBrowser(front)
      const email = `${randomUUID()}@example.com`
      t.equal((await ada.open('/orders')).status, 302)
      const signedUp = await ada.post('/api/auth/sign-up/email', {
        name: 'Ada Lovelace',
        email,
        password
      })
      t.equal(signedUp.status, 200, signedUp.body)
      const [cookie = ''] =
        signedUp.headers['set-cookie']?.filter((one) =>
          one.startsWith('__Host-holdfast.session_token=')
        ) ?? []
      for (const attribute of [
        /; Path=\/(;|$)/i,
        /; Secure(;|$)/i,
        /; HttpOnly(;|$)/i,
        /; SameSite=Lax(;|$)/i
      ])
        t.match(cookie, attribute)

      const { id } = JSON.parse((await ada.open('/session')).body).user as { id: string }
      const reached = seenIn(await ada.open('/orders?page=2'))
      t.match(reached, {
        port: applicationPort,
        url: '/orders?page=2',
        headers: { 'remote-user': id, 'remote-name': 'Ada Lovelace' }
      })
      t.match(seenIn(await ada.open('/api/orders')), {
        port: apiPort,
        url: '/api/orders',
        headers: { 'remote-user': id }
      })
      t.equal((await ada.open('/staff/')).status, 403, 'she lacks the role')

      const before = ada.cookie
      t.match(await ada.post('/api/auth/sign-out'), { status: 200 })
      t.equal(ada.cookies.has('__Host-holdfast.session_token'), false)
      for (const path of ['/orders', '/staff/', '/api/orders', '/session']) {
        t.equal(
          (await front.send(path, { headers: before })).status,
          401,
          `${path}: a copied cookie is refused at the next request`
        )
      }

      t.match(await ada.post('/api/auth/sign-in/email', { email, password: `${password}?` }), {
        status: 401
      })
      t.match(await ada.post('/api/auth/sign-in/email', { email, password }), { status: 200 })
      t.match(seenIn(await ada.open('/orders')), { headers: { 'remote-user': id } })
      t.match(
        await front.send('/api/auth/sign-in/email', {
          method: 'POST',
          headers: ['content-type', 'application/json', 'origin', 'https://evil.example'],
          body: JSON.stringify({ email, password })
        }),
        { status: 403 },
        'a page of another site is refused'
      )

      // An app: tokens in place of cookies, all of it through the proxy.
      const app = await front.send('/api/auth/sign-in/email', {
        method: 'POST',
        headers: ['content-type', 'application/json', 'token-transport', 'body'],
        body: JSON.stringify({ email, password })
      })
      const { tokens } = JSON.parse(app.body) as {
        tokens: { access_token: string; refresh_token: string }
      }
      t.match(
        seenIn(
          await front.send('/api/orders', {
            headers: ['authorization', `Bearer ${tokens.access_token}`]
          })
        ),
        {
          headers: { 'remote-user': id }
        }
      )
      const form = {
        method: 'POST',
        headers: ['content-type', 'application/x-www-form-urlencoded']
      }
      const refreshed = await front.send('/oauth2/token', {
        ...form,
        body: `grant_type=refresh_token&refresh_token=${tokens.refresh_token}`
      })
      t.equal(refreshed.status, 200, refreshed.body)
      const { refresh_token: last } = JSON.parse(refreshed.body) as { refresh_token: string }
      t.equal((await front.send('/oauth2/revoke', { ...form, body: `token=${last}` })).status, 200)
      t.equal(
        (
          await front.send('/api/orders', {
            headers: ['authorization', `Bearer ${tokens.access_token}`]
          })
        ).status,
        401
      )
      t.match(JSON.parse((await front.send('/.well-known/jwks.json')).body), {
        keys: [{ kty: 'EC' }]
      })
      t.match(JSON.parse((await front.send('/.well-known/oauth-authorization-server')).body), {
        issuer: origin,
        token_endpoint: `${origin}/oauth2/token`
      })
    }
  )

  t.test(
    `O10: ${proxy} leads a browser to the sign-in page and back to us alone, and a program nowhere`,
    { skip },
    async (t) => {
      const front = frontOf(proxy)
      /** The address that a browser is redirected to. */
      const ledTo = async (path: string, sent: Sent = {}) => {
        const { status, headers } = await front.send(path, {
          ...sent,
          headers: [...asBrowser, ...(sent.headers ?? [])]
        })
        const { location = '' } = headers
        if (status !== 302 || !URL.canParse(location)) return { status, location }
        t.match(headers, { 'cache-control': 'no-store' })
        const { searchParams, href } = new URL(location)
        return {
          status,
          page: href.split('?')[0],
          returnTo: searchParams.get('return_to'),
          others: [...searchParams.keys()].filter((name) => name !== 'return_to')
        }
      }
      const led = (returnTo: unknown) => ({
        status: 302,
        page: `${origin}/sign-in`,
        returnTo,
        others: []
      })

      for (const path of [
        '/',
        '/orders',
        '/orders?page=2&q=a%20b%26c',
        '/a%20b/%C3%A4?x=%2F..%2F',
        '/staff/?all=1&return_to=https://evil.example/',
        '/orders?redirect=https://evil.example/&role=none&redirect_status=200'
      ]) {
        t.strictSame(await ledTo(path), led(origin + path), path)
      }
      // The result is always one of our paths. HAProxy writes the path in the form in which the
      // application would see it.
      for (const path of ['//evil.example/x', '/%5Cevil.example', '/%2F%2Fevil.example']) {
        const { returnTo } = (await ledTo(path)) as { returnTo?: string }
        t.equal(
          returnTo === undefined || new URL(returnTo).origin === origin,
          true,
          `${path} ${returnTo}`
        )
      }
      for (const headers of [
        ['x-forwarded-host', 'evil.example'],
        ['x-original-url', 'https://evil.example/'],
        ['x-forwarded-uri', '/elsewhere'],
        ['x-forwarded-proto', 'http'],
        ['forwarded', 'host=evil.example']
      ]) {
        const { page, returnTo } = (await ledTo('/orders', { headers })) as {
          page?: string
          returnTo?: string | null
        }
        t.equal(page, `${origin}/sign-in`, String(headers))
        t.ok(returnTo === null || returnTo === `${origin}/orders`, `${headers}: ${returnTo}`)
      }
      const http2 = await front.sendHttp2('/orders?page=2', { accept: 'text/html' })
      t.match(
        http2,
        {
          status: 302,
          headers: {
            location: `${origin}/sign-in?return_to=${encodeURIComponent(`${origin}/orders?page=2`)}`
          }
        },
        'HTTP/2 gets the same redirect'
      )

      const plain = async (path: string, sent: Sent = {}) => {
        const { status, headers } = await front.send(path, sent)
        return [
          status,
          headers.location,
          headers['www-authenticate']?.startsWith('Bearer') ?? false
        ]
      }
      t.strictSame(
        await plain('/orders', { headers: ['accept', 'application/json'] }),
        [401, undefined, true],
        'a program gets 401'
      )
      t.strictSame(await plain('/orders'), [401, undefined, true])
      t.strictSame(
        await plain('/orders', { method: 'POST', body: 'x', headers: asBrowser }),
        [401, undefined, true],
        'a form gets 401'
      )
      t.strictSame(
        await plain('/api/orders', { headers: asBrowser }),
        [401, undefined, true],
        'an API gets 401 for every client'
      )
      t.strictSame(
        await plain('/api/orders?redirect=https://app.example.com/', { headers: asBrowser }),
        [401, undefined, true]
      )
      t.strictSame(
        await plain('/orders', {
          headers: [...asBrowser, 'authorization', 'Bearer hst1_garbage']
        }).then(([status]) => status),
        302,
        'an invalid credential leads to the sign-in page'
      )

      // Pages that say what is wrong with an address without a token, or a cause.
      const SIGN_IN = /^\/sign-in\?return_to=/
      const wantMore = ['/error', '/not-me']
      // Holdfast's own pages must not be guarded: the redirect to the sign-in page would be a loop.
      for (const page of [
        ...publicPages,
        '/sign-in?return_to=x',
        '/account/security',
        '/account/sessions',
        '/admin/users'
      ]) {
        const { status, headers, body } = await front.send(page, { headers: asBrowser })
        const { location } = headers
        // Pages of an account lead to the sign-in page by themselves, and a reset without a link to
        // where one asks for it. Some pages are not there yet.
        if (status === 303)
          t.match(location, page === '/reset-password' ? /^\/forgot-password$/ : SIGN_IN, page)
        else if (status === 404) t.match(body, /There is no such page/, `${page}: Holdfast answers`)
        else t.match([status, location], [wantMore.includes(page) ? 400 : 200, undefined], page)
      }
    }
  )

  t.test(
    `${proxy} leads a person to the sign-in page, and back to the page that was wanted`,
    { skip },
    async (t) => {
      const front = frontOf(proxy)
      const email = `${randomUUID()}@example.com`
      const ways = [
        { wanted: '/orders?page=2&q=a%20b%26c', page: '/sign-up', fields: { name: 'Ada' } },
        { wanted: '/orders/%C3%A4?x=1&return_to=https://evil.example/', page: '/sign-in' }
      ]
      for (const { wanted, page, fields = {} } of ways) {
        const ada = new FrontBrowser(front)
        const away = await ada.open(wanted)
        t.equal(away.status, 302)
        const toSignIn = new URL(away.headers.location ?? '')
        t.equal(toSignIn.href.split('?', 1)[0], `${origin}/sign-in`)
        const path = page + toSignIn.search
        const signedIn = await ada.submit(path, { ...fields, email, password })
        t.equal(signedIn.status, 200, 'a page leads on: it may lead to another application')
        const [, back = ''] =
          /http-equiv="refresh" content="0; url=([^"]*)"/.exec(signedIn.body) ?? []
        t.equal(decodeEntities(back), origin + wanted)
        const reached = seenIn(await ada.open(decodeEntities(back).slice(origin.length)))
        t.match(reached, { port: applicationPort, headers: { 'remote-name': 'Ada' } })
        t.equal(
          new URL(reached?.url ?? '', origin).search,
          new URL(wanted, origin).search,
          'the query is what it was'
        )
        t.ok(ada.cookies.has('__Host-holdfast.form'))
        t.notMatch(reached?.headers['cookie'] ?? '', 'holdfast', 'no cookie of the pages passes')

        t.match(await ada.open('/account'), { status: 200, body: /Ada/ })
        await ada.open('/sign-in?lang=de')
        t.ok(ada.cookies.has('__Host-holdfast.language'))
        ada.cookies.set('theme', 'dark')
        t.strictSame(
          seenIn(await ada.open('/orders'))
            ?.headers['cookie']?.split(/; */)
            .filter(Boolean),
          ['theme=dark'],
          'the application gets its own cookie alone'
        )
        t.match(await ada.submit('/account', {}, '/sign-out'), {
          status: 303,
          headers: { location: '/sign-out' }
        })
        t.equal((await ada.open(wanted)).status, 302, 'after the sign-out it is as before')
      }
      t.match(
        await new FrontBrowser(front).submit(
          '/sign-in',
          { email, password },
          '/sign-in',
          'https://evil.example'
        ),
        { status: 403 },
        'a form of another site is refused'
      )
    }
  )

  t.test(
    `O10: ${proxy} has TLS, one name, and the client's true address; what is for this side of it stays here`,
    { skip },
    async (t) => {
      const front = frontOf(proxy)
      for (const host of [HOST, 'evil.example', `${HOST}:80`]) {
        const { status, headers } = await front.sendPlain('/orders?page=2&x=%2F', { host })
        if (status === 308 || status === 301)
          t.equal(headers.location, `${origin}/orders?page=2&x=%2F`, host)
        else t.equal(status, 421, host)
      }
      t.ok([301, 308].includes((await front.sendPlain('/')).status))
      t.match((await front.send('/orders', { headers: asBrowser })).headers, {
        'strict-transport-security': /^max-age=31536000$/
      })
      t.match(
        (await front.send('/session')).headers,
        { 'strict-transport-security': /^max-age=31536000(; includeSubDomains)?$/ },
        'the header is there once'
      )
      for (const path of ['/orders', '/session', '/api/orders'])
        t.equal(
          (await front.send(path, { host: 'evil.example' })).status,
          421,
          `${path} of another name`
        )

      const ada = new FrontBrowser(front)
      const claims = [
        'x-forwarded-for',
        '203.0.113.9',
        'x-real-ip',
        '203.0.113.9',
        'forwarded',
        'for=203.0.113.9',
        'x-client-ip',
        '203.0.113.9'
      ]
      t.equal(
        (
          await ada.post(
            '/api/auth/sign-up/email',
            { name: 'Ada', email: `${randomUUID()}@example.com`, password },
            claims,
            '127.0.0.2'
          )
        ).status,
        200
      )
      const { sessions } = JSON.parse((await ada.open('/sessions')).body) as {
        sessions: { ipAddress: string }[]
      }
      t.strictSame(
        sessions.map(({ ipAddress }) => ipAddress),
        ['127.0.0.2'],
        'a client cannot choose its address'
      )
      for (const path of ['/orders', '/api/orders']) {
        const seen = seenIn(
          await front.send(path, {
            headers: [
              ...ada.cookie,
              ...claims,
              'x-forwarded-host',
              'evil.example',
              'x-forwarded-proto',
              'http'
            ],
            from: '127.0.0.2'
          })
        )
        t.match(seen, {
          headers: {
            'x-forwarded-for': /^127\.0\.0\.2$/,
            'x-forwarded-proto': /^https$/,
            'x-forwarded-host': HOST,
            host: HOST,
            'x-real-ip': /^127\.0\.0\.2$/
          }
        })
        t.equal(seen?.headers['forwarded'] ?? '', '')
      }

      // Without a session these are refused. With one they go to the application, never to
      // Holdfast.
      for (const path of [
        '/metrics',
        '/health/ready',
        '/health/live',
        '/verify',
        '/verify/for/*',
        '/docs',
        '/openapi.json',
        '/session/../metrics',
        '/api/auth/../../metrics',
        '/sessions/..%2fmetrics',
        '/%6detrics'
      ]) {
        t.ok([400, 401, 404, 405].includes((await front.send(path)).status), path)
        const { status, body } = await front.send(path, { headers: ada.cookie })
        t.notMatch(body, /holdfast_|"openapi"|"status":"(ready|live)"/, path)
        if (status === 200)
          t.ok([applicationPort, apiPort].includes((JSON.parse(body) as Seen).port), path)
      }
      t.match(
        await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text(),
        /^holdfast_ready 1$/m,
        'metrics are on METRICS_PORT'
      )
      // A path in another spelling is checked for the application that gets it.
      for (const path of [
        '/api/../staff/',
        '/%73taff/',
        '/x/..%2Fstaff/',
        '//staff/',
        '/STAFF/',
        '/staff/../staff/x',
        '/api/auth/../../staff/',
        '/./staff/'
      ]) {
        t.not(seenIn(await front.send(path, { headers: ada.cookie }))?.port, staffPort, path)
      }
      for (const path of [
        '/api/auth/../orders',
        '/sign-in/../orders',
        '/sessions/%2e%2e/orders',
        '/oauth2//../orders'
      ])
        t.equal(seenIn(await front.send(path)), null, `${path}: no detour reaches the application`)

      const handshake = [...ada.cookie, 'origin', origin]
      const opened = await front.openWebSocket('/chat', handshake)
      t.equal(opened.status, 101)
      t.match(opened.body, /"remote-name":"Ada".*8 bytes/s, 'data passes in both directions')
      t.notMatch(opened.body, 'holdfast.session_token')
      t.equal(
        (await front.openWebSocket('/chat', [...ada.cookie, 'origin', 'https://evil.example']))
          .status,
        403,
        'S17: a WebSocket of another site is refused'
      )
      t.equal((await front.openWebSocket('/chat', ['origin', origin])).status, 401)
      const tunnel = await front.send('/orders', {
        headers: [
          ...ada.cookie,
          'upgrade',
          'h2c',
          'connection',
          'Upgrade, HTTP2-Settings',
          'http2-settings',
          'AAMAAABkAARAAAAAAAIAAAAA'
        ]
      })
      t.match(tunnel, { status: 200 }, 'no other protocol passes')
      t.equal(seenIn(tunnel)?.headers['upgrade'] ?? '', '')
    }
  )
}

const askedOften = [...names, 'apache2 as a resource server'] as Proxy[]
for (const proxy of askedOften) {
  t.test(
    `S25: ${proxy} lets in only users whom Holdfast knows, and keeps the session cookie from the application`,
    { skip: missing(proxy) },
    async (t) => {
      const front = fronts.get(proxy)
      const send: Send = front
        ? (path, headers = [], sent = {}) => front.send(path, { headers, ...sent })
        : await sendPlainTo(proxy, root)
      const admin = front ? '/staff/' : '/admin/'
      const ada = await signUp(running.url)
      const phone = await signIn(running.url, ada.email)

      const out = await send('/orders')
      t.equal(out.status, 401, 'there is no session')
      t.match(out.headers['www-authenticate'], /^Bearer/)
      for (const credential of [bearerOf(phone), cookieOf(phone)]) {
        const reply = await send('/orders?page=2', [...credential, ...forged])
        t.equal(reply.status, 200, 'there is a session')
        t.match(seenIn(reply), {
          method: 'GET',
          url: '/orders?page=2',
          headers: {
            'remote-user': ada.id,
            'remote-name': 'Ada Lovelace',
            'remote-groups': 'user',
            'x-session-id': phone.sessionId
          }
        })
        t.notMatch(reply.body, 'forged', 'identity headers of the client are removed')
        t.notOk(seenIn(reply)?.headers['remote-email'], 'an unverified address is not passed on')
      }
      const posted = await send('/orders', [...bearerOf(phone), 'content-type', 'text/plain'], {
        method: 'POST',
        body: 'three apples'
      })
      t.match(seenIn(posted), { method: 'POST' }, 'a request with a body passes')
      t.equal((await send('/orders', bearerOf(phone), { method: 'HEAD' })).status, 200)
      const dropping = await send('/orders', [
        ...bearerOf(phone),
        'connection',
        'Remote-User, X-Session-Id'
      ])
      t.match(
        seenIn(dropping),
        { headers: { 'remote-user': ada.id, 'x-session-id': phone.sessionId } },
        'a client cannot make the proxy drop them'
      )
      const family = await makeFamily(running)
      const token = await accessTokenOf(family)
      t.match(
        seenIn(await send('/orders', ['authorization', `Bearer ${token}`])),
        { headers: { 'remote-user': family.userId, 'x-session-id': family.sessionId } },
        'an access token passes'
      )
      t.equal(
        (await send('/orders', ['authorization', `Bearer ${token.slice(0, -8)}AAAAAAAA`])).status,
        401
      )

      t.equal((await send(admin, bearerOf(phone))).status, 403, 'the role is missing')
      const boss = await signUp(running.url)
      await makeAdmin(running, boss)
      t.match(seenIn(await send(admin, bearerOf(boss))), {
        port: front ? staffPort : applicationPort,
        headers: { 'remote-groups': 'admin' }
      })

      // S25: the session cookie is for Holdfast only, under each name that it has here or without
      // TLS. The application keeps its own.
      const [, ours = ''] = cookieOf(boss)
      const mixed = [
        'theme=dark',
        ...ours.split('; '),
        'xholdfast.session_token=mine',
        'holdfast.device=d1.x',
        '__Secure-holdfast.two_factor=x',
        '__Host-holdfast.form=x',
        '__Host-holdfast.language=de',
        'holdfast.form=x',
        'holdfast.language=de',
        '__Host-holdfast.trust_device=x',
        'lang=en'
      ]
      const kept = ['theme=dark', 'xholdfast.session_token=mine', 'lang=en']
      for (const path of ['/orders', admin]) {
        const received =
          seenIn(await send(path, ['cookie', mixed.join('; ')]))?.headers['cookie'] ?? ''
        t.strictSame(received.split(/; */).filter(Boolean), kept, `${path} ${received}`)
      }
      if (front) {
        const crumbs = await front.sendHttp2('/orders', { cookie: mixed })
        t.equal(crumbs.status, 200)
        t.strictSame(
          seenIn(crumbs)?.headers['cookie']?.split(/; */).filter(Boolean),
          kept,
          'cookies in several HTTP/2 fields are handled alike'
        )
        t.notMatch(crumbs.body, ours.split('=')[1] ?? '')
      }
      const only = seenIn(await send('/orders', cookieOf(boss)))?.headers['cookie'] ?? ''
      t.strictSame(only.split(/; */).filter(Boolean), [], only)
      t.notMatch(
        (
          await send('/orders', [
            'cookie',
            Array.from({ length: 12 }, (_one, n) => `holdfast.other${n}=secret`).join('; '),
            ...bearerOf(boss)
          ])
        ).body,
        'secret',
        'any number of cookies is handled'
      )

      if (front) {
        const handshake = [
          'upgrade',
          'websocket',
          'sec-websocket-key',
          'dGhlIHNhbXBsZSBub25jZQ==',
          'sec-websocket-version',
          '13'
        ]
        t.equal(
          (await send('/chat', [...cookieOf(boss), ...handshake, 'origin', 'https://evil.example']))
            .status,
          403,
          'S17: a WebSocket of another site is refused'
        )
        t.equal(
          (
            await send('/orders', [...cookieOf(boss), 'origin', 'https://evil.example'], {
              method: 'POST',
              body: 'x'
            })
          ).status,
          403,
          'S18: a change from another site is refused'
        )
        t.equal(
          (
            await send('/orders', [...cookieOf(boss), 'origin', origin], {
              method: 'POST',
              body: 'x'
            })
          ).status,
          200
        )
        t.equal(
          (await send('/orders', cookieOf(boss), { method: 'POST', body: 'x' })).status,
          200,
          'a program sends no Origin'
        )
      }
      // HAProxy has no room for them itself (tune.bufsize), and Caddy passes all of them on.
      const large = ['haproxy', 'caddy'].includes(proxy)
        ? []
        : ['x-large-1', 'x-large-2', 'x-large-3'].flatMap((name) => [name, 'x'.repeat(6_000)])
      t.equal(
        (await send('/orders', [...cookieOf(boss), ...large])).status,
        200,
        'P6: 18 kB of irrelevant headers pass'
      )

      t.equal((await send('/orders', ['authorization', 'Bearer hst1_garbage'])).status, 401)

      t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
      t.equal(
        (await send('/orders', bearerOf(phone))).status,
        401,
        'the next request after a revocation is refused'
      )
      t.equal((await send('/orders', cookieOf(phone))).status, 401)
    }
  )
}

/**
 * A resource server is for programs that bring a token. Users do not sign in there, and TLS ends
 * before it.
 */
async function sendPlainTo(proxy: Proxy, t: typeof root): Promise<Send> {
  const { port: listening, folder } = await startProxy(t, proxy, places)
  const front = new Front({ port: listening, plainPort: listening, folder }, '')
  const send: Send = (path, headers = [], sent = {}) =>
    front.sendPlain(path, { headers, host: `127.0.0.1:${listening}`, ...sent })
  sends.set(proxy, send)
  return send
}
const sends = new Map<Proxy, Send>()

t.test(
  'apache2 verifies access tokens by itself, with the published keys',
  { skip: missing('apache2 that verifies') },
  async (t) => {
    const send = await sendPlainTo('apache2 that verifies', t as typeof root)
    sends.delete('apache2 that verifies')
    const family = await makeFamily(running)
    const token = await accessTokenOf(family)
    const sent = (bearer: string, path = '/orders') =>
      send(path, ['authorization', `Bearer ${bearer}`, ...forged])
    const reply = await sent(token)
    t.equal(reply.status, 200)
    t.match(seenIn(reply), {
      url: '/orders',
      headers: {
        'remote-user': family.userId,
        'remote-groups': 'user',
        'x-session-id': family.sessionId
      }
    })
    t.notMatch(reply.body, 'forged')
    t.equal((await sent(token, '/admin/')).status, 403, 'the role is missing')

    // Signed with the server's key, each with one wrong claim for this application.
    const { accessTokens } = running.app.holdfast
    const change = async (claims: Record<string, unknown>) =>
      accessTokens.sign('at+jwt', { ...decodeJwt(token), ...claims })
    t.equal((await sent(await change({ roles: ['admin'] }), '/admin/')).status, 200)
    for (const claims of [
      { aud: 'https://other.example.com' },
      { exp: Math.floor(Date.now() / 1000) - 60 },
      { aud: 'https://other.example.com', roles: ['admin'] }
    ]) {
      for (const path of ['/orders', '/admin/'])
        t.ok(
          [401, 403].includes((await sent(await change(claims), path)).status),
          JSON.stringify(claims)
        )
    }
    const ada = await signUp(running.url)
    for (const bad of [`${token.slice(0, -8)}AAAAAAAA`, 'garbage', ada.bearer])
      t.equal((await sent(bad)).status, 401)
    t.equal((await send('/orders')).status, 401, 'there is no session')
  }
)

t.test(
  'an Apache script that cannot run, and a location without a check, let no one in',
  { skip: missing('apache2') },
  async (t) => {
    const ada = await signUp(running.url)
    for (const [from, to] of [
      ['require "socket.http"', 'require "nothing"'],
      ['function guard', 'function another_name'],
      ['"HOLDFAST_VERIFY=/verify?redirect', '"OTHER=/verify?redirect']
    ] as const) {
      const front = new Front(
        await startProxy(t, 'apache2', { ...places, replace: { ...places.replace, [from]: to } }),
        certificate.cert
      )
      t.equal((await front.send('/orders', { headers: bearerOf(ada) })).status, 500, to)
    }
  }
)

t.test(
  'O10: while the database is away every proxy says 503, and no cookie is touched',
  async (t) => {
    const { url } = await build(t, {
      baseUrl: origin,
      trustedProxies: ['127.0.0.1'],
      authSecret: 'a secret of a server whose database is away: 3f9c',
      databaseUrl: `postgresql://holdfast@127.0.0.1:${await freePort()}/holdfast`
    })
    const cookie = ['cookie', `__Host-holdfast.session_token=${(await signUp(running.url)).bearer}`]
    await Promise.all(
      [...fronts.keys()].map(async (proxy) => {
        const front = new Front(
          await startProxy(t, proxy, { ...places, holdfastPort: Number(new URL(url).port) }),
          certificate.cert
        )
        for (const path of ['/orders', '/staff/', '/api/orders', '/session']) {
          for (const headers of [asBrowser, [...asBrowser, ...cookie]]) {
            const { status, headers: said } = await front.send(path, { headers })
            t.match(
              {
                status,
                retryAfter: said['retry-after'],
                location: said.location,
                cookies: said['set-cookie']
              },
              { status: 503, retryAfter: '1', location: undefined, cookies: undefined },
              `${proxy} ${path}`
            )
          }
        }
      })
    )
  }
)

t.test(
  'O10: while Holdfast is stopped no one gets in, and no one is told that they are signed out',
  async (t) => {
    const ada = await signUp(running.url)
    for (const [proxy, front] of fronts)
      sends.set(proxy, (path, headers = [], sent = {}) => front.send(path, { headers, ...sent }))
    for (const send of sends.values()) t.equal((await send('/orders', bearerOf(ada))).status, 200)
    await running.app.close()
    await Promise.all(
      [...sends].map(async ([proxy, send]) => {
        for (const credential of [[], bearerOf(ada), cookieOf(ada)]) {
          for (const path of [
            '/orders',
            '/staff/',
            '/api/orders',
            ...(credential.length > 0 ? ['/session'] : ['/sign-in'])
          ]) {
            const { status, headers } = await send(path, [...credential, ...asBrowser])
            // mod_auth_openidc cannot tell "no" from "no answer". It refuses, as the documentation
            // of its example says.
            if (!fronts.has(proxy)) t.equal(status, 401, `${proxy} ${path}`)
            else
              t.match(
                { status, retryAfter: headers['retry-after'], location: headers.location },
                { status: 503, retryAfter: '1', location: undefined },
                `${proxy} ${path}`
              )
          }
        }
      })
    )
  }
)
