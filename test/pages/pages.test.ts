import t, { type Test } from 'tap'
import { TOKEN_FIELD } from '../../plugins/pages/parts.js'
import { makeFolder } from '../support/folder.js'
import { hiddenFields, PageBrowser } from '../support/page-browser.js'
import { signUpByPage } from '../support/page-people.js'
import { build, password, signUp } from '../support/server.js'

const email = 'grace@example.com'

const signedUp = (url: string, address = email) =>
  signUpByPage(url, { name: 'Grace Hopper', email: address })

t.test('a person signs up, signs out and signs in without script', async (t) => {
  const { url } = await build(t)
  const browser = new PageBrowser(url)
  t.match(await browser.open('/'), { status: 303, location: '/sign-in' })
  t.match(await browser.submit('/sign-up', { name: 'Grace Hopper', email, password }), {
    status: 303,
    location: '/account'
  })
  t.match(await browser.open('/'), { status: 303, location: '/account' })
  t.match((await browser.open('/account')).html, /Grace Hopper/)
  const out = await browser.submit('/sign-out', {})
  t.match(out, { status: 303, location: '/sign-out' })
  t.match((await browser.open('/sign-out')).html, /You are signed out/)
  t.equal((await browser.get('/session')).status, 401, 'the session has ended')
  const back = `${url}/account/sessions?x=1&y=2`
  const there = await browser.open('/account/sessions?x=1&y=2')
  t.match(there, {
    status: 303,
    location: `/sign-in?return_to=${encodeURIComponent(back)}`
  })
  t.match(await browser.submit(there.location ?? '', { email, password }), {
    status: 303,
    location: '/account/sessions?x=1&y=2'
  })
})

t.test('a wrong field is named, and what was typed is kept but never a password', async (t) => {
  const { url } = await build(t)
  const wrong = await new PageBrowser(url).submit('/sign-up', {
    name: '<b>Grace</b>',
    email,
    password: 'short7!'
  })
  t.equal(wrong.status, 400)
  t.match(wrong.html, /<title>Error: Create an account/)
  t.match(wrong.html, /role="alert"/)
  t.match(wrong.html, /href="#password"/, 'the summary links to the field')
  t.match(wrong.html, /<input id="password"[^>]*aria-invalid="true"/)
  t.match(wrong.html, /<input id="password"[^>]*autofocus/, 'the wrong field has the focus')
  t.match(wrong.html, /value="&lt;b>Grace&lt;\/b>"/, 'typed text is kept, as text')
  t.notMatch(wrong.html, /short7!/, 'the password is not on the page')
  const unknown = await new PageBrowser(url).submit('/sign-in', { email, password })
  t.equal(unknown.status, 401)
  t.match(unknown.html, /E-mail address or password is wrong/)
  t.match(unknown.html, new RegExp(`value="${email}"`))
})

t.test('a form without the right token shows its page again, and changes nothing', async (t) => {
  const { url } = await build(t)
  await signedUp(url)
  const fields = { email, password }
  const other = new PageBrowser(url)
  const otherToken = hiddenFields((await other.open('/sign-in')).html, '/sign-in')
  const wrong: Record<string, Record<string, string>> = {
    'no token': {},
    'an invented token': { [TOKEN_FIELD]: 'x'.repeat(43) },
    'the token of another browser': otherToken ?? {}
  }
  for (const [name, sent] of Object.entries(wrong)) {
    const browser = new PageBrowser(url)
    await browser.open('/sign-in')
    const shown = await browser.send('/sign-in', { ...fields, ...sent })
    t.equal(shown.status, 403, name)
    t.match(shown.html, /open for too long/)
    t.match(shown.html, new RegExp(`value="${email}"`), 'what was typed is kept')
    t.equal((await browser.get('/session')).status, 401, `${name} signs nobody in`)
    const again = hiddenFields(shown.html, '/sign-in')
    t.match(await browser.send('/sign-in', { ...fields, ...again }), { status: 303 }, 'sent again')
  }
  const noCookie = new PageBrowser(url)
  const token = hiddenFields((await noCookie.open('/sign-in')).html, '/sign-in')
  noCookie.cookies.clear()
  t.equal((await noCookie.send('/sign-in', { ...fields, ...token })).status, 403)
})

t.test('a form of one session is not taken in another', async (t) => {
  const { url } = await build(t)
  const browser = await signedUp(url)
  const page = await browser.open('/account')
  const token = hiddenFields(page.html, '/account') ?? {}
  const other = await signedUp(url, 'other@example.com')
  for (const [name, value] of other.cookies)
    if (/session/.test(name)) browser.cookies.set(name, value)
  const shown = await browser.send('/account', { ...token, name: 'Mallory', image: '' })
  t.equal(shown.status, 403)
  t.notMatch((await browser.open('/account')).html, /Mallory/)
})

