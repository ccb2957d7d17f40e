import { spawn } from 'node:child_process'
import { createHash, createPrivateKey } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t from 'tap'
import { deriveKeys } from '../../src/secrets/keys.js'
import { unseal } from '../../src/secrets/seal.js'
import type { HoldfastOptions } from '../../src/config.js'
import {
  Browser,
  freshStore,
  makeAdmin,
  password,
  redisUrl,
  signUp,
  start,
  storage
} from '../support/server.js'
import { Mailboxes, type ReadMail } from '../support/page-mail.js'
import { until } from '../support/poll.js'
import { freePort } from '../support/ports.js'
import { decodeBase32, totpOf } from '../support/totp.js'
import { readStore } from '../support/store-contents.js'

/*
 * The leak drill: every credential is collected at the client, and then searched for in everything
 * that the server writes. Then everything that the store holds is tried as a credential.
 */
const port = await freePort()
const mails = await Mailboxes.open(t)
const options: HoldfastOptions = {
  ...(await freshStore(t)),
  ...mails.settings,
  oneTimeTokens: true,
  port,
  baseUrl: `http://127.0.0.1:${port}`
}
const url = `http://127.0.0.1:${port}`
const secrets = new Map<string, string>()
/** The codes of mails. Six digits are in many texts, so they are searched for by themselves. */
const codes = new Set<string>()
const newPassword = 'Tr0ub4dor & three more words'

/** A browser with its own address, which collects every secret that it receives. */
class Visitor extends Browser {
  static #count = 0
  readonly #name: string
  readonly #address: string

  constructor(name: string) {
    super(url)
    this.#name = name
    this.#address = `2001:db8:${port.toString(16)}:${(++Visitor.#count).toString(16)}::1`
  }

  override async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await super.fetch(path, {
      ...init,
      headers: { ...(init.headers as Record<string, string>), 'x-forwarded-for': this.#address }
    })
    for (const cookie of response.headers.getSetCookie())
      collect(`${this.#name} cookie`, /^[^=]+=([^;]*)/.exec(cookie)?.[1] ?? '')
    collect(`${this.#name} set-auth-token`, response.headers.get('set-auth-token') ?? '')
    return response
  }

  /** Sends a body, or a GET. Collects the tokens of the answer. */
  async ask(
    path: string,
    body?: unknown,
    status = 200,
    headers: Record<string, string> = {}
  ): Promise<Record<string, unknown>> {
    const response = await (body === undefined
      ? this.get(path, headers)
      : this.post(path, body, headers))
    const text = await response.text()
    if (response.status !== status)
      throw new Error(`${this.#name}: ${path} answered ${response.status} ${text}`)
    for (const [, name = '', token = ''] of text.matchAll(
      /"((?:access_|refresh_)?token|challenge)":"([^"]+)"/g
    )) {
      if (!token.startsWith('hsh1_')) collect(`${this.#name} ${name}`, token)
    }
    return JSON.parse(text) as Record<string, unknown>
  }
}

const before = await start(t, options)
const root = await signUp(url)
await makeAdmin(before, root)
const rootSecret = root.browser.cookies.get(before.app.holdfast.auth.cookieName) ?? ''
collect('the cookie of an administrator', rootSecret)
collect('AUTH_SECRET', options.authSecret ?? '')
const accessToken = await issueAccessToken()
await collectSigningKeys()
await before.app.close()

const listened = await monitorRedis()
const output = await drill()
// Read before a server opens it again.
const files = storage === 'embedded' ? readFiles(options.dataDir ?? '') : []

// Every value of the store is tried as a one-time token: more than the 300 in a minute that one
// address may guess.
const after = await start(t, { ...options, rateLimit: false })
const { prisma, auth } = after.app.holdfast
const rows = await readStore(prisma)

t.test('enough was collected for the drill to mean something', async (t) => {
  t.ok(secrets.size >= 45, `${secrets.size} secrets`)
  t.ok(output.length > 5_000, 'the server wrote a log')
  t.match(output, /\/api\/auth\/one-time-token\/verify/, 'the log has the requests of the drill')
  t.ok([...secrets.values()].includes('the link of a mail'), 'links of mails were collected')
  t.ok(
    Buffer.from(`a ${encodingsOf('kept-secret')[0]}`).includes('kept-secret'),
    'the search finds a text that is present'
  )
})

