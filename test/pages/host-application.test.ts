import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import holdfast, { type PageDetails, type PluginOptions } from '../../plugins/holdfast.js'
import { PageBrowser, type ShownPage } from '../support/page-browser.js'
import { until } from '../support/poll.js'
import { freePort } from '../support/ports.js'
import { freshStore, password } from '../support/server.js'

const PREFIX = '/identity'
const paths = ['/sign-in', '/sign-up', '/sign-out', '/second-factor', '/account', '/error']
const adminPaths = ['/admin', '/admin/users', '/admin/events', '/admin/first']

/** An application with routes of its own, and Holdfast below a prefix. */
async function applicationWith(
  t: Test,
  options: PluginOptions
): Promise<{ app: FastifyInstance; url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const app = Fastify({ pluginTimeout: 60_000 })
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ mine: 'nothing' }))
  await app.register(holdfast, {
    ...(await freshStore(t)),
    baseUrl: url,
    port,
    rateLimit: false,
    prefix: PREFIX,
    ...options
  })
  for (const path of ['/', ...paths, ...adminPaths]) {
    app.get(path, async () => ({ mine: path }))
    app.post(path, async (request) => ({ mine: path, body: request.body }))
  }
  app.get('/private', { preHandler: app.requireSession }, async ({ identity }) => ({
    name: identity?.user.name
  }))
  t.teardown(() => app.close())
  await app.listen({ host: '127.0.0.1', port })
  return { app, url }
}

/** Goes a person's way through the pages below the prefix. */
async function walk(t: Test, url: string, wrapped: (shown: ShownPage) => void): Promise<void> {
  const browser = new PageBrowser(url)
  const email = `${randomUUID()}@example.com`
  const away = await browser.open(`${PREFIX}/account/sessions?x=1`)
  t.match(away, {
    status: 303,
    location: `${PREFIX}/sign-in?return_to=${encodeURIComponent(`${url}${PREFIX}/account/sessions?x=1`)}`
  })
  const signIn = await browser.open(away.location ?? '')
  wrapped(signIn)
  for (const [, path = ''] of signIn.html.matchAll(/(?:href|src|action)="([^"]*)"/g))
    t.ok(path.startsWith(`${PREFIX}/`) || path.startsWith('#') || path === 'data:,', path)
  const files = [...signIn.html.matchAll(/(?:href|src)="([^"]*\/assets\/[^"]*)"/g)]
  t.equal(files.length, 2, 'a style sheet and a script')
  for (const [, path = ''] of files) {
    const { status, headers } = await browser.open(path)
    t.equal(status, 200, path)
    t.match(headers.get('content-type'), /^text\/(css|javascript)/)
  }
  const path = `${PREFIX}/sign-up?return_to=${encodeURIComponent(`${url}${PREFIX}/account/sessions?x=1`)}`
  t.match(await browser.submit(path, { name: 'Ada Lovelace', email, password }), {
    status: 303,
    location: `${PREFIX}/account/sessions?x=1`
  })
  const devices = await browser.open(`${PREFIX}/account/sessions?x=1`)
  t.match(devices, { status: 200, html: /This device/ })
  wrapped(devices)
  t.strictSame(await (await browser.get('/private')).json(), { name: 'Ada Lovelace' })
  const account = `${PREFIX}/account`
  t.match(await browser.submit(account, { name: 'Augusta Ada', image: '', language: 'en' }), {
    status: 303,
    location: `${account}?done=profile`
  })
  const saved = await browser.open(`${account}?done=profile`)
  t.match(saved.html, /Saved\.[^]*Augusta Ada/)
  const wrong = await browser.submit(
    `${PREFIX}/account/security`,
    { password: 'wrong horse battery', new_password: 'correct horse battery 2' },
    { action: `${PREFIX}/account/security/password` }
  )
  t.match(wrong, { status: 400, html: /The password is wrong/ })
  wrapped(wrong)
  const out = `${PREFIX}/sign-out`
  t.match(await browser.submit(out, {}), { status: 303, location: out })
  t.match((await browser.open(out)).html, /You are signed out/)
  t.equal((await browser.get('/private')).status, 401)
  const mine = `${PREFIX}/sign-in?return_to=${encodeURIComponent('/orders?page=2')}`
  const led = await browser.submit(mine, { email, password })
  t.equal(led.status, 200, 'a page leads to the application')
  t.match(led.html, `href="${url}/orders?page=2"`)
  t.match(
    [led.headers.get('refresh'), led.html].join(' '),
    /0; ?url=[^ "]*\/orders\?page=2/,
    'the browser goes there by itself'
  )
}

/** The application's own routes answer as they are written. */
async function assertUntouched(t: Test, url: string): Promise<void> {
  const browser = new PageBrowser(url)
  for (const path of ['/', ...paths, ...adminPaths]) {
    const { status, html, headers } = await browser.open(path)
    t.match([status, JSON.parse(html)], [200, { mine: path }])
    for (const name of ['content-security-policy', 'cache-control', 'set-cookie'])
      t.equal(headers.get(name), null, `${path} has no ${name} of ours`)
  }
  t.strictSame(await (await browser.post('/sign-in', { a: 1 })).json(), {
    mine: '/sign-in',
    body: { a: 1 }
  })
  t.equal(
    (await browser.send('/sign-in', { a: '1' })).status,
    415,
    'the parser of forms is for our pages alone'
  )
  t.match(await browser.open('/nothing'), { status: 404, html: '{"mine":"nothing"}' })
}

t.test('pages: true serves the pages below the prefix, and none for administrators', async (t) => {
  const { app, url } = await applicationWith(t, { pages: true })
  await walk(t, url, ({ html }) => t.match(html, /^<!doctype html>\n<html lang="en"/))
  await assertUntouched(t, url)
  const boss = new PageBrowser(url)
  const wrong = await boss.submit(`${PREFIX}/sign-in?return_to=%2Forders`, {
    email: 'nobody@example.com',
    password
  })
  const [, toGerman = ''] = /href="([^"]*)" lang="de"/.exec(wrong.html) ?? []
  t.match(
    await boss.open(toGerman.replaceAll('&amp;', '&')),
    { status: 200, html: /<html lang="de"[^]*return_to=%2Forders/ },
    'a form that was refused is there in another language, too'
  )
  await boss.open(`${PREFIX}/sign-in?lang=en`)
  const email = 'boss@example.com'
  await boss.submit(`${PREFIX}/sign-up`, { name: 'Grace Hopper', email, password })
  await app.holdfast.prisma.user.update({ where: { email }, data: { role: 'admin' } })
  await boss.submit(`${PREFIX}/sign-out`, {})
  await boss.submit(`${PREFIX}/sign-in`, { email, password })
  for (const path of adminPaths) t.equal((await boss.open(PREFIX + path)).status, 404, path)
  t.notMatch((await boss.open(`${PREFIX}/account`)).html, '/admin', 'nor does a link lead there')
  t.equal((await boss.open(`${PREFIX}/`)).status, 404, 'the start of the prefix is no page')
  t.match(await boss.open(`${PREFIX}/account/sessions/?x=1`), {
    status: 308,
    location: `${PREFIX}/account/sessions?x=1`
  })
  t.match(await boss.send(`${PREFIX}/error`, {}, { accept: 'text/html' }), {
    status: 405,
    html: /This did not work/
  })
})

