import { once } from 'node:events'
import { request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { PageBrowser } from '../support/page-browser.js'
import { newPageAdmin } from '../support/page-people.js'
import { build } from '../support/server.js'

const running = await build(t)
const { url } = running
const BROWSER = 'text/html,application/xhtml+xml,*/*;q=0.8'

/** Asks for an address exactly as it is written: `fetch` would correct it first. */
async function ask(
  path: string,
  { method = 'GET', accept = BROWSER }: { method?: string; accept?: string } = {}
): Promise<{ status: number | undefined; headers: IncomingHttpHeaders; body: string }> {
  const outgoing = request(url, { method, headers: { accept } })
  outgoing.path = path
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

t.test('a browser that uses a method that a page lacks gets a page', async (t) => {
  for (const [method, path, allow] of [
    ['POST', '/admin/users', 'GET, HEAD'],
    ['POST', '/account/security/backup-codes', 'GET, HEAD'],
    ['POST', '/error', 'GET, HEAD'],
    ['POST', '/', 'GET, HEAD'],
    ['PUT', '/sign-in', 'GET, HEAD, POST'],
    ['DELETE', '/account/delete', 'GET, HEAD, POST']
  ] as const) {
    const name = `${method} ${path}`
    const page = await ask(path, { method })
    t.match(page, { status: 405, headers: { allow, 'content-type': /^text\/html/ } }, name)
    t.match(page.headers['content-security-policy'], "default-src 'none'", name)
    t.match(page.headers['cache-control'], 'no-store', name)
    t.match(page.body, /<title>Error: This did not work/, name)
    for (const accept of ['application/json', '*/*', '']) {
      const answer = await ask(path, { method, accept })
      t.match(answer, {
        status: 405,
        headers: { allow, 'content-type': 'application/problem+json' }
      })
      t.match(JSON.parse(answer.body), { status: 405, cause: 'method_not_allowed' }, name)
    }
  }
  const german = await new PageBrowser(url).fetch('/error', {
    method: 'POST',
    headers: { accept: BROWSER, 'accept-language': 'de' }
  })
  t.match(await german.text(), /<html lang="de"/)
})

t.test('the path of a form alone leads to its page', async (t) => {
  for (const path of ['/account/security/password', '/account/sessions/end-others'])
    t.match(await ask(path), {
      status: 303,
      headers: { location: path.split('/').slice(0, 3).join('/') }
    })
})

t.test('the API answers a browser as it does programs', async (t) => {
  for (const [method, path] of [
    ['GET', '/api/auth/sign-in/email'],
    ['POST', '/session']
  ] as const) {
    const answer = await ask(path, { method })
    t.match(answer, { status: 405, headers: { 'content-type': 'application/problem+json' } }, path)
  }
  t.match(await ask('/session/'), { status: 404 }, 'a route is no page')
})

t.test('the address of a page with a slash behind it leads to the page', async (t) => {
  const { pages, id } = await newPageAdmin(running)
  for (const path of [
    '/sign-in',
    '/sign-up',
    '/account',
    '/account/sessions',
    '/admin',
    '/admin/users',
    `/admin/users/${id}`,
    '/account/security/password'
  ]) {
    for (const query of ['', '?return_to=%2Faccount&x=1', '?//evil.example/']) {
      const answer = await ask(`${path}/${query}`)
      t.match(answer, { status: 308, headers: { location: path + query } }, path + query)
      t.match(answer.headers['cache-control'], 'no-store')
    }
    for (const accept of ['application/json', '*/*', '']) {
      const answer = await ask(`${path}/`, { accept })
      t.match(answer, { status: 404, headers: { 'content-type': 'application/problem+json' } })
      t.match(JSON.parse(answer.body), { cause: 'not_found' }, `${path}/ for a program`)
    }
  }
  t.match(await pages.open(`/admin/users/${id}/`), { status: 308 })
  t.match(await pages.open(`/admin/users/${id}`), { status: 200 })
  t.match(await ask('/sign-in/', { method: 'POST' }), {
    status: 404,
    headers: { 'content-type': /^text\/html/ },
    body: /There is no such page/
  })
})

t.test('no address leads to another origin', async (t) => {
  for (const path of [
    '//evil.example/',
    '//evil.example//',
    '///evil.example/',
    '/\\evil.example/',
    '/\\/evil.example/',
    '\\\\evil.example/',
    '/%2F%2Fevil.example/',
    '/%5Cevil.example/',
    '/%09/evil.example/',
    '/.//evil.example/',
    '//evil.example/sign-in/',
    '//evil.example/sign-in/?x=/',
    '/\\evil.example/sign-in/',
    '/sign-in//',
    '/sign-in///',
    '/sign-in/%2F',
    '/sign-in/..//evil.example/',
    '//sign-in/',
    '/./sign-in/',
    '/admin/users//',
    '/admin/users/%2F%2Fevil.example/',
    '/admin/users/\\\\evil.example/',
    '/admin/users//evil.example/',
    'http://evil.example/sign-in/',
    'http://evil.example//evil.example/',
    '//',
    '///',
    '/;//evil.example/',
    '/@evil.example/'
  ]) {
    const { status, headers } = await ask(path)
    t.match(status, /^(308|400|404)$/, path)
    t.equal(status === 308, headers.location !== undefined, path)
    if (headers.location === undefined) continue
    t.match(headers.location, /^\/(?![/\\])/, `${path} → ${headers.location}`)
    t.equal(new URL(headers.location, url).origin, url, `${path} stays here`)
  }
  for (const path of ['//evil.example/', '/\\evil.example/', '/sign-in//', '/%2F%2Fevil.example/'])
    t.match(await ask(path), { status: 404, body: /There is no such page/ }, path)
})