t.test('no secret is in any column of any table', async (t) => {
  t.ok((rows.get('session') ?? []).length >= 8)
  t.ok((rows.get('verification') ?? []).length >= 2, 'some proofs are pending')
  const kinds = new Set((rows.get('account_event') ?? []).map((row) => row['kind']))
  for (const kind of [
    'sign_in_failed',
    'password_changed',
    'second_factor_added',
    'backup_code_used',
    'impersonation_begun'
  ])
    t.ok(kinds.has(kind), kind)
  t.ok((rows.get('signing_key') ?? []).length >= 2, 'there are signing keys')
  for (const [table, content] of rows)
    searchIn(t, Buffer.from(JSON.stringify(content)), `table ${table}`)
})

t.test('of the links and codes of mails the store holds nothing, hashed or not', (t) => {
  const found = ['proof', 'mail'].flatMap((table) => rows.get(table) ?? [])
  t.ok((rows.get('proof') ?? []).length >= 5, 'proofs are in the store')
  t.ok(
    (rows.get('proof') ?? []).some(({ usedAt }) => usedAt === null),
    'some of them still count'
  )
  t.ok((rows.get('mail') ?? []).length >= 5, 'mails are in the store')
  t.ok(codes.size >= 3)
  const texts = new Set(found.flatMap((row) => Object.values(row).flatMap(textsOf)))
  for (const code of codes)
    for (const text of texts)
      if (new RegExp(`(?<!\\d)${code}(?!\\d)`).test(text)) t.fail(`a code is in "${text}"`)
  // A plain hash of a code would be found in a million tries.
  const hashes = ['hex', 'base64', 'base64url'] as const
  for (let code = 0; code < 1_000_000; code++) {
    const digest = createHash('sha256').update(String(code).padStart(6, '0')).digest()
    for (const form of hashes)
      if (texts.has(digest.toString(form))) t.fail(`the hash of a code is in the store, in ${form}`)
  }
  t.end()
})

t.test('no secret is in the log', async (t) => {
  searchIn(t, Buffer.from(output), 'the log')
})

t.test(
  'no secret is in the data directory',
  { skip: storage !== 'embedded' && 'PostgreSQL keeps its own' },
  async (t) => {
    t.ok(files.length > 500)
    for (const { name, bytes } of files) searchIn(t, bytes, name)
    t.ok(
      files.some(({ bytes }) => bytes.includes(root.id)),
      'the search finds an id, which is not secret, in the files'
    )
  }
)

t.test(
  'no secret is in Redis',
  { skip: storage !== 'postgres' && 'there is no Redis in embedded mode' },
  async (t) => {
    const redis = new Redis(redisUrl)
    t.teardown(() => redis.disconnect())
    const keys = await redis.keys('*')
    for (const key of keys)
      searchIn(t, Buffer.concat([Buffer.from(key), await readKey(redis, key)]), `Redis ${key}`)
    t.ok(
      keys.some((key) => key.startsWith('holdfast:')),
      'the server has written to Redis'
    )
  }
)

t.test(
  'no secret was sent to Redis',
  { skip: storage !== 'postgres' && 'there is no Redis in embedded mode' },
  async (t) => {
    const commands = listened.stop()
    searchIn(t, Buffer.from(commands), 'MONITOR')
    t.match(commands, /holdfast:\S+:session/, 'sessions were cached')
  }
)

t.test('nothing that the store holds authenticates a client', async (t) => {
  const values = new Set(
    [...rows.values()].flat().flatMap((row) => Object.values(row).flatMap(textsOf))
  )
  t.ok(values.size > 100, `${values.size} values`)
  const sessionsBefore = await revokedCount()
  const stranger = await signUp(url)
  const all = [...values]
  while (all.length > 0)
    await Promise.all(
      all
        .splice(0, 8)
        .flatMap((value) => attempts(value, stranger.browser).map((attempt) => attempt(t)))
    )
  t.equal(await revokedCount(), sessionsBefore, "no found value ends another user's session")
})

