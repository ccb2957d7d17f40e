import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Client } from 'pg'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'
import { migrate } from '../../src/database/migrate.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import {
  authSecret,
  Browser,
  build,
  makeAdmin,
  password,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Person,
  type Running
} from '../support/server.js'
import { until } from '../support/poll.js'
import { createPostgres, findPostgresPrograms, type PrivatePostgres } from '../support/postgres.js'
import { startProxy } from '../support/proxy.js'
import { startServer } from '../support/server-process.js'

/** An outage must be reported within this time, in milliseconds. */
const TOLD_MS = 2_000

// A cache would still answer in an outage: these tests need the store.
const uncached: HoldfastOptions = { localCache: false, redisUrl: undefined }
/** Mail is on. Its server is away, which is no concern of a request. */
const mail: HoldfastOptions = { smtpUrl: 'smtp://127.0.0.1:9', mailFrom: 'no-reply@example.com' }

const programs = findPostgresPrograms()
const withoutPostgres =
  storage === 'embedded'
    ? 'embedded storage has no server that could stop'
    : programs
      ? false
      : "PostgreSQL's programs are not installed"

type Call = [method: 'GET' | 'POST' | 'DELETE', path: string, body?: Record<string, unknown>]

/**
 * Every endpoint that needs the store, called with a live session and an otherwise valid request.
 */
function callsOf(person: Person): Call[] {
  const { email, id: userId, sessionId } = person
  const auth: [string, Record<string, unknown>?][] = [
    ['sign-in/email', { email, password }],
    ['sign-up/email', { name: 'Eve', email: `new-${email}`, password }],
    ['sign-out', {}],
    [
      'change-password',
      { currentPassword: password, newPassword: 'another horse battery', revokeOtherSessions: true }
    ],
    ['reset-password', { newPassword: 'another horse battery', token: 'a'.repeat(54) }],
    ['describe-link', { token: 'a'.repeat(54) }],
    ['request-password-reset', { email }],
    ['verify-password', { password }],
    ['change-email', { newEmail: `other-${email}` }],
    ['update-user', { name: 'Ada King' }],
    ['update-session', {}],
    ['delete-user', { password }],
    ['unlink-account', { accountId: userId }],
    ['revoke-session', { token: `hsh1_${sessionId}` }],
    ['revoke-sessions', {}],
    ['revoke-other-sessions', {}],
    ['two-factor/enable', { password }],
    ['two-factor/disable', { password }],
    ['two-factor/get-totp-uri', { password }],
    ['two-factor/verify-totp', { code: '123456' }],
    ['two-factor/verify-otp', { code: '123456' }],
    ['two-factor/verify-backup-code', { code: 'abcde-fghij' }],
    ['two-factor/generate-backup-codes', { password }],
    ['one-time-token/verify', { token: 'a-token' }],
    ['admin/set-role', { userId, role: 'admin' }],
    ['admin/create-user', { email: `made-${email}`, password, name: 'Made', role: 'user' }],
    ['admin/update-user', { userId, data: { name: 'Ada' } }],
    ['admin/list-user-sessions', { userId }],
    ['admin/ban-user', { userId }],
    ['admin/unban-user', { userId }],
    ['admin/impersonate-user', { userId }],
    ['admin/stop-impersonating', {}],
    ['admin/revoke-user-session', { sessionToken: `hsh1_${sessionId}` }],
    ['admin/revoke-user-sessions', { userId }],
    ['admin/remove-user', { userId }],
    ['admin/set-user-password', { userId, newPassword: 'another horse battery' }],
    ['admin/has-permission', { permissions: { user: ['list'] } }]
  ]
  return [
    ...auth.map(([path, body]): Call => ['POST', `/api/auth/${path}`, body]),
    ...[
      'get-session',
      'list-sessions',
      'list-accounts',
      'one-time-token/generate',
      'admin/list-users',
      `admin/get-user?id=${userId}`
    ].map((path): Call => ['GET', `/api/auth/${path}`]),
    ['GET', '/session'],
    ['GET', '/sessions'],
    ['DELETE', '/sessions?except=current'],
    ['DELETE', `/sessions/${sessionId}`],
    ['GET', `/sessions/${sessionId}/events`]
  ]
}

