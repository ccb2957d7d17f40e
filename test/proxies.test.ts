import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { decodeJwt } from 'jose'
import t from 'tap'
import { build, makeAdmin, signIn, signUp, type Person } from './helper.js'
import { makeFamily, refresh, type TestFamily } from './families.js'
import { missing, proxies, startProxy, startTls, startUpstream, type Proxy } from './services/proxies.js'

/*
 * The real proxies with the files of examples/, in front of a small application.
 */
const root = t
const secret = 'a-secret-of-the-gateway-in-this-test'
const running = await build(t, { trustedProxies: ['127.0.0.1'], gatewayClients: [`apache:${secret}`], accessTokenAudience: 'https://app.example.com' })
const upstreamPort = await startUpstream(t)
const tlsPort = await startTls(t, Number(new URL(running.url).port))
const places = {
  holdfastPort: Number(new URL(running.url).port), upstreamPort,
  replace: {
    'the-secret-that-holdfast-gateway-create-has-shown': secret,
    'https://auth.example.com': `https://127.0.0.1:${tlsPort}`, 'SSLValidateServer On': 'SSLValidateServer Off'
  }
}
const urls = new Map<Proxy, string>()

// Both spellings, and mixed ones: an application that reads CGI variables cannot tell them apart.
const forged = ['Remote-User', 'Remote-Email', 'Remote-Name', 'Remote-Groups', 'X-Session-Id', 'Remote_User', 'Remote_Email', 'Remote_Name', 'Remote_Groups', 'X_Session_Id', 'REMOTE_USER', 'remote-user']
  .flatMap((name) => [name, 'forged'])

interface Seen {
  method: string
  url: string
  headers: Record<string, string>
}

async function send(url: string, path: string, headers: string[] = [], method = 'GET', body = ''): Promise<{ status: number, seen: Seen | null, response: IncomingMessage }> {
  const outgoing = request(new URL(path, url), { method, headers: ['host', new URL(url).host, 'connection', 'close', ...(body ? ['content-length', String(body.length)] : []), ...headers] }).end(body)
  const [response] = await once(outgoing, 'response') as [IncomingMessage]
  const seen = response.statusCode === 200 && method !== 'HEAD' ? await json(response) as Seen : null
  if (!seen) response.resume()
  return { status: response.statusCode ?? 0, seen, response }
}

