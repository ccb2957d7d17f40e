import t from 'tap'
import { makeFolder } from '../support/folder.js'
import { PageBrowser } from '../support/page-browser.js'
import { build, freshStore, password } from '../support/server.js'
import { runCli } from '../support/server-process.js'

t.test('a file of the brand that cannot be served refuses the start, by its name', async (t) => {
  const folder = makeFolder(t, {
    'logo.gif': 'GIF89a',
    'large.png': Buffer.alloc(512 * 1024 + 1),
    'large.css': 'x'.repeat(512 * 1024 + 1)
  })
  for (const [settings, message] of [
    [{ brandLogo: `${folder}/missing.svg` }, /^holdfast: BRAND_LOGO: the file cannot be read/],
    [{ brandLogo: `${folder}/logo.gif` }, /^holdfast: BRAND_LOGO: must be a file that ends with/],
    [{ brandLogo: `${folder}/large.png` }, /^holdfast: BRAND_LOGO: .* at most 524288 bytes/],
    [{ pagesStylesheet: `${folder}/no.css` }, /^holdfast: PAGES_STYLESHEET: the file cannot be/],
    [{ pagesStylesheet: `${folder}/large.css` }, /^holdfast: PAGES_STYLESHEET: .* at most 524288/]
  ] as const) {
    const run = runCli(t, ['start'], { ...(await freshStore(t)), ...baseOf(), ...settings })
    t.equal(await run.exited, 2, run.stderr)
    t.match(run.stderr, message)
    t.equal(run.stderr.trim().split('\n').length, 1, 'one line')
  }
})

/** What PostgreSQL needs besides. */
const baseOf = () => ({ baseUrl: 'http://127.0.0.1:3000', port: 0 })

t.test('SIGN_IN_URL takes the place of the sign-in page', async (t) => {
  const { url } = await build(t, {
    signInUrl: 'https://app.example.com/welcome?theme=dark',
    trustedProxies: ['127.0.0.1']
  })
  const browser = new PageBrowser(url)
  for (const path of ['/account', '/account/sessions?x=1&y=2', '/admin/users']) {
    const signIn = (await browser.open(path)).location ?? ''
    t.match(signIn, /^\/sign-in\?return_to=/)
    const away = new URL((await browser.open(signIn)).location ?? '')
    t.equal(away.origin + away.pathname, 'https://app.example.com/welcome')
    t.equal(away.searchParams.get('theme'), 'dark', 'its own query stays')
    t.equal(away.searchParams.get('return_to'), url + path)
  }
  for (const redirect of [`${url}/sign-in`, `${url}/sign-in?lang=de`]) {
    const led = await browser.open(`/verify?redirect=${encodeURIComponent(redirect)}`, {
      'x-forwarded-proto': 'http',
      'x-forwarded-host': new URL(url).host,
      'x-forwarded-uri': '/orders?page=2'
    })
    t.equal(led.status, 302)
    const away = new URL(led.location ?? '')
    t.equal(away.origin + away.pathname, 'https://app.example.com/welcome', 'by one redirect')
    t.equal(away.searchParams.get('theme'), 'dark')
    t.equal(away.searchParams.get('return_to'), `${url}/orders?page=2`)
  }
  const other = await browser.open(`/verify?redirect=${encodeURIComponent(`${url}/sign-up`)}`)
  t.match(other, { status: 302, location: `${url}/sign-up` }, 'any other page stays')
  t.match(
    await browser.submit('/sign-up', { name: 'Ada', email: 'ada@example.com', password }),
    { status: 303, location: '/account' },
    'the other pages are there'
  )
})