const delays = monitorEventLoopDelay({ resolution: 10 })
delays.enable()

/**
 * Asserts that every call is answered 503, in time, by problem details, and that no cookie is
 * changed.
 */
async function refuses(t: Test, { browser }: Person, calls: Call[]): Promise<void> {
  await Promise.all(
    calls.map(async ([method, path, body]) => {
      const asked = performance.now()
      const response = await browser.fetch(path, {
        method,
        ...(body
          ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
          : {})
      })
      const answer = {
        status: response.status,
        type: response.headers.get('content-type'),
        retryAfter: response.headers.get('retry-after'),
        cookies: response.headers.getSetCookie(),
        cause: (JSON.parse((await response.text()) || '{}') as { cause?: string }).cause
      }
      const tookMs = Math.round(performance.now() - asked)
      t.strictSame(
        answer,
        {
          status: 503,
          type: 'application/problem+json; charset=utf-8',
          retryAfter: '1',
          cookies: [],
          cause: 'store_unavailable'
        },
        `${method} ${path}`
      )
      // The time for which this process, which is both sides, was itself blocked on a busy machine
      // does not count.
      const heldUpMs = Math.round(delays.max / 1e6)
      t.ok(tookMs < TOLD_MS + heldUpMs, `${method} ${path} was answered within ${TOLD_MS} ms`, {
        tookMs,
        heldUpMs
      })
    })
  )
}

/** Garbage is told from a credential by form and signature, without the store. */
async function stillRefusesGarbage(t: Test, url: string, { bearer }: Person): Promise<void> {
  const browser = new Browser(url)
  const forged = `${bearer.slice(0, 40)}${bearer[40] === 'A' ? 'B' : 'A'}${bearer.slice(41)}`
  t.equal(await sessionState(browser), '401 credential_missing')
  for (const garbage of ['hst1_garbage', forged]) {
    const response = await browser.get('/session', { authorization: `Bearer ${garbage}` })
    t.match(
      { status: response.status, body: await response.json() },
      { status: 401, body: { cause: 'credential_malformed' } }
    )
  }
  browser.cookies.set('holdfast.session_token', 'garbage')
  t.equal(await sessionState(browser), '401 credential_malformed')
  t.equal((await browser.get('/health/live')).status, 200)
}

/** Users with sessions, an administrator among them, for whom an outage must change nothing. */
async function populate(running: Running): Promise<{ ada: Person; phone: Person; calls: Call[] }> {
  const ada = await signUp(running.url)
  await makeAdmin(running, ada)
  const phone = await signIn(running.url, ada.email)
  return { ada, phone, calls: callsOf(ada) }
}

/** Asserts that every session is as it was, and that a sign-out works again. */
async function worksAgain(t: Test, running: Running, people: Person[]): Promise<void> {
  await until(
    'the store to answer again',
    async () => (await fetch(`${running.url}/health/ready`)).ok
  )
  for (const { browser } of people)
    await until(
      'the session to be known again',
      async () => (await sessionState(browser)) === 'valid',
      5_000
    )
  for (const { browser } of people) t.equal(await sessionState(browser), 'valid')
  for (const { browser } of people) {
    const bearer = new Map(browser.cookies)
    t.equal((await browser.post('/api/auth/sign-out')).status, 200)
    for (const [name, value] of bearer) browser.cookies.set(name, value)
    t.equal(await sessionState(browser), '401 session_revoked')
  }
}

t.test('a store that answers with errors: no user is signed out, nothing is claimed', async (t) => {
  const running = await build(t, { ...uncached, ...mail, oneTimeTokens: true })
  const { ada, phone, calls } = await populate(running)
  const rename = async (from: string, to: string) => {
    for (const table of ['user', 'session', 'account', 'verification', 'proof'])
      await running.app.holdfast.prisma.$executeRawUnsafe(
        `ALTER TABLE "${table}${from}" RENAME TO "${table}${to}"`
      )
  }
  await rename('', '_away')
  await refuses(t, ada, calls)
  await stillRefusesGarbage(t, running.url, ada)
  await rename('_away', '')
  await worksAgain(t, running, [ada, phone])
})