t.test('the secrets themselves still count', async (t) => {
  const response = await fetch(`${url}/session`, {
    headers: { cookie: `${auth.cookieName}=${rootSecret}` }
  })
  t.equal(response.status, 200)
})

/**
 * Runs a server process at its highest log level, signs in in every way, and returns everything
 * that it wrote.
 */
async function drill(): Promise<string> {
  const env: Record<string, string> = {
    ...(process.env as Record<string, string>),
    PORT: String(port),
    BASE_URL: url,
    LOG_LEVEL: 'trace',
    RATE_LIMIT: 'on',
    ONE_TIME_TOKENS: 'on',
    TRUSTED_PROXIES: '127.0.0.1',
    NODE_ENV: 'production',
    AUTH_SECRET: options.authSecret ?? '',
    SMTP_URL: options.smtpUrl ?? '',
    MAIL_FROM: options.mailFrom ?? '',
    ...(options.dataDir === undefined ? {} : { DATA_DIR: options.dataDir }),
    ...(options.databaseUrl === undefined
      ? {}
      : { DATABASE_URL: options.databaseUrl, REDIS_URL: redisUrl })
  }
  const server = spawn(
    process.execPath,
    [fileURLToPath(new URL('../../src/cli/main.js', import.meta.url)), 'start'],
    { env, stdio: ['ignore', 'pipe', 'pipe'], cwd: tmpdir() }
  )
  let written = ''
  for (const stream of [server.stdout, server.stderr])
    stream.on('data', (chunk: Buffer) => {
      written += chunk.toString()
    })
  try {
    await until('the server to be ready', async () => (await fetch(`${url}/health/ready`)).ok)
    await signInInEveryWay()
  } finally {
    const exited = once(server, 'exit')
    server.kill('SIGTERM')
    await exited
  }
  return written
}

async function signInInEveryWay(): Promise<void> {
  collect('the password', password)
  collect('the new password', newPassword)
  const email = `leak-${port}-${Date.now()}@example.com`
  const browser = new Visitor('first device')
  await browser.ask('/api/auth/sign-up/email', { name: 'Ada', email, password })
  await browser.ask('/api/auth/verify-email', {
    token: await collectMail(email, /^Confirm your address/)
  })
  await new Visitor('second device').ask('/api/auth/sign-in/email', {
    email,
    password,
    rememberMe: false
  })
  await new Visitor('wrong password').ask(
    '/api/auth/sign-in/email',
    { email, password: newPassword },
    401
  )
  // A password in the name field: one that looks like an address, and one that does not.
  for (const typed of ['Zn7-quite@another-secret.example', 'Zn7 quite another secret']) {
    for (const spelling of [typed, typed.toLowerCase()])
      collect('a password that was typed as a name', spelling)
    await new Visitor('confused').post('/api/auth/sign-in/email', { email: typed, password: 'Ada' })
  }
  const bearer =
    [...secrets].findLast(([, what]) => what === 'second device set-auth-token')?.[0] ?? ''
  await new Visitor('bearer').get('/session', { authorization: `Bearer ${bearer}` })
  const accepted = await new Visitor('access token').get('/session', {
    authorization: `Bearer ${accessToken}`
  })
  if (accepted.status !== 200) throw new Error(`an access token was answered ${accepted.status}`)
  await new Visitor('broken access token').get('/session', {
    authorization: `Bearer ${accessToken}x`
  })
  await new Visitor('keys').ask('/.well-known/jwks.json')

  // One-time tokens: one that is used, and also sent in a query by mistake, and one that stays
  // pending.
  const oneTime = await browser.ask('/api/auth/one-time-token/generate')
  await browser.get(`/api/auth/one-time-token/verify?token=${oneTime['token']}`)
  await new Visitor('one-time token').ask('/api/auth/one-time-token/verify', {
    token: oneTime['token']
  })
  await browser.ask('/api/auth/one-time-token/generate')

  await browser.ask('/api/auth/change-password', { currentPassword: password, newPassword })
  await collectMail(email, /^Your password .* was changed/)
  await mailed(email)
  await app()
  await twoFactor(email, browser)
  await impersonation()
}