t.test('a form that another site sent is refused', async (t) => {
  const { url } = await build(t)
  const browser = await signedUp(url)
  const page = await browser.open('/account')
  const fields = { ...hiddenFields(page.html, '/account'), name: 'Mallory', image: '' }
  const foreign: Record<string, string>[] = [
    { origin: 'https://evil.example' },
    { origin: `${url}.evil.example` },
    { origin: url, 'sec-fetch-site': 'cross-site' },
    { origin: url, 'sec-fetch-site': 'same-site' },
    { origin: 'capacitor://localhost' }
  ]
  for (const headers of foreign) {
    const shown = await browser.send('/account', fields, headers)
    t.equal(shown.status, 403, JSON.stringify(headers))
    t.match(shown.html, /sent from another address/)
  }
  const { user } = (await (await browser.get('/session')).json()) as { user: { name: string } }
  t.equal(user.name, 'Grace Hopper', 'nothing was changed')
  t.equal((await browser.send('/account', fields, { origin: 'null' })).status, 303, 'null alone')
})

t.test('a sign-in returns only to addresses that are trusted', async (t) => {
  const { url } = await build(t, { trustedOrigins: ['https://app.example.com'] })
  await signedUp(url)
  const foreign = [
    'https://evil.example/',
    '//evil.example/',
    '/\\evil.example',
    '\\\\evil.example',
    `${url}@evil.example/`,
    `${url}.evil.example/`,
    'https://app.example.com.evil.example/',
    'https://app.example.com:444/',
    'http://app.example.com/',
    'https://user:pass@app.example.com/',
    'javascript:alert(1)',
    'data:text/html,x',
    'capacitor://app.example.com',
    `/${'a'.repeat(5_000)}`
  ]
  for (const address of foreign) {
    const path = `/sign-in?return_to=${encodeURIComponent(address)}`
    const shown = await new PageBrowser(url).submit(
      path,
      { email, password },
      { action: '/sign-in' }
    )
    t.match(shown, { status: 303, location: '/account' }, `${address} is ignored`)
  }
  const own = `/sign-in?return_to=${encodeURIComponent('/account/security')}`
  t.match(await new PageBrowser(url).submit(own, { email, password }), {
    status: 303,
    location: '/account/security'
  })
  for (const address of ['https://app.example.com/a?b=c#d', `${url}/somewhere?x=1`]) {
    const path = `/sign-in?return_to=${encodeURIComponent(address)}`
    const shown = await new PageBrowser(url).submit(path, { email, password })
    t.equal(shown.status, 200, 'a page leads on')
    t.match(shown.html, `http-equiv="refresh" content="0; url=${address}"`)
    t.match(shown.html, `<a href="${address}"`)
  }
  for (const path of ['/sign-in', '/sign-out', '/second-factor'])
    t.match(
      await new PageBrowser(url).submit(`/sign-in?return_to=${encodeURIComponent(path)}`, {
        email,
        password
      }),
      { status: 303, location: '/account' },
      `${path} would lead on again`
    )
})

t.test('what people type is shown as text, on every page', async (t) => {
  const { url, app } = await build(t)
  const payloads = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    '</title><script>alert(1)</script>',
    '{{7*7}} ${7*7} <%= 7*7 %>',
    '&lt;script&gt;',
    'javascript:alert(1)'
  ]
  const administrator = await signedUp(url, 'admin@example.com')
  await app.holdfast.prisma.user.updateMany({
    where: { email: 'admin@example.com' },
    data: { role: 'user,admin' }
  })
  await administrator.submit('/sign-out', {})
  await administrator.submit('/sign-in', { email: 'admin@example.com', password })
  for (const [i, payload] of payloads.entries()) {
    const address = `p${i}@example.com`
    const browser = new PageBrowser(url)
    browser.headers = { 'user-agent': payload }
    await browser.submit('/sign-up', { name: payload, email: address, password })
    await browser.send('/account', {
      ...hiddenFields((await browser.open('/account')).html, '/account'),
      name: payload,
      image: `https://images.example/${encodeURIComponent(payload)}`
    })
    const { session } = (await (await browser.get('/session')).json()) as {
      session: { id: string; userId: string }
    }
    const { id, userId } = session
    await browser.submit(
      `/account/sessions/${id}`,
      { name: payload },
      { action: `/account/sessions/${id}/name` }
    )
    const seen = ['/account', '/account/security', '/account/sessions', `/account/sessions/${id}`]
    for (const path of seen) assertText(t, (await browser.open(path)).html, payload)
    const user = `/admin/users/${userId}`
    await administrator.submit(user, { reason: payload, until: '' }, { action: `${user}/ban` })
    for (const path of [user, `${user}/sessions/${id}`, '/admin/users', '/admin/events'])
      assertText(t, (await administrator.open(path)).html, payload)
    for (const query of ['q', 'kind', 'done', 'return_to', 'error', 'lang', 'token', 'after'])
      for (const path of ['/admin/users', '/sign-in', '/error', '/admin/first', '/account'])
        assertText(
          t,
          (await administrator.open(`${path}?${query}=${encodeURIComponent(payload)}`)).html,
          payload
        )
  }
})