t.test('a statement that fails inside a transaction never becomes a success', async (t) => {
  const running = await build(t, { ...uncached, oneTimeTokens: true })
  const { prisma } = running.app.holdfast
  const ada = await signUp(running.url)
  const phone = await signIn(running.url, ada.email)
  await prisma.$executeRawUnsafe(
    'CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = TG_ARGV[0]; END $$'
  )
  // Both outages and answers: after either, PostgreSQL turns COMMIT into a silent ROLLBACK.
  for (const state of ['53100', '23505']) {
    for (const [table, calls] of Object.entries<Call[]>({
      session_event: [
        ['POST', '/api/auth/sign-out', {}],
        ['POST', '/api/auth/revoke-sessions', {}],
        ['POST', '/api/auth/revoke-other-sessions', {}],
        [
          'POST',
          '/api/auth/change-password',
          {
            currentPassword: password,
            newPassword: 'another horse battery',
            revokeOtherSessions: true
          }
        ],
        ['POST', '/api/auth/sign-in/email', { email: ada.email, password }],
        ['DELETE', '/sessions?except=current'],
        ['DELETE', `/sessions/${phone.sessionId}`]
      ],
      account: [
        ['POST', '/api/auth/sign-up/email', { name: 'Eve', email: 'eve@example.com', password }]
      ]
    })) {
      await prisma.$executeRawUnsafe(
        `CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON "${table}" FOR EACH ROW EXECUTE FUNCTION refuse('${state}')`
      )
      for (const [method, path, body] of calls) {
        const response = await ada.browser.fetch(path, {
          method,
          ...(body
            ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
            : {})
        })
        t.ok(response.status >= 500, `${method} ${path} fails (${state})`, {
          status: response.status
        })
        t.strictSame(response.headers.getSetCookie(), [], 'no cookie is set or removed')
        if (state === '53100') t.match(await response.json(), { cause: 'store_unavailable' })
        t.equal(await sessionState(ada.browser), 'valid')
        t.equal(await sessionState(phone.browser), 'valid')
      }
      await prisma.$executeRawUnsafe(`DROP TRIGGER refuse ON "${table}"`)
    }
  }
  t.equal(
    await prisma.user.count({ where: { email: 'eve@example.com' } }),
    0,
    'no part of a user is left'
  )
  t.equal((await signIn(running.url, ada.email)).email, ada.email, 'the password has not changed')
})

t.test(
  'a statement that waits too long for a lock: its connection is not given to another caller',
  { skip: storage === 'embedded' && 'embedded storage has one connection' },
  async (t) => {
    const running = await build(t, { ...uncached, databasePoolSize: 2 })
    await interrupted(t, running, running.options.databaseUrl ?? '')
  }
)

t.test('outages of PostgreSQL', { skip: withoutPostgres }, async (t) => {
  const postgres = await createPostgres(programs ?? '')
  t.teardown(() => postgres.remove())
  await postgres.start()
  const options: HoldfastOptions = {
    ...mail,
    localCache: false,
    databaseUrl: postgres.url,
    authSecret,
    databasePoolSize: 5,
    rateLimit: false,
    oneTimeTokens: true
  }
  await migrated(options)
  await t.test('stopped', (t) =>
    outage(
      t,
      options,
      () => postgres.stop(),
      () => postgres.start()
    )
  )
  await t.test('paused', (t) =>
    outage(
      t,
      options,
      () => postgres.signal('SIGSTOP'),
      () => postgres.signal('SIGCONT')
    )
  )
  await t.test('behind a network that swallows packets', async (t) => {
    const proxy = await startProxy(Number(new URL(postgres.url).port))
    t.teardown(() => proxy.close())
    const databaseUrl = new URL(postgres.url)
    databaseUrl.port = String(proxy.port)
    await outage(
      t,
      { ...options, databaseUrl: databaseUrl.href },
      () => proxy.swallow(),
      () => proxy.deliver()
    )
    await t.test('in the middle of a transaction', async (t) => {
      const running = await start(t, {
        ...options,
        databaseUrl: databaseUrl.href,
        databasePoolSize: 2
      })
      await interrupted(
        t,
        running,
        postgres.url,
        () => proxy.swallow(),
        () => proxy.deliver()
      )
    })
  })
  await t.test('a server starts without its database, and becomes ready by itself', (t) =>
    startsWithout(t, options, postgres)
  )
})