/** Signs in by mail, and asks for mails whose links and codes are never used. */
async function mailed(email: string): Promise<void> {
  const byCode = new Visitor('sign-in by code')
  await byCode.ask('/api/auth/email-otp/send-verification-otp', { email, type: 'sign-in' })
  const { code } = await readMail(email, /^Sign in/)
  await byCode.ask('/api/auth/sign-in/email-otp', { email, otp: code })
  const byLink = new Visitor('sign-in by link')
  await byLink.ask('/api/auth/sign-in/magic-link', { email })
  const token = await collectMail(email, /^Sign in/)
  await byLink.get(`/sign-in/code?token=${token}`)
  await byLink.ask('/api/auth/describe-link', { token })
  await byLink.ask('/api/auth/magic-link/verify', { token })
  const forgetful = new Visitor('a forgotten password')
  const body = { 'token-transport': 'body' }
  await forgetful.ask('/api/auth/request-password-reset', { email }, 200, body)
  const reset = await collectMail(email, /^Set a new password/)
  await forgetful.get(`/reset-password?token=${reset}`)
  await forgetful.get(`/api/auth/verify-email?token=${reset}`)
  await forgetful.ask('/api/auth/describe-link', { token: reset.slice(0, -1) }, 400)
  await forgetful.ask(
    '/api/auth/email-otp/reset-password',
    { email, otp: '000000', password: newPassword },
    400
  )
}

async function readMail(email: string, subject: RegExp): Promise<ReadMail & { token: string }> {
  const mail = await mails.read(email, subject)
  const token = new URL(mail.link, url).searchParams.get('token') ?? ''
  collect('the link of a mail', token)
  if (mail.code !== '') codes.add(mail.code)
  return { ...mail, token }
}

/** Reads a mail, and returns what its link carries. */
async function collectMail(email: string, subject: RegExp): Promise<string> {
  return (await readMail(email, subject)).token
}

/**
 * An app without cookies: it refreshes, repeats a refresh, and reuses an old token. Another one
 * goes on.
 */
async function app(): Promise<void> {
  const email = `app-${port}-${Date.now()}@example.com`
  const phone = new Visitor('app')
  type Tokens = { access_token: string; refresh_token: string }
  const { tokens } = (await phone.ask(
    '/api/auth/sign-up/email',
    { name: 'Ada', email, password },
    200,
    { 'token-transport': 'body' }
  )) as { tokens: Tokens }
  const exchange = (token: string, status = 200) =>
    phone.ask('/oauth2/token', { grant_type: 'refresh_token', refresh_token: token }, status, {
      'idempotency-key': 'an attempt'
    }) as unknown as Promise<Tokens>
  const second = await exchange(tokens.refresh_token)
  await exchange(tokens.refresh_token)
  await exchange(second.refresh_token)
  await exchange(tokens.refresh_token, 400)
  const again = (await phone.ask('/api/auth/sign-in/email', { email, password }, 200, {
    'token-transport': 'body'
  })) as { tokens: Tokens }
  await phone.ask('/session', undefined, 200, {
    authorization: `Bearer ${again.tokens.access_token}`
  })
  await exchange(again.tokens.refresh_token)
  await phone.ask(
    '/oauth2/token',
    { grant_type: 'refresh_token', refresh_token: `${again.tokens.refresh_token}x` },
    400
  )
}

/**
 * Sets up the second factor, and uses it: a code, a backup code, a trusted device, and a sign-in
 * that never finishes.
 */
