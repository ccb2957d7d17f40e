import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError } from '../../src/errors.js'
import { checkVerificationMail } from '../../src/config/rules.js'
import { optionsFromEnvironment, resolveConfig } from '../../src/config.js'
import { runCli } from '../support/server-process.js'

const secret = 'correct horse battery staple 0123456789'
const production = {
  DATABASE_URL: 'postgresql://db/holdfast',
  BASE_URL: 'https://auth.example.com',
  AUTH_SECRET: secret
}
const sender = 'Field Notes <no-reply@example.com>'
const mail = { SMTP_URL: 'smtp://me:hunter2@smtp.example.com', MAIL_FROM: sender }
const folder = mkdtempSync(join(tmpdir(), 'holdfast-config-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const secretFile = join(folder, 'secret')
writeFileSync(secretFile, `${secret}\n`)

const configOf = (env: Record<string, string>) => resolveConfig(optionsFromEnvironment(env))

t.test('a wrong variable is refused by its name', async (t) => {
  const wrong: [variable: string, env: Record<string, string>][] = [
    ['PORT', { PORT: 'http' }],
    ['PORT', { PORT: '-1' }],
    ['PORT', { PORT: '65536' }],
    ['PORT', { PORT: '3000.5' }],
    ['DATABASE_POOL_SIZE', { DATABASE_POOL_SIZE: '1' }],
    ['SESSION_IDLE_TTL_SECONDS', { SESSION_IDLE_TTL_SECONDS: '0' }],
    ['SESSION_IDLE_TTL_SECONDS', { SESSION_IDLE_TTL_SECONDS: '1d' }],
    [
      'SESSION_IDLE_TTL_SECONDS',
      { SESSION_IDLE_TTL_SECONDS: '100', SESSION_ABSOLUTE_TTL_SECONDS: '99' }
    ],
    ['SESSION_ABSOLUTE_TTL_SECONDS', { SESSION_ABSOLUTE_TTL_SECONDS: '1e9' }],
    ['SESSION_RETENTION_SECONDS', { SESSION_RETENTION_SECONDS: '-5' }],
    ['ACCOUNT_EVENT_RETENTION_SECONDS', { ACCOUNT_EVENT_RETENTION_SECONDS: '0' }],
    ['RATE_LIMIT', { RATE_LIMIT: 'maybe' }],
    ['SIGN_UP', { SIGN_UP: 'invited' }],
    ...[' ', 'Field: Notes', 'x'.repeat(65), 'Field\u0007Notes'].map(
      (name): [string, Record<string, string>] => ['APP_NAME', { APP_NAME: name }]
    ),
    ['PAGES', { PAGES: 'maybe' }],
    ...[' ', 'x'.repeat(65), 'Field\u0007Notes'].map((name): [string, Record<string, string>] => [
      'BRAND_NAME',
      { BRAND_NAME: name }
    ]),
    ...['navy', '#fff', '#1f4f8g', '#1f4f82;}'].map((colour): [string, Record<string, string>] => [
      'BRAND_ACCENT',
      { BRAND_ACCENT: colour }
    ]),
    ...['TERMS_URL', 'PRIVACY_URL', 'SIGN_IN_URL'].flatMap((name) =>
      ['/terms', 'javascript:alert(1)', 'ftp://example.com/', 'https://example.com/a b'].map(
        (url): [string, Record<string, string>] => [name, { [name]: url }]
      )
    ),
    ['LOG_LEVEL', { LOG_LEVEL: 'loud' }],
    ['TRUSTED_PROXIES', { TRUSTED_PROXIES: '10.0.0.0/8, proxy' }],
    ['TRUSTED_PROXIES', { TRUSTED_PROXIES: '10.0.0.0/33' }],
    ['TRUSTED_ORIGINS', { TRUSTED_ORIGINS: 'https://app.example.com/path' }],
    ['TRUSTED_ORIGINS', { TRUSTED_ORIGINS: '*' }],
    ...[
      'null',
      'capacitor://',
      'myapp:',
      'myapp://*',
      'capacitor://localhost/',
      'capacitor://a@localhost',
      'Capacitor://localhost',
      'javascript://x',
      'data://x',
      'file://host',
      'http://App.example.com',
      'https://app.example.com/',
      'chrome-extension://?'
    ].map((origin): [string, Record<string, string>] => [
      'TRUSTED_ORIGINS',
      { TRUSTED_ORIGINS: origin }
    ]),
    ['ADMIN_ORIGINS', { ADMIN_ORIGINS: 'https://desk.example.com/path' }],
    ['ADMIN_ORIGINS', { ADMIN_ORIGINS: 'https://desk.example.com' }],
    [
      'ADMIN_ORIGINS',
      { ADMIN_ORIGINS: 'https://desk.example.com', TRUSTED_ORIGINS: 'https://app.example.com' }
    ],
    ['MAX_HEADER_BYTES', { MAX_HEADER_BYTES: '4096' }],
    ['MAX_HEADER_BYTES', { MAX_HEADER_BYTES: '65537' }],
    ['KEEP_ALIVE_TIMEOUT_SECONDS', { KEEP_ALIVE_TIMEOUT_SECONDS: '0' }],
    ['GATEWAY_CLIENTS', { GATEWAY_CLIENTS: 'edge' }],
    ['GATEWAY_CLIENTS', { GATEWAY_CLIENTS: 'edge:hunter2' }],
    ['GATEWAY_CLIENTS', { GATEWAY_CLIENTS: `edge 1:${'a'.repeat(32)}` }],
    ['GATEWAY_CLIENTS', { GATEWAY_CLIENTS: `edge:${'a'.repeat(31)}+` }],
    [
      'GATEWAY_CLIENTS',
      { GATEWAY_CLIENTS: ['x', 'y', 'z'].map((end) => `edge:${end.repeat(32)}`).join() }
    ],
    ['COOKIE_DOMAIN', { COOKIE_DOMAIN: 'com' }],
    ['COOKIE_DOMAIN', { COOKIE_DOMAIN: 'a b.example.com' }],
    ['BASE_URL', { BASE_URL: 'auth.example.com' }],
    ['BASE_URL', { BASE_URL: 'https://auth.example.com/path' }],
    ['BASE_URL', { BASE_URL: 'ftp://auth.example.com' }],
    ['BASE_URL', { HOST: '0.0.0.0' }],
    ['BASE_URL', { ...production, BASE_URL: '' }],
    ['DATABASE_URL', { ...production, DATABASE_URL: 'mysql://db/holdfast' }],
    ['REDIS_URL', { REDIS_URL: 'localhost:6379' }],
    ...['http://smtp.example.com', 'smtp://me@smtp.example.com', 'smtp://h?x=1'].map(
      (url): [string, Record<string, string>] => ['SMTP_URL', { SMTP_URL: url, MAIL_FROM: sender }]
    ),
    ['MAIL_FROM', { SMTP_URL: 'smtp://smtp.example.com' }],
    ...['me', 'a@example.com, b@example.com', 'A\nBcc: b@example.com <a@example.com>'].map(
      (from): [string, Record<string, string>] => ['MAIL_FROM', { MAIL_FROM: from }]
    ),
    ['SMTP_CA_FILE', { SMTP_CA_FILE: secretFile }],
    ['SMTP_CA_FILE', { ...mail, SMTP_CA_FILE: secretFile }],
    ['SMTP_CA_FILE', { ...mail, SMTP_CA_FILE: join(folder, 'missing') }],
    ['SMTP_CA_FILE', { ...mail, SMTP_URL: 'smtp://localhost:1025', SMTP_CA_FILE: secretFile }],
    ['REQUIRE_EMAIL_VERIFICATION', { REQUIRE_EMAIL_VERIFICATION: 'maybe' }],
    ['AUTH_SECRET', { ...production, AUTH_SECRET: '' }],
    ['AUTH_SECRET', { AUTH_SECRET: 'too short' }],
    ['AUTH_SECRET', { AUTH_SECRET: 'a'.repeat(40) }],
    ['AUTH_SECRET', { AUTH_SECRET: secret, AUTH_SECRET_FILE: secretFile }],
    ['AUTH_SECRET_PREVIOUS', { AUTH_SECRET_PREVIOUS: 'too short' }],
    ['AUTH_SECRET_PREVIOUS', { AUTH_SECRET: secret, AUTH_SECRET_PREVIOUS: secret }],
    ['ACCESS_TOKEN_TTL_SECONDS', { ACCESS_TOKEN_TTL_SECONDS: '3601' }],
    ['ACCESS_TOKEN_TTL_SECONDS', { ACCESS_TOKEN_TTL_SECONDS: '0' }],
    ['AUTH_SECRET_FILE', { AUTH_SECRET_FILE: join(folder, 'missing') }]
  ]
  for (const [variable, env] of wrong) {
    t.throws(
      () => configOf(env),
      { name: 'ConfigError', message: new RegExp(`^${variable}\\b`) },
      JSON.stringify(env)
    )
  }
})

t.test('a secret is never shown', async (t) => {
  const wrong: Record<string, string>[] = [
    { AUTH_SECRET: 'hunter2' },
    { ...production, DATABASE_URL: 'mysql://me:hunter2@db/holdfast' },
    { REDIS_URL: 'http://:hunter2@redis' },
    { GATEWAY_CLIENTS: 'edge:hunter2' },
    { SMTP_URL: 'smtp://me:hunter2@smtp.example.com:x', MAIL_FROM: sender },
    { SMTP_URL: 'smtp://me:hunter2@smtp.example.com' }
  ]
  for (const env of wrong) {
    try {
      configOf(env)
      t.fail('the value must be refused')
    } catch (error) {
      t.ok(error instanceof ConfigError)
      t.notMatch(String(error), 'hunter2')
    }
  }
})

t.test('right variables are read, and what is absent or empty has its default', async (t) => {
  t.match(configOf({}), {
    host: '127.0.0.1',
    port: 3000,
    baseUrl: 'http://localhost:3000',
    dataDir: '.data',
    rateLimit: true,
    signUp: 'open',
    logLevel: 'info'
  })
  t.match(configOf({ PORT: '', RATE_LIMIT: '' }), { port: 3000, rateLimit: true })
  t.match(
    configOf({
      ...production,
      PORT: ' 8080 ',
      RATE_LIMIT: 'off',
      SIGN_UP: 'closed',
      TRUSTED_PROXIES: '10.0.0.0/8, ::1',
      COOKIE_DOMAIN: 'example.com'
    }),
    {
      baseUrl: 'https://auth.example.com',
      port: 8080,
      rateLimit: false,
      signUp: 'closed',
      trustedProxies: ['10.0.0.0/8', '::1'],
      cookieDomain: 'example.com'
    }
  )
  t.equal(configOf({ AUTH_SECRET_FILE: secretFile }).authSecret, secret)
  t.match(
    configOf({
      MAX_HEADER_BYTES: '65536',
      KEEP_ALIVE_TIMEOUT_SECONDS: '620',
      METRICS_HOST: '0.0.0.0'
    }),
    { maxHeaderBytes: 65_536, keepAliveTimeoutSeconds: 620, metricsHost: '0.0.0.0' }
  )
  const desk = 'https://desk.example.com'
  t.match(configOf({ ADMIN_ORIGINS: desk, TRUSTED_ORIGINS: `https://app.example.com,${desk}` }), {
    adminOrigins: [desk]
  })
  t.match(configOf({}), {
    pages: true,
    adminOrigins: [],
    brandName: undefined,
    signInUrl: undefined
  })
  t.match(
    configOf({
      PAGES: 'off',
      BRAND_NAME: 'Field: Notes',
      BRAND_LOGO: 'logo.svg',
      BRAND_ACCENT: '#1F4f82',
      PAGES_STYLESHEET: 'own.css',
      TERMS_URL: 'https://example.com/terms?v=2',
      PRIVACY_URL: 'http://localhost/privacy',
      SIGN_IN_URL: 'https://app.example.com/welcome'
    }),
    {
      pages: false,
      brandName: 'Field: Notes',
      brandLogo: 'logo.svg',
      brandAccent: '#1F4f82',
      pagesStylesheet: 'own.css',
      termsUrl: 'https://example.com/terms?v=2',
      privacyUrl: 'http://localhost/privacy',
      signInUrl: 'https://app.example.com/welcome'
    }
  )
  t.match(configOf({}), { smtpUrl: undefined, requireEmailVerification: false })
  t.match(configOf({ ...mail, REQUIRE_EMAIL_VERIFICATION: 'on' }), {
    smtpUrl: mail.SMTP_URL,
    mailFrom: sender,
    requireEmailVerification: true
  })
  t.match(configOf({ MAIL_FROM: 'no-reply@example.com' }), { mailFrom: 'no-reply@example.com' })
  const apps = [
    'capacitor://localhost',
    'tauri://localhost',
    'ionic://localhost',
    'chrome-extension://abcdefghijklmnopabcdefghijklmnop',
    'moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc',
    'com.example.app://callback',
    'https://[::1]:8443'
  ]
  t.strictSame(configOf({ TRUSTED_ORIGINS: apps.join() }).trustedOrigins, apps)
  t.equal(
    configOf({ BASE_URL: 'https://Auth.Example.com:443/' }).baseUrl,
    'https://auth.example.com'
  )
})

t.test('addresses are only required to be verified where mails can be sent', async (t) => {
  const wanted = configOf({ ...production, REQUIRE_EMAIL_VERIFICATION: 'on' })
  t.throws(() => checkVerificationMail(wanted, false), {
    name: 'ConfigError',
    message: /^REQUIRE_EMAIL_VERIFICATION: needs SMTP_URL and MAIL_FROM/
  })
  checkVerificationMail(wanted, true)
  checkVerificationMail(configOf(production), false)
})

t.test('the process says it in one line and ends with 2', async (t) => {
  const run = runCli(t, ['start'], { port: 99_999 })
  t.equal(await run.exited, 2)
  t.equal(run.stderr, 'holdfast: PORT: must be a whole number from 0 to 65535 (it is 99999)\n')
  t.equal(run.stdout, '')
})