async function outage(
  t: Test,
  options: HoldfastOptions,
  begin: () => unknown,
  end: () => unknown
): Promise<void> {
  const running = await start(t, options)
  const { ada, phone, calls } = await populate(running)
  await begin()
  const middle = Math.floor(calls.length / 2)
  const first = refuses(t, ada, calls.slice(0, middle))
  // Later calls find every connection taken by an earlier one. The two waits must not add up.
  await sleep(700)
  await Promise.all([
    first,
    refuses(t, ada, calls.slice(middle)),
    stillRefusesGarbage(t, running.url, ada)
  ])
  await refuses(t, ada, [
    ['GET', '/health/ready'],
    ['GET', '/session'],
    ['POST', '/api/auth/sign-out', {}]
  ])
  await end()
  await worksAgain(t, running, [ada, phone])
}

/**
 * Abandons a transaction while its statement is running, and asserts that no later request is
 * affected.
 */
async function interrupted(
  t: Test,
  running: Running,
  databaseUrl: string,
  begin = () => {},
  end = () => {}
): Promise<void> {
  const ada = await signUp(running.url)
  const phone = await signIn(running.url, ada.email)
  const others = await Promise.all([1, 2, 3, 4].map(() => signUp(running.url)))
  const holder = new Client({ connectionString: databaseUrl })
  await holder.connect()
  await holder.query('BEGIN')
  await holder.query('SELECT 1 FROM "session" WHERE "id" = $1 FOR UPDATE', [phone.sessionId])
  const refused = refuses(t, ada, [['DELETE', '/sessions?except=current']])
  await until(
    'the statement to wait',
    async () =>
      (
        await holder.query(
          'SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))'
        )
      ).rowCount
  )
  begin()
  await refused
  await holder.query('ROLLBACK')
  end()
  const statuses = await Promise.all(
    others.map(async ({ browser }) => (await browser.post('/api/auth/sign-out')).status)
  )
  t.strictSame(statuses, [200, 200, 200, 200], 'the pool still serves')
  const { rows } = await holder.query(
    'SELECT count(*)::int AS "open" FROM "session" WHERE "revokedAt" IS NULL AND "id" = ANY($1)',
    [others.map((other) => other.sessionId)]
  )
  t.strictSame(
    rows,
    [{ open: 0 }],
    'a request that was answered 200 is committed, and not left in the abandoned transaction'
  )
  await holder.end()
  t.equal(await sessionState(ada.browser), 'valid')
  t.equal(
    await sessionState(phone.browser),
    'valid',
    'a request that was answered 503 did not take effect later'
  )
}

async function startsWithout(
  t: Test,
  options: HoldfastOptions,
  postgres: PrivatePostgres
): Promise<void> {
  const before = await start(t, options)
  const ada = await signUp(before.url)
  await before.app.close()
  await postgres.stop()
  const server = await startServer(t, { ...options, port: before.options.port ?? 0 })
  const stranger = await startServer(t, {
    ...options,
    authSecret: 'another secret, of another deployment: 81c0'
  })
  await refuses(t, ada, [...callsOf(ada), ['GET', '/health/ready']])
  t.equal((await fetch(`${server.url}/health/live`)).status, 200)
  await postgres.start()
  await until(
    'the server to become ready',
    async () => (await fetch(`${server.url}/health/ready`)).ok
  )
  t.equal(await sessionState(ada.browser), 'valid')
  t.equal(
    await stranger.exited,
    2,
    'a server ends when it learns late that the store is not compatible'
  )
  t.equal(await server.kill('SIGTERM'), 0)
}

async function migrated(options: HoldfastOptions): Promise<void> {
  const database = await openDatabase(
    resolveConfig({ ...options, baseUrl: 'http://localhost:3000' }),
    { onWarning: () => {} }
  )
  await migrate(database)
  await database.close()
}