async function twoFactor(email: string, browser: Visitor): Promise<void> {
  const { totpURI, backupCodes } = (await browser.ask('/api/auth/two-factor/enable', {
    password: newPassword
  })) as { totpURI: string; backupCodes: string[] }
  const secret = new URL(totpURI).searchParams.get('secret') ?? ''
  collect('the TOTP secret', secret)
  collect('the TOTP secret, decoded', decodeBase32(secret).toString())
  for (const code of backupCodes) collect('a backup code', code)
  await browser.ask('/api/auth/two-factor/verify-totp', {
    code: totpOf(secret, Date.now() - 30_000)
  }) // each code counts once: the next one is the current one
  await browser.ask('/api/auth/two-factor/get-totp-uri', { password: newPassword })

  const trusted = new Visitor('trusted device')
  await trusted.ask('/api/auth/sign-in/email', { email, password: newPassword })
  await trusted.ask('/api/auth/two-factor/verify-totp', { code: totpOf(secret), trustDevice: true })
  await trusted.ask('/api/auth/sign-out', {})
  const again = await trusted.ask('/api/auth/sign-in/email', { email, password: newPassword })
  if (again['twoFactorRedirect'] === true) throw new Error('the trusted device was not trusted')

  const backup = new Visitor('backup code')
  await backup.ask('/api/auth/sign-in/email', { email, password: newPassword })
  await backup.ask('/api/auth/two-factor/verify-backup-code', { code: backupCodes[0] })
  const unfinished = new Visitor('unfinished')
  await unfinished.ask('/api/auth/sign-in/email', { email, password: newPassword })
  await unfinished.ask('/api/auth/two-factor/verify-totp', { code: '000000' }, 401)
  await new Visitor('unfinished app').ask(
    '/api/auth/sign-in/email',
    { email, password: newPassword },
    200,
    { 'token-transport': 'body' }
  )
}

async function impersonation(): Promise<void> {
  const email = `other-${port}-${Date.now()}@example.com`
  const other = new Visitor('impersonated')
  const { user } = (await other.ask('/api/auth/sign-up/email', {
    name: 'Bob',
    email,
    password
  })) as { user: { id: string } }
  const admin = new Visitor('administrator')
  admin.cookies.set('holdfast.session_token', rootSecret)
  await admin.ask('/api/auth/admin/impersonate-user', { userId: user.id })
  await admin.ask('/api/auth/admin/list-user-sessions', { userId: user.id }, 403)
  await admin.ask('/api/auth/admin/stop-impersonating', {})
  await admin.ask('/api/auth/admin/list-user-sessions', { userId: user.id })
}

async function issueAccessToken(): Promise<string> {
  const { prisma, accessTokens } = before.app.holdfast
  const session = await prisma.session.findUniqueOrThrow({ where: { id: root.sessionId } })
  const { token } = await accessTokens.issue({ session, roles: ['admin'], generation: 0 })
  collect('an access token', token)
  return token
}

/**
 * The private parts of the signing keys, which no client ever sees, also as an attacker with the
 * secret would read them.
 */
async function collectSigningKeys(): Promise<void> {
  const keys = deriveKeys(options.authSecret ?? '')
  for (const { id, privateKey } of await before.app.holdfast.prisma.signingKey.findMany()) {
    const key = createPrivateKey(unseal(keys, privateKey, id) ?? '')
    const { d = '' } = key.export({ format: 'jwk' })
    for (const encoding of ['base64url', 'base64', 'hex'] as const) {
      collect('the private part of a signing key', Buffer.from(d, 'base64url').toString(encoding))
      collect('a signing key', key.export({ type: 'pkcs8', format: 'der' }).toString(encoding))
    }
    for (const line of key
      .export({ type: 'pkcs8', format: 'pem' })
      .toString()
      .split('\n')
      .slice(1, 3))
      collect('a signing key, as PEM', line)
  }
}

/** Collects a secret, and its parts that are long enough to be one. */
function collect(what: string, value: string): void {
  if (value === '' || value === 'true') return
  const text = decodeURIComponent(value)
  for (const secret of [text, ...text.split(/[.!:]/).filter((part) => part.length >= 24)]) {
    if (!/^[0-9a-f-]{36}$/.test(secret)) secrets.set(secret, what)
  }
}

function encodingsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  return [
    ...new Set([
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      bytes.toString('base64').replace(/=+$/, ''),
      bytes.toString('base64url'),
      bytes.toString('hex')
    ])
  ]
}

function searchIn(t: { fail: (message: string) => unknown }, bytes: Buffer, where: string): void {
  for (const [secret, what] of secrets) {
    const found = encodingsOf(secret).find((text) => bytes.includes(text))
    if (found !== undefined) t.fail(`${what} is in ${where}`)
  }
}

function readFiles(folder: string): { name: string; bytes: Buffer }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => ({ name, bytes: readFileSync(join(parentPath, name)) }))
}

