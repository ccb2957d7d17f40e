import { randomUUID } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import type { Test } from 'tap'
import { buildApp } from '../../src/server/app.js'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'
import { Answers, type Described } from './answers.js'
import { execute } from './postgres.js'
import { freePort } from './ports.js'
import { embeddedTemplate, postgresTemplate, TEST_SECRET } from './stores.js'

// `npm test` sets these. A file that runs alone is tested on the embedded store, or with
// TEST_STORAGE=postgres on the servers of this machine.
const {
  TEST_STORAGE,
  TEST_TEMPLATE,
  TEST_DATABASE_URL = 'postgresql://postgres@127.0.0.1:5432/postgres',
  TEST_REDIS_URL = 'redis://127.0.0.1:6379',
  /** How servers connect to the databases: as another role, through a pooler. */
  TEST_DATABASE_ACCESS = TEST_DATABASE_URL
} = process.env

/** The storage mode that this run tests. */
export const storage = TEST_STORAGE === 'postgres' ? 'postgres' : 'embedded'
export const authSecret = TEST_SECRET
/** The server on which tests create databases of their own. */
export const databaseServer = TEST_DATABASE_URL
export const redisUrl = TEST_REDIS_URL
export const password = 'correct horse battery staple'

/** Settings for a store of the test's own, migrated and empty. It is removed when the test ends. */
export async function freshStore(t: Pick<Test, 'teardown'>): Promise<HoldfastOptions> {
  const id = randomUUID().replaceAll('-', '')
  if (storage === 'embedded') {
    const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-data-'))
    cpSync(TEST_TEMPLATE ?? (await embeddedTemplate()), dataDir, { recursive: true })
    t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
    return { dataDir, authSecret }
  }
  const name = `holdfast_test_${id}`
  await execute(
    TEST_DATABASE_URL,
    `CREATE DATABASE ${name} TEMPLATE ${TEST_TEMPLATE ?? (await postgresTemplate(TEST_DATABASE_URL))}`
  )
  t.teardown(() => execute(TEST_DATABASE_URL, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  const databaseUrl = new URL(TEST_DATABASE_ACCESS)
  databaseUrl.pathname = `/${name}`
  // A secret of its own gives the store its own name in the Redis that the tests share.
  return {
    databaseUrl: databaseUrl.href,
    redisUrl,
    authSecret: `${authSecret} ${id}`,
    databasePoolSize: 5
  }
}

/** What the servers of this process say of themselves, with mail and without. */
const documents = new Map<boolean, Described>()
/** The servers of this process, by address. */
const servers = new Map<string, FastifyInstance>()

/** A running server in this process, on a store of its own. */
export interface Running {
  app: FastifyInstance
  url: string
  options: HoldfastOptions
  /** Everything it logged, a line each. */
  log: string[]
}

/** Builds and starts the server; it is closed when the test ends. */
export async function build(t: Test, overrides: HoldfastOptions = {}): Promise<Running> {
  const options = { rateLimit: false, ...(await freshStore(t)), ...overrides }
  return start(t, options)
}

/** Starts a server on the store that `options` name. */
export async function start(t: Test, options: HoldfastOptions): Promise<Running> {
  try {
    return await listen(t, options, options.port ?? (await freePort()))
  } catch (error) {
    // Another process has taken the free port.
    if (
      options.port !== undefined ||
      !(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')
    )
      throw error
    return start(t, options)
  }
}

/**
 * Ends a server, and starts one on its store with other secrets, as after a change of the
 * environment.
 */
export async function restart(
  t: Test,
  { app, options }: Running,
  secrets: Pick<HoldfastOptions, 'authSecret' | 'authSecretPrevious'>
): Promise<Running> {
  await app.close()
  return start(t, { ...options, authSecretPrevious: [], ...secrets })
}

async function listen(t: Test, options: HoldfastOptions, port: number): Promise<Running> {
  const url = `http://127.0.0.1:${port}`
  const log: string[] = []
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      log.push(chunk.toString())
      done()
    }
  })
  const config = resolveConfig({ baseUrl: url, ...options, port })
  const app = await buildApp(config, { logger: pino({ level: config.logLevel }, sink) })
  servers.set(url, app)
  // Every answer in every test is checked against the documentation.
  const answers = new Answers(app.server)
  t.teardown(async () => {
    await app.close()
    const document = documents.get(app.holdfast.mail !== null)
    const wrong = document ? answers.undocumented(document) : []
    if (wrong.length === 0) return
    // errors in a teardown are not shown
    process.stderr.write(`answers that /openapi.json does not describe:\n${wrong.join('\n')}\n`)
    throw new Error('answers that /openapi.json does not describe')
  })
  await app.listen({ host: '127.0.0.1', port }).catch(async (error: unknown) => {
    await app.close()
    throw error
  })
  // the same for every server with mail; a test may close its own
  const hasMail = app.holdfast.mail !== null
  if (!documents.has(hasMail))
    documents.set(hasMail, (await app.inject('/openapi.json')).json<Described>())
  return { app, url, options: { ...options, port }, log }
}