t.test('a layout puts each page into the document of the application', async (t) => {
  const seen: PageDetails[] = []
  const { app, url } = await applicationWith(t, {
    brandName: 'Field Notes',
    pages: {
      admin: true,
      layout(html, details) {
        seen.push(details)
        const { title, language, styleSheets, script } = details
        return `<!doctype html><html lang="${language}" data-mine><title>${title.replaceAll('<', '&lt;')}</title>${styleSheets
          .map((href) => `<link rel="stylesheet" href="${href}">`)
          .join('')}<script src="${script}" defer></script><body>${html}</body></html>`
      }
    }
  })
  await walk(t, url, ({ html, headers }) => {
    t.match(html, /^<!doctype html><html lang="en" data-mine>/)
    t.match(html, '<div class="holdfast"')
    t.equal(html.match(/<html/g)?.length, 1, 'one document')
    t.match(headers.get('content-type'), 'text/html')
    t.match(headers.get('content-security-policy'), "default-src 'none'")
  })
  t.ok(seen.some(({ title }) => title === 'Sign in'))
  t.ok(seen.some(({ title }) => title === 'Error: Security'))
  await assertUntouched(t, url)

  const boss = new PageBrowser(url)
  const email = 'boss@example.com'
  await boss.submit(`${PREFIX}/sign-up`, { name: 'Grace Hopper', email, password })
  t.equal((await boss.open(`${PREFIX}/admin/users`)).status, 403)
  const { id } = await app.holdfast.prisma.user.findUniqueOrThrow({ where: { email } })
  await app.holdfast.prisma.user.update({ where: { id }, data: { role: 'admin' } })
  await boss.submit(`${PREFIX}/sign-out`, {})
  await boss.submit(`${PREFIX}/sign-in`, { email, password })
  const users = await boss.open(`${PREFIX}/admin/users`)
  t.match(users, { status: 200, html: `href="${PREFIX}/admin/users/${id}"` })
  const german = await boss.open(`${PREFIX}/account?lang=de`)
  t.match(german.html, /<html lang="de" data-mine><title>Dein Konto|<html lang="de" data-mine>/)
})

t.test('without the option there are no pages', async (t) => {
  for (const options of [{}, { pages: false }]) {
    const { url } = await applicationWith(t, options)
    const browser = new PageBrowser(url)
    for (const path of [...paths, ...adminPaths])
      t.equal((await browser.open(PREFIX + path)).status, 404, path)
    t.equal((await browser.get(`${PREFIX}/session`)).status, 401, 'the API is there')
    await assertUntouched(t, url)
  }
})

t.test('mails of an application lead to the pages below the prefix', async (t) => {
  const texts: string[] = []
  const { url } = await applicationWith(t, {
    pages: true,
    sendMail: async ({ text }) => void texts.push(text)
  })
  const browser = new PageBrowser(url)
  const email = `${randomUUID()}@example.com`
  await browser.submit(`${PREFIX}/sign-up`, { name: 'Ada', email, password })
  const mail = await until('the mail of the sign-up', () => texts.at(-1))
  const link = new URL(/^http\S+token=\S+$/m.exec(mail)?.[0] ?? '')
  t.equal(link.pathname, `${PREFIX}/verify-email`)
  t.match(await browser.open(link.pathname + link.search), {
    status: 303,
    location: `${PREFIX}/verify-email`
  })
  const done = await browser.submit(`${PREFIX}/verify-email`, {})
  t.match(done, { status: 303, location: `${PREFIX}/account?done=verified` })
  t.match((await browser.open(done.location ?? '')).html, /Your address is confirmed/)
  t.match((await new PageBrowser(url).open(`${PREFIX}/sign-in`)).html, `${PREFIX}/forgot-password`)
})
