import { connect } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { hiddenFields, PageBrowser, type ShownPage } from '../support/page-browser.js'
import { signUpByPage } from '../support/page-people.js'
import { until } from '../support/poll.js'
import { build, password, type Running } from '../support/server.js'
import { totpOf } from '../support/totp.js'

const email = 'ada@example.com'

/** Somebody whose address is proven: a second factor needs that while mail is on. */
async function signedUp({ url, app }: Running): Promise<PageBrowser> {
  const browser = await signUpByPage(url, { name: 'Ada Lovelace', email })
  await app.holdfast.prisma.user.updateMany({ data: { emailVerified: true } })
  return browser
}

async function turnOnFactor(browser: PageBrowser): Promise<ShownPage> {
  await browser.submit(
    '/account/security',
    { password },
    { action: '/account/security/second-factor/on' }
  )
  const enrolment = await browser.open('/account/security/second-factor')
  const secret = /<code class="secret">([^<]*)</.exec(enrolment.html)?.[1] ?? ''
  const code = totpOf(secret.replaceAll(' ', ''))
  return browser.submit('/account/security/second-factor', { code })
}

t.test('a browser that goes at once does not choose the address it comes from', async (t) => {
  const { url, log } = await build(t, { trustedProxies: ['127.0.0.1'] })
  const browser = new PageBrowser(url)
  const token = hiddenFields((await browser.open('/sign-in')).html, '/sign-in') ?? {}
  const body = new URLSearchParams({ ...token, email, password: 'wrong password' }).toString()
  const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const begun = () => log.filter((line) => line.includes('"method":"POST"')).length
  for (let i = 0; i < 10; i++) {
    const socket = connect({
      port: Number(new URL(url).port),
      host: '127.0.0.1',
      localAddress: '127.0.0.9'
    })
    await once(socket, 'connect')
    socket.write(
      `POST /sign-in HTTP/1.1\r\nHost: ${new URL(url).host}\r\nCookie: ${cookie}\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    )
    // Sometimes before the server reads it, sometimes after.
    setTimeout(() => socket.resetAndDestroy(), i)
    await once(socket, 'close')
  }
  await until('the requests have arrived', () => begun() > 0)
  t.match(await browser.open('/sign-in'), { status: 200 }, 'the server goes on')
  t.strictSame(
    log.filter((line) => line.includes('203.0.113.7')),
    [],
    'the address of the connection counts'
  )
})

t.test('a page in flight ends while the server ends', async (t) => {
  const running = await build(t, { keepAliveTimeoutSeconds: 1 })
  const { app, log } = running
  const browser = await signedUp(running)
  const hidden = hiddenFields(
    (await browser.open('/account/security')).html,
    '/account/security/second-factor/on'
  )
  const seen = log.length
  const sent = browser.send('/account/security/second-factor/on', { ...hidden, password })
  await until('the API is asked', () =>
    log.slice(seen).some((line) => line.includes('/api/auth/two-factor/enable'))
  )
  const closed = app.close()
  t.match(await sent, { status: 303, location: '/account/security/second-factor' })
  await closed
})

t.test('who has lost the phone confirms by a backup code', async (t) => {
  const running = await build(t)
  const { app } = running
  const browser = await signedUp(running)
  t.match(await turnOnFactor(browser), {
    status: 303,
    location: '/account/security/backup-codes?done=on'
  })
  const shown = await browser.open('/account/security/backup-codes?done=on')
  const [backup = ''] = [...shown.html.matchAll(/<li><code>([^<]*)</g)].map(([, each = '']) => each)
  await app.holdfast.prisma.session.updateMany({ data: { reauthAt: new Date(0) } })
  const path = '/sign-in/confirm?with=backup_code&return_to=%2Faccount%2Fdelete'
  const action = `/sign-in/confirm?with=backup_code&return_to=%2Faccount%2Fdelete`
  t.match(await browser.submit(path, { password, code: 'wrong-codes' }, { action }), {
    status: 401,
    html: /The backup code is wrong/
  })
  t.match(await browser.submit(path, { password, code: backup }, { action }), {
    status: 303,
    location: '/account/delete'
  })
  t.match(await (await browser.get('/api/auth/recent-sign-in')).json(), {
    recent: true,
    secondFactor: true
  })
  // The form of a page from before: the factor is on.
  t.match(
    await browser.send('/account/security/second-factor/on', {
      ...hiddenFields((await browser.open('/account/security')).html, '/sign-out'),
      password: 'wrong password'
    }),
    { status: 400, html: /role="alert"[^]*The password is wrong/ },
    'the problem is shown, though its form is not there'
  )
})

t.test('administration asks for the second factor, and not only for the password', async (t) => {
  const running = await build(t)
  const { url, app } = running
  const browser = await signedUp(running)
  await app.holdfast.auth.users.update(
    (await app.holdfast.prisma.user.findUniqueOrThrow({ where: { email } })).id,
    { role: 'admin' }
  )
  t.equal((await browser.open('/admin/users')).status, 200)
  // As after a sign-in on a trusted device: the factor is on, and was not shown.
  await app.holdfast.prisma.user.updateMany({ data: { twoFactorEnabled: true } })
  for (const path of ['/admin/users', '/admin/events'])
    t.match(await browser.open(path), {
      status: 303,
      location: `/sign-in/confirm?return_to=${encodeURIComponent(url + path)}`
    })
})

t.test('headers of a browser do not change what the API does', async (t) => {
  const running = await build(t)
  const { url } = running
  await signedUp(running)
  const browser = new PageBrowser(url)
  browser.headers = { 'token-transport': 'body', 'device-name': 'x', authorization: 'Basic YTpi' }
  t.match(await browser.submit('/sign-in', { email, password }), { status: 303 })
  t.equal((await browser.get('/session')).status, 200, 'the cookie has come')
})

t.test('a person with many sessions can see each of them', async (t) => {
  const running = await build(t, { maxSessionsPerUser: 1000 })
  const { app } = running
  const browser = await signedUp(running)
  await app.holdfast.prisma.$executeRaw`
    INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt", "name", "revokedAt", "revokedReason")
    SELECT '018f0000-0000-7000-8000-' || lpad(i::text, 12, '0'), 'many-' || i, (SELECT "id" FROM "user" WHERE "email" = ${email}),
      now() + interval '1 day', now() + interval '1 day', CASE WHEN i > 120 THEN 'live ' || i END, CASE WHEN i <= 120 THEN now() END, CASE WHEN i <= 120 THEN 'revoked_by_user' END
    FROM generate_series(1, 370) i`
  const seen = new Set<string>()
  const ended = new Set<string>()
  for (let path: string | undefined = '/account/sessions'; path !== undefined;) {
    const { html }: { html: string } = await browser.open(path)
    for (const [, name = ''] of html.matchAll(/<bdi>(live \d+)</g)) seen.add(name)
    path = /href="(\/account\/sessions\?more=[^"]*)"/.exec(html)?.[1]
  }
  for (let path: string | undefined = '/account/sessions'; path !== undefined;) {
    const { html }: { html: string } = await browser.open(path)
    for (const [, id = ''] of html.matchAll(
      /card ended"><p><a href="\/account\/sessions\/([^"]*)"/g
    ))
      ended.add(id)
    path = /href="(\/account\/sessions\?after=[^"]*)"/.exec(html)?.[1]
  }
  t.equal(seen.size, 250)
  t.equal(ended.size, 120)
})

t.test('too many wrong codes lead back to the sign-in, with a word', async (t) => {
  const running = await build(t)
  const browser = await signedUp(running)
  await turnOnFactor(browser)
  await browser.submit('/sign-out', {})
  t.match(await browser.submit('/sign-in', { email, password }), {
    status: 303,
    location: '/second-factor'
  })
  const page = await until('the attempts are used up', async () => {
    const shown = await browser.submit('/second-factor', { code: '000000' })
    return shown.status === 303 ? shown : null
  })
  t.equal(page.location, '/sign-in?expired=codes')
  t.match((await browser.open(page.location ?? '')).html, /Too many codes were wrong/)
})