/** A client with a cookie jar and an address: the behaviour of a browser, without a browser. */
export class Browser {
  readonly url: string
  readonly cookies = new Map<string, string>()
  /** Sent with every request. */
  headers: Record<string, string> = {}

  constructor(url: string) {
    this.url = url
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers({
      ...this.headers,
      ...Object.fromEntries(new Headers(init.headers))
    })
    if (this.cookies.size > 0 && !headers.has('cookie'))
      headers.set('cookie', [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '))
    if (!headers.has('origin')) headers.set('origin', this.url)
    const response = await fetch(new URL(path, this.url), { redirect: 'manual', ...init, headers })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      if (/max-age=0/i.test(cookie)) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return response
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.fetch(path, { headers })
  }

  post(path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Response> {
    return this.fetch(path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers }
    })
  }

  delete(path: string): Promise<Response> {
    return this.fetch(path, { method: 'DELETE' })
  }
}

/** A new user with a session in a browser of their own. */
export interface Person {
  browser: Browser
  email: string
  id: string
  /** The session id. */
  sessionId: string
  /** The signed token, as `set-auth-token` gave it. */
  bearer: string
}

/** Signs up a new user. */
export async function signUp(url: string): Promise<Person> {
  const browser = new Browser(url)
  const email = `${randomUUID()}@example.com`
  const response = await browser.post('/api/auth/sign-up/email', {
    name: 'Ada Lovelace',
    email,
    password
  })
  if (response.status !== 200)
    throw new Error(`sign-up answered ${response.status}: ${await response.text()}`)
  return describe(browser, email, response)
}

/** Signs a user in on another device. */
export async function signIn(url: string, email: string, secret = password): Promise<Person> {
  const browser = new Browser(url)
  const response = await browser.post('/api/auth/sign-in/email', { email, password: secret })
  if (response.status !== 200)
    throw new Error(`sign-in answered ${response.status}: ${await response.text()}`)
  return describe(browser, email, response)
}

/** Makes a user an administrator, as the command line does. */
export async function makeAdmin(running: Running, person: Person): Promise<void> {
  await running.app.holdfast.auth.users.update(person.id, { role: 'admin' })
}

/**
 * Has an address proven, as if the link of its mail had been followed where it was signed up. While
 * mail is on, second factors are for proven addresses alone.
 */
export async function proveAddress({ email, browser: { url } }: Pick<Person, 'email' | 'browser'>) {
  const app = servers.get(url)
  if (!app) throw new Error(`no server of this process is at ${url}`)
  await app.holdfast.prisma
    .$executeRaw`UPDATE "user" SET "emailVerified" = true, "signUpHandle" = NULL WHERE "email" = ${email}`
}

/** What `GET /session` says about a browser's session: 'valid', or the code with the status. */
export async function sessionState(browser: Browser): Promise<string> {
  const response = await browser.get('/session')
  if (response.status === 200) return 'valid'
  const { cause } = (await response.json()) as { cause: string }
  return `${response.status} ${cause}`
}

async function describe(browser: Browser, email: string, response: Response): Promise<Person> {
  const bearer = response.headers.get('set-auth-token') ?? ''
  const session = (await (await browser.get('/session')).json()) as {
    session: { id: string }
    user: { id: string }
  }
  return { browser, email, id: session.user.id, sessionId: session.session.id, bearer }
}
