import { removeNotices, type Page, type Shown } from './page.js'
import { languages } from '../../src/language.js'
import { Form } from './parts.js'

/** The whole document, or what stands inside the document of a host application. */
export function Document({
  page,
  shown,
  title,
  isWhole
}: {
  page: Page
  shown: Shown
  title: string
  isWhole: boolean
}) {
  const { settings, language } = page
  const { brand, assets } = settings
  if (!isWhole)
    return (
      <div class="holdfast" lang={language}>
        {page.me ? <Navigation page={page} /> : null}
        <Main shown={shown} />
        <Footer page={page} />
      </div>
    )
  return (
    <html lang={language} dir="ltr">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        {shown.refreshTo === undefined ? null : (
          <meta http-equiv="refresh" content={`0; url=${shown.refreshTo}`} />
        )}
        <title>{`${title} · ${brand.name}`}</title>
        <link rel="icon" href={assets.logo?.href ?? 'data:,'} />
        {assets.styleSheets.map(({ href }) => (
          <link rel="stylesheet" href={href} />
        ))}
        <script src={assets.script.href} defer />
      </head>
      <body class="holdfast">
        <a class="skip" href="#main">
          {page.t.skip}
        </a>
        <header>
          <a class="brand" href={page.path(page.me ? '/account' : '/sign-in')}>
            {assets.logo === null ? null : <img src={assets.logo.href} alt="" height="32" />}
            <span>{brand.name}</span>
          </a>
          {page.me ? <Navigation page={page} /> : null}
        </header>
        <Main shown={shown} />
        <Footer page={page} />
      </body>
    </html>
  )
}

function Main({ shown }: { shown: Shown }) {
  return (
    <main id="main">
      <h1>{shown.title}</h1>
      {shown.children}
    </main>
  )
}

function Navigation({ page }: { page: Page }) {
  const { t, me, settings } = page
  const entries = [
    ['/account', t.nav.account],
    ['/account/security', t.nav.security],
    ['/account/sessions', t.nav.sessions],
    ...(settings.hasAdmin && me?.user.roles.includes('admin')
      ? [
          ['/admin/users', t.nav.users],
          ['/admin/events', t.nav.events]
        ]
      : [])
  ] as const
  const [here] = page.here.split('?', 1)
  return (
    <nav aria-label={t.nav.label}>
      <ul>
        {entries.map(([path = '', name]) => (
          <li>
            <a href={page.path(path)} aria-current={here === page.path(path) ? 'page' : undefined}>
              {name}
            </a>
          </li>
        ))}
        <li>
          <Form action={page.path('/sign-out')}>
            <button type="submit" class="plain">
              {t.nav.signOut}
            </button>
          </Form>
        </li>
      </ul>
    </nav>
  )
}

function Footer({ page }: { page: Page }) {
  const { t, settings, language } = page
  const { termsUrl, privacyUrl } = settings.brand
  return (
    <footer>
      <ul>
        {languages
          .filter(({ code }) => code !== language)
          .map(({ code, name }) => (
            <li>
              <a href={inLanguage(page, code)} lang={code} hreflang={code}>
                {name}
              </a>
            </li>
          ))}
        {termsUrl === null ? null : (
          <li>
            <a href={termsUrl}>{t.terms}</a>
          </li>
        )}
        {privacyUrl === null ? null : (
          <li>
            <a href={privacyUrl}>{t.privacy}</a>
          </li>
        )}
      </ul>
    </footer>
  )
}

/** The address of this page in another language. */
function inLanguage({ here, settings }: Page, language: string): string {
  const url = new URL(here, settings.origin)
  removeNotices(url)
  url.searchParams.set('lang', language)
  return url.pathname + url.search
}