function assertText(t: Test, html: string, payload: string): void {
  t.equal(html.match(/<script/g)?.length ?? 0, html === '' ? 0 : 1, `one script: ${payload}`)
  // Preact writes every value in double quotes.
  const tags = html.replaceAll(/"[^"]*"/g, '""').match(/<[^>]*>/g) ?? []
  t.strictSame(
    tags.filter((tag) => /\son\w+=|^<img(?! class)/.test(tag)),
    [],
    'no tag with a handler'
  )
  t.notMatch(html, /href="javascript:|src="(?:javascript|data):/)
}

t.test('an image is shown only from this origin, and kept only with http or https', async (t) => {
  const { url } = await build(t)
  const browser = await signedUp(url)
  const set = (image: string) => browser.submit('/account', { name: 'Grace Hopper', image })
  for (const image of ['javascript:alert(1)', 'data:image/svg+xml,<svg/>', 'x', '//x', 'blob:x'])
    t.equal((await set(image)).status, 400, image)
  await set('https://images.example/grace.png')
  t.match((await browser.open('/account')).html, />GH</, 'another origin: initials')
  await set(`${url}/grace.png`)
  t.match((await browser.open('/account')).html, `<img class="avatar" src="${url}/grace.png"`)
  // An API client may set any text.
  await browser.post('/api/auth/update-user', { image: 'javascript:alert(1)' })
  t.match((await browser.open('/account')).html, />GH</)
})

t.test('the headers of pages', async (t) => {
  const { url } = await build(t)
  const browser = new PageBrowser(url)
  for (const path of ['/sign-in', '/sign-up', '/error', '/account']) {
    const { headers } = await browser.open(path)
    t.equal(
      headers.get('content-security-policy'),
      "default-src 'none';style-src 'self';img-src 'self' data:;script-src 'self';connect-src 'self';form-action 'self';frame-ancestors 'none';base-uri 'none'"
    )
    t.equal(headers.get('referrer-policy'), 'same-origin')
    t.equal(headers.get('cache-control'), 'no-store')
    t.equal(headers.get('x-content-type-options'), 'nosniff')
    t.equal(headers.get('x-frame-options'), 'DENY')
    t.equal(headers.get('access-control-allow-origin'), null)
  }
  const { html } = await browser.open('/sign-in')
  const files = [...html.matchAll(/(?:href|src)="(\/sign-in\/assets\/[^"]+)"/g)].map(
    ([, path = '']) => path
  )
  t.equal(files.length, 2)
  for (const path of files) {
    const { status, headers } = await browser.open(path)
    t.equal(status, 200)
    t.equal(headers.get('cache-control'), 'public, max-age=31536000, immutable')
  }
})

t.test('pages speak the language of the browser, and the one that was chosen', async (t) => {
  const { url } = await build(t)
  const browser = new PageBrowser(url)
  const titleOf = async (language: string) =>
    /<h1>([^<]*)/.exec((await browser.open('/sign-in', { 'accept-language': language })).html)?.[1]
  t.equal(await titleOf('de-AT,de;q=0.9,en;q=0.5'), 'Anmelden')
  t.equal(await titleOf('fr, en;q=0.2, de;q=0.8'), 'Anmelden')
  t.equal(await titleOf('fr'), 'Sign in')
  t.equal(await titleOf('de;q=0, *'), 'Sign in')
  t.match((await browser.open('/sign-in?lang=de')).html, /<html lang="de"/)
  t.equal(await titleOf('en'), 'Anmelden', 'the choice is kept')
  t.match((await browser.open('/sign-in?lang=xx')).html, /<html lang="de"/)
})