async function readKey(redis: Redis, key: string): Promise<Buffer> {
  const type = await redis.type(key)
  if (type === 'string') return (await redis.getBuffer(key)) ?? Buffer.alloc(0)
  const read: Record<string, () => Promise<unknown>> = {
    hash: () => redis.hgetall(key),
    list: () => redis.lrange(key, 0, -1),
    set: () => redis.smembers(key),
    zset: () => redis.zrange(key, 0, '-1'),
    stream: () => redis.xrange(key, '-', '+')
  }
  return Buffer.from(JSON.stringify((await read[type]?.()) ?? null))
}

function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return value.split(/[$:]/).concat(value).filter(Boolean)
  return value !== null && typeof value === 'object' ? Object.values(value).flatMap(textsOf) : []
}

async function revokedCount(): Promise<number> {
  return (
    (await readStore(prisma)).get('session')?.filter((row) => row['revokedAt'] !== null).length ??
    -1
  )
}

type Attempt = (t: { fail: (message: string) => unknown }) => Promise<void>

/**
 * Repeats until the answer is known: a store that is too busy is answered 503, which would prove
 * nothing.
 */
function answered(send: () => Promise<Response>): Promise<Response> {
  return until('an answer that says something', async () => {
    const response = await send()
    return response.status === 503 ? null : response
  })
}

/** Every way to send a text as a credential. None of them may authenticate. */
function attempts(value: string, stranger: Browser): Attempt[] {
  const ways = [value, encodeURIComponent(value), `${value}.${value}`]
    .filter((text) => /^[\x21-\x7e ]+$/.test(text))
    .flatMap((text): Record<string, string>[] => [
      { cookie: `${auth.cookieName}=${text}` },
      { authorization: `Bearer ${text}` }
    ])
  return [
    ...ways.map((headers): Attempt => async (t) => {
      const ours = await answered(() => fetch(`${url}/session`, { headers }))
      if (ours.status !== 401)
        t.fail(`GET /session answered ${ours.status} to ${JSON.stringify(headers)}`)
      const theirs = await answered(() => fetch(`${url}/api/auth/get-session`, { headers }))
      const body = await theirs.text()
      if (body !== 'null' && theirs.status !== 401)
        t.fail(`get-session answered ${theirs.status} ${body} to ${JSON.stringify(headers)}`)
    }),
    async (t) => {
      const response = await answered(() =>
        new Browser(url).post('/api/auth/one-time-token/verify', { token: value })
      )
      if (response.status !== 400) t.fail(`a one-time token: ${response.status} to ${value}`)
    },
    // describe-link takes the links of every kind of mail.
    async (t) => {
      for (const [path, body] of [
        ['describe-link', {}],
        ['reset-password', { newPassword }]
      ] as const) {
        const response = await answered(() =>
          new Browser(url).post(`/api/auth/${path}`, { token: value, ...body })
        )
        if (response.status !== 400) t.fail(`${path} answered ${response.status} to ${value}`)
      }
    },
    async (t) => {
      const response = await answered(() =>
        fetch(`${url}/oauth2/token`, {
          method: 'POST',
          body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: value })
        })
      )
      if (response.status !== 400) t.fail(`a refresh token: ${response.status} to ${value}`)
      const revocation = await answered(() =>
        fetch(`${url}/oauth2/revoke`, {
          method: 'POST',
          body: new URLSearchParams({ token: value })
        })
      )
      if (revocation.status !== 200) t.fail(`a revocation: ${revocation.status} to ${value}`)
    },
    async (t) => {
      const response = await answered(() =>
        stranger.post('/api/auth/revoke-session', { token: value })
      )
      if (response.status !== 200) t.fail(`revoke-session answered ${response.status} to ${value}`)
    }
  ]
}

/** Records every command that Redis receives, until it is stopped. */
async function monitorRedis(): Promise<{ stop: () => string }> {
  if (storage !== 'postgres') return { stop: () => '' }
  const monitor = spawn('redis-cli', ['-u', redisUrl, 'monitor'], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let heard = ''
  monitor.stdout.on('data', (chunk: Buffer) => {
    heard += chunk.toString()
  })
  t.teardown(() => monitor.kill())
  await until('MONITOR to listen', () => heard.includes('OK'))
  return {
    stop: () => {
      monitor.kill()
      return heard
    }
  }
}