const bearerOf = ({ bearer }: Person) => ['authorization', `Bearer ${bearer}`]
const cookieOf = ({ browser }: Person) => ['cookie', [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')]

/** An access token as an app has it: from the exchange of a refresh token. */
async function accessTokenOf(family: TestFamily): Promise<string> {
  const { status, body } = await refresh(running.url, family.refreshToken)
  if (status !== 200) throw new Error(`the refresh was answered ${status}`)
  return body.access_token
}

const asking = (Object.keys(proxies) as Proxy[]).filter((name) => name !== 'apache2 that verifies')
for (const proxy of asking) {
  t.test(`S25: ${proxy} lets in whom Holdfast knows, and nobody else, and keeps the session cookie from the application`, { skip: missing(proxy) }, async (t) => {
    // It runs until the last test, in which Holdfast is stopped.
    const url = await startProxy(root, proxy, places)
    urls.set(proxy, url)
    const ada = await signUp(running.url)
    const phone = await signIn(running.url, ada.email)

    const out = await send(url, '/orders')
    t.equal(out.status, 401, 'signed out')
    t.match(out.response.headers['www-authenticate'], /^Bearer/)
    for (const credential of [bearerOf(phone), cookieOf(phone)]) {
      const { status, seen } = await send(url, '/orders?page=2', [...credential, ...forged])
      t.equal(status, 200, 'signed in')
      t.match(seen, { method: 'GET', url: '/orders?page=2', headers: { 'remote-user': ada.id, 'remote-name': 'Ada Lovelace', 'remote-groups': 'user', 'x-session-id': phone.sessionId } })
      t.notMatch(JSON.stringify(seen), 'forged', 'what a client says of itself is removed')
      t.notOk(seen?.headers['remote-email'], 'an address that nobody has verified is not passed on')
    }
    const posted = await send(url, '/orders', [...bearerOf(phone), 'content-type', 'text/plain'], 'POST', 'three apples')
    t.match(posted, { status: 200, seen: { method: 'POST' } }, 'a body is no hindrance')
    t.equal((await send(url, '/orders', bearerOf(phone), 'HEAD')).status, 200)
    const dropping = await send(url, '/orders', [...bearerOf(phone), 'connection', 'Remote-User, X-Session-Id'])
    t.match(dropping, { status: 200, seen: { headers: { 'remote-user': ada.id, 'x-session-id': phone.sessionId } } }, 'nor can it have them dropped')
    const family = await makeFamily(running)
    const token = await accessTokenOf(family)
    t.match(await send(url, '/orders', ['authorization', `Bearer ${token}`]), { status: 200, seen: { headers: { 'remote-user': family.userId, 'x-session-id': family.sessionId } } }, 'with an access token')
    t.equal((await send(url, '/orders', ['authorization', `Bearer ${token.slice(0, -8)}AAAAAAAA`])).status, 401)

    t.equal((await send(url, '/admin/', bearerOf(phone))).status, 403, 'role missing')
    const boss = await signUp(running.url)
    await makeAdmin(running, boss)
    t.match(await send(url, '/admin/', bearerOf(boss)), { status: 200, seen: { headers: { 'remote-groups': 'admin' } } })

    // S25: the session's cookie is for Holdfast, under each name that it has here or on https; the application keeps its own.
    const [, ours = ''] = cookieOf(boss)
    const mixed = ['cookie', `theme=dark; ${ours}; xholdfast.session_token=mine; __Host-holdfast.device=d1.x; __Secure-holdfast.two_factor=x; lang=en`]
    for (const path of ['/orders', '/admin/']) {
      const { status, seen } = await send(url, path, mixed)
      t.equal(status, 200)
      const received = seen?.headers['cookie'] ?? ''
      t.strictSame(received.split(/; */).filter(Boolean), ['theme=dark', 'xholdfast.session_token=mine', 'lang=en'], `${path} ${received}`)
    }
    t.notOk((await send(url, '/orders', cookieOf(boss))).seen?.headers['cookie'])
    t.notMatch(JSON.stringify((await send(url, '/orders', ['cookie', Array.from({ length: 7 }, (_one, n) => `holdfast.other${n}=secret`).join('; '), ...bearerOf(boss)])).seen), 'secret', 'however many there are')

    if (proxy !== 'apache2 as a resource server') {
      const handshake = ['upgrade', 'websocket', 'sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version', '13']
      t.equal((await send(url, '/chat', [...cookieOf(boss), ...handshake, 'origin', 'https://evil.example'])).status, 403, 'S17: a WebSocket of another site')
      t.equal((await send(url, '/orders', [...cookieOf(boss), 'origin', 'https://evil.example'], 'POST', 'x')).status, 403, 'S18: a change of another site')
      t.equal((await send(url, '/orders', cookieOf(boss), 'POST', 'x')).status, 200, 'a program sends no Origin')
    }
    // HAProxy has no room for them itself (tune.bufsize), and Caddy passes all of them on.
    const large = ['haproxy', 'caddy'].includes(proxy) ? [] : ['x-large-1', 'x-large-2', 'x-large-3'].flatMap((name) => [name, 'x'.repeat(6_000)])
    t.equal((await send(url, '/orders', [...cookieOf(boss), ...large])).status, 200, 'P6: 18 kB of headers that decide nothing')

    t.equal((await send(url, '/orders', ['authorization', 'Bearer hst1_garbage'])).status, 401)

    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    t.equal((await send(url, '/orders', bearerOf(phone))).status, 401, 'revoked: on the next request')
    t.equal((await send(url, '/orders', cookieOf(phone))).status, 401)
  })
}

t.test('apache2 verifies access tokens by itself, with the published keys', { skip: missing('apache2 that verifies') }, async (t) => {
  const url = await startProxy(t, 'apache2 that verifies', places)
  const family = await makeFamily(running)
  const token = await accessTokenOf(family)
  const sent = (bearer: string, path = '/orders') => send(url, path, ['authorization', `Bearer ${bearer}`, ...forged])
  const { status, seen } = await sent(token)
  t.equal(status, 200)
  t.match(seen, { url: '/orders', headers: { 'remote-user': family.userId, 'remote-groups': 'user', 'x-session-id': family.sessionId } })
  t.notMatch(JSON.stringify(seen), 'forged')
  t.equal((await sent(token, '/admin/')).status, 403, 'role missing')

  // Signed with the key of the server, each with one claim that is not right for this application.
  const { accessTokens } = running.app.holdfast
  const change = async (claims: Record<string, unknown>) => accessTokens.sign('at+jwt', { ...decodeJwt(token), ...claims })
  t.equal((await sent(await change({ roles: ['admin'] }), '/admin/')).status, 200)
  for (const claims of [{ aud: 'https://other.example.com' }, { exp: Math.floor(Date.now() / 1000) - 60 }, { aud: 'https://other.example.com', roles: ['admin'] }]) {
    for (const path of ['/orders', '/admin/']) t.ok([401, 403].includes((await sent(await change(claims), path)).status), JSON.stringify(claims))
  }
  const ada = await signUp(running.url)
  for (const bad of [`${token.slice(0, -8)}AAAAAAAA`, 'garbage', ada.bearer]) t.equal((await sent(bad)).status, 401)
  t.equal((await send(url, '/orders')).status, 401, 'signed out')
})

t.test('a script of Apache that cannot run lets nobody in', { skip: missing('apache2') }, async (t) => {
  const ada = await signUp(running.url)
  for (const [from, to] of [['require "socket.http"', 'require "nothing"'], ['function signed_in', 'function another_name']] as const) {
    const url = await startProxy(t, 'apache2', { ...places, replace: { ...places.replace, [from]: to } })
    t.equal((await send(url, '/orders', bearerOf(ada))).status, 500, to)
  }
})

t.test('while Holdfast is stopped nobody gets in', async (t) => {
  const ada = await signUp(running.url)
  for (const url of urls.values()) t.equal((await send(url, '/orders', bearerOf(ada))).status, 200)
  await running.app.close()
  for (const [proxy, url] of urls) {
    for (const credential of [[], bearerOf(ada), cookieOf(ada)]) {
      for (const path of ['/orders', '/admin/']) {
        const { status } = await send(url, path, credential)
        // mod_auth_openidc cannot tell "no" from "no answer": it refuses, as the documentation of its example says.
        t.equal(status, { caddy: 502, 'apache2 as a resource server': 401 }[proxy as string] ?? 503, `${proxy} ${path}`)
      }
    }
  }
})