t.test('PAGES=off, SIGN_UP=closed, the brand, and an own style sheet', async (t) => {
  const off = await build(t, { pages: false })
  t.equal((await new PageBrowser(off.url).open('/sign-in')).status, 404)
  t.equal((await new PageBrowser(off.url).open('/')).status, 404)
  const dir = makeFolder(t, {
    'logo.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
    'own.css': 'p{}'
  })
  const { url } = await build(t, {
    signUp: 'closed',
    brandName: 'Analytical <Engine>',
    brandLogo: `${dir}/logo.svg`,
    brandAccent: '#ffee00',
    pagesStylesheet: `${dir}/own.css`,
    termsUrl: 'https://example.com/terms',
    privacyUrl: 'https://example.com/privacy'
  })
  const browser = new PageBrowser(url)
  const { html } = await browser.open('/sign-in')
  t.notMatch(html, /sign-up/, 'no link to a page that is closed')
  t.equal((await browser.open('/sign-up')).status, 403)
  t.match(html, /Analytical &lt;Engine>/)
  t.match(html, /href="https:\/\/example.com\/terms"/)
  const [style = '', own = ''] = [...html.matchAll(/rel="stylesheet" href="([^"]+)"/g)].map(
    ([, path = '']) => path
  )
  t.match((await browser.open(style)).html, /--accent:#ffee00;--on-accent:#000/)
  t.equal((await browser.open(own)).html, 'p{}')
  const logo = /<img src="([^"]+)"/.exec(html)?.[1] ?? ''
  t.equal((await browser.open(logo)).headers.get('content-type'), 'image/svg+xml')
})

t.test('a second sign-in in another tab leaves one session', async (t) => {
  const { url } = await build(t)
  const browser = await signedUp(url)
  await browser.submit('/sign-out', {})
  const tab = hiddenFields((await browser.open('/sign-in')).html, '/sign-in') ?? {}
  await browser.submit('/sign-in', { email, password })
  t.match(await browser.send('/sign-in', { ...tab, email, password }), { status: 303 })
  const { sessions } = (await (await browser.get('/sessions')).json()) as { sessions: unknown[] }
  t.equal(sessions.length, 1)
})

t.test('a person sees their devices, and why one ended', async (t) => {
  const { url } = await build(t)
  const here = await signedUp(url)
  const there = new PageBrowser(url)
  there.headers = { 'user-agent': 'FieldNotes/3 (iPhone)' }
  await there.submit('/sign-in', { email, password })
  const { html } = await here.open('/account/sessions')
  t.match(html, /This device/)
  t.match(html, /FieldNotes on iPhone|FieldNotes/)
  t.match(html, /<time datetime="[^"]+Z" title="[^"]+UTC">now<\/time>/)
  const id = [...html.matchAll(/action="\/account\/sessions\/([\w-]{36})\/end"/g)]
    .map(([, each = '']) => each)
    .find((each) => !html.includes(`${each}">x`))
  t.ok(id)
  t.match(await here.submit('/account/sessions', {}, { action: '/account/sessions/end-others' }), {
    status: 303,
    location: '/account/sessions?done=others'
  })
  t.equal((await there.get('/session')).status, 401)
  const after = await here.open('/account/sessions?done=others')
  t.match(after.html, /All other devices are signed out/)
  t.match(after.html, /Signed out from another device/)
  const signIn = await there.open('/account')
  t.match((await there.open(signIn.location ?? '')).html, /You were signed out/)
  const stranger = await signUp(url)
  const foreign = new PageBrowser(url)
  for (const [name, value] of stranger.browser.cookies) foreign.cookies.set(name, value)
  t.equal((await foreign.open(`/account/sessions/${id}`)).status, 404, 'of another person')
})

t.test('methods, bodies and addresses that no page has', async (t) => {
  const { url } = await build(t)
  const browser = await signedUp(url)
  t.equal((await browser.fetch('/sign-in', { method: 'PUT' })).status, 405)
  t.equal((await browser.post('/sign-in', { email, password })).status, 415, 'JSON is for the API')
  t.equal((await browser.send('/account', { name: 'x'.repeat(40_000) })).status, 413)
  t.equal((await browser.open('/account/sessions/not-an-id')).status, 404)
  t.match(await browser.open('/error?error=banned_user'), { status: 400 })
  const nowhere = await browser.open('/nowhere')
  t.equal(nowhere.status, 404)
  t.match(nowhere.html, /There is no such page/)
  const forPrograms = await browser.get('/nowhere')
  t.equal(forPrograms.status, 404)
  t.match(await forPrograms.json(), { cause: 'not_found' })
})
