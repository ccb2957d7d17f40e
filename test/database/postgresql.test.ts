import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import type { Database } from '../../src/database/database.js'
import { migrate } from '../../src/database/migrate.js'
import { openPostgres } from '../../src/database/postgres.js'
import {
  authSecret,
  build,
  databaseServer,
  freshStore,
  makeAdmin,
  redisUrl,
  signUp,
  start,
  storage
} from '../support/server.js'
import { findPgbouncer, startPgbouncer } from '../support/pgbouncer.js'
import { until } from '../support/poll.js'
import { execute, query } from '../support/postgres.js'
import { runCli } from '../support/server-process.js'

const server = databaseServer
const skip = storage === 'embedded' && 'this is about PostgreSQL'
const pgbouncer = findPgbouncer()
const skipPooled =
  skip || (pgbouncer === null && process.env['REQUIRE_SERVICES'] !== '1' && 'PgBouncer is not here')

function open(
  t: Test,
  databaseUrl: string,
  more: Partial<Parameters<typeof openPostgres>[0]> = {}
): Database {
  const database = openPostgres({
    databaseUrl,
    poolSize: 5,
    connectTimeoutMs: 5_000,
    preparedStatements: 'auto',
    onError: () => {},
    ...more
  })
  t.teardown(() => database.close())
  return database
}

/**
 * A database without migrations, and a role that may only log in. Both are removed with the test.
 */
async function emptyDatabase(t: Test): Promise<{ admin: string; url: string; role: string }> {
  const id = randomUUID().replaceAll('-', '')
  const [name, role] = [`holdfast_pg_${id}`, `holdfast_role_${id}`]
  await execute(server, `CREATE DATABASE ${name}`, `CREATE ROLE ${role} LOGIN`)
  t.teardown(() =>
    execute(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`, `DROP ROLE IF EXISTS ${role}`)
  )
  const [admin, url] = [new URL(server), new URL(server)]
  admin.pathname = url.pathname = `/${name}`
  url.username = role
  return { admin: admin.href, url: url.href, role }
}

const settings = (databaseUrl: string): HoldfastOptions => ({
  databaseUrl,
  redisUrl,
  authSecret: `${authSecret} ${randomUUID()}`,
  rateLimit: false
})

t.test('D1: instants are instants on a database that keeps another time', { skip }, async (t) => {
  const store = await freshStore(t)
  const { databaseUrl = '' } = store
  await execute(
    databaseUrl,
    `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''America/New_York''', current_database()); END $$`
  )
  const running = await start(t, { ...store, rateLimit: false })
  const [admin, bob] = [await signUp(running.url), await signUp(running.url)]
  await makeAdmin(running, admin)
  const before = Date.now()
  t.equal(
    (await admin.browser.post('/api/auth/admin/ban-user', { userId: bob.id, banExpiresIn: 3_600 }))
      .status,
    200
  )
  const {
    app: {
      holdfast: { prisma }
    }
  } = running
  // Prisma writes and reads the same instant as our own SQL and PostgreSQL.
  const proof = await prisma.verification.create({
    data: { id: randomUUID(), identifier: 'x', value: 'x', expiresAt: new Date(before + 60_000) }
  })
  const [instants] = await query<{ ban: number; proof: number; zone: string }>(
    databaseUrl,
    `
    SELECT (SELECT extract(epoch FROM "banExpires") * 1000 FROM "user" WHERE "id" = '${bob.id}')::float8 AS ban,
      (SELECT extract(epoch FROM "expiresAt") * 1000 FROM "verification" WHERE "id" = '${proof.id}')::float8 AS proof, current_setting('TimeZone') AS zone`
  )
  t.match(instants, { zone: 'America/New_York', proof: before + 60_000 })
  t.ok(
    Math.abs((instants?.ban ?? 0) - before - 3_600_000) < 10_000,
    'a ban of an hour lasts an hour'
  )
  const user = await prisma.user.findUniqueOrThrow({ where: { id: bob.id } })
  const [raw] = await prisma.$queryRaw<
    { banExpires: Date }[]
  >`SELECT "banExpires" FROM "user" WHERE "id" = ${bob.id}`
  t.equal(user.banExpires?.getTime(), Math.round(instants?.ban ?? 0))
  t.equal(raw?.banExpires.getTime(), user.banExpires?.getTime())
  const session = await prisma.session.findUniqueOrThrow({ where: { id: admin.sessionId } })
  t.ok(
    Math.abs(session.authTime.getTime() - before) < 30_000,
    'the session has the time of the sign-in'
  )
})

t.test(
  'D2: a server works behind PgBouncer in transaction mode, and leaves nothing on its connections',
  { skip: skipPooled },
  async (t) => {
    const store = await freshStore(t)
    const direct = store.databaseUrl ?? ''
    await execute(
      direct,
      `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''America/New_York''', current_database()); END $$`
    )
    const databaseUrl = await startPgbouncer(t, pgbouncer ?? '', direct, { poolSize: 3 })
    const running = await start(t, {
      ...store,
      databaseUrl,
      rateLimit: false,
      databasePoolSize: 10
    })
    t.equal((await fetch(`${running.url}/health/ready`)).status, 200)
    const people = await Promise.all(Array.from({ length: 6 }, () => signUp(running.url)))
    const states = await Promise.all(
      people.flatMap(({ browser }) =>
        Array.from({ length: 10 }, async () => (await browser.get('/sessions')).status)
      )
    )
    t.strictSame([...new Set(states)], [200])
    t.equal((await people[0]?.browser.delete(`/sessions/${people[0].sessionId}`))?.status, 200)
    // Another program behind the same PgBouncer has its own defaults, and none of our statements.
    const others = await Promise.all(
      [1, 2, 3].map(() =>
        query<Record<string, unknown>>(
          databaseUrl,
          `
    SELECT current_setting('statement_timeout') AS timeout, current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('search_path') AS path,
      (SELECT count(*)::int FROM pg_prepared_statements) AS prepared, (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS locks`
        )
      )
    )
    for (const [row] of others)
      t.strictSame(row, { timeout: '0', idle: '0', path: '"$user", public', prepared: 0, locks: 0 })
    const {
      app: {
        holdfast: { prisma }
      }
    } = running
    const inside = await prisma.$transaction(
      (db) =>
        db.$queryRaw`SELECT current_setting('statement_timeout') AS "timeout", current_setting('idle_in_transaction_session_timeout') AS "idle"`
    )
    t.strictSame(
      inside,
      [{ timeout: '1300ms', idle: '10s' }],
      'a transaction has its limits nevertheless'
    )
  }
)

t.test(
  'D2: a pooler that keeps the time of its database is found out, and so is a schema that it cannot choose',
  { skip: skipPooled },
  async (t) => {
    const { databaseUrl: direct = '' } = await freshStore(t)
    const pooled = await startPgbouncer(t, pgbouncer ?? '', direct)
    await execute(direct, 'CREATE SCHEMA elsewhere')
    await t.rejects(open(t, `${pooled}?schema=elsewhere`).prisma.$queryRaw`SELECT 1`, {
      cause: {
        message:
          /behind a pooler the schema cannot be chosen for a connection: it is public, and must be elsewhere/
      }
    })
    t.strictSame(await open(t, `${pooled}?schema=public`).prisma.$queryRaw`SELECT 1 AS one`, [
      { one: 1 }
    ])
    t.strictSame(
      await open(t, `${direct}?pgbouncer=true`).prisma
        .$queryRaw`SELECT current_setting('statement_timeout') AS timeout`,
      [{ timeout: '0' }],
      'the limit is not set where the URL says that there is a pooler'
    )
  }
)

t.test('D3: migrations through PgBouncer leave no lock behind', { skip: skipPooled }, async (t) => {
  const { admin } = await emptyDatabase(t)
  const pooled = await startPgbouncer(t, pgbouncer ?? '', admin)
  const applied = await Promise.all([pooled, pooled, admin].map((url) => migrate(open(t, url))))
  t.equal(new Set(applied.flat()).size, applied.flat().length, 'each migration was applied once')
  t.ok(applied.flat().length > 0)
  const locks = await query(
    admin,
    `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
  )
  t.strictSame(locks, [])
  t.strictSame(await migrate(open(t, admin)), [], 'the next migration does not wait')
})

t.test(
  "D4: everything is in one schema: the URL's, or the first of the search path",
  { skip },
  async (t) => {
    const { admin, url, role } = await emptyDatabase(t)
    await execute(
      admin,
      `CREATE SCHEMA ${role} AUTHORIZATION ${role}`,
      'CREATE SCHEMA auth',
      'CREATE SCHEMA third',
      `GRANT USAGE, CREATE ON SCHEMA auth, third TO ${role}`,
      'CREATE TABLE public."user" (theirs text)',
      'CREATE TABLE public._prisma_migrations (migration_name text, finished_at timestamptz, rolled_back_at timestamptz)'
    )
    const tables = async (schema: string) =>
      (
        await query<{ name: string }>(
          admin,
          `SELECT relname::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = '${schema}'::regnamespace ORDER BY 1`
        )
      ).map(({ name }) => name)
    for (const [databaseUrl, schema] of [
      [url, role],
      [`${url}?schema=auth`, 'auth'],
      [`${url}?options=-c%20search_path%3Dthird,public`, 'third']
    ] as const) {
      await migrate(open(t, databaseUrl))
      t.ok((await tables(schema)).includes('session'), `the tables are in ${schema}`)
      t.strictSame(
        await tables('public'),
        ['_prisma_migrations', 'user'],
        'no table was added elsewhere'
      )
      const { url: at, app } = await start(t, settings(databaseUrl))
      const ada = await signUp(at)
      t.equal((await ada.browser.get('/sessions')).status, 200)
      t.equal(
        (await query(admin, `SELECT 1 FROM "${schema}"."user" WHERE "id" = '${ada.id}'`)).length,
        1
      )
      // By hand, from a session with another search path.
      await execute(admin, `UPDATE "${schema}"."user" SET "banned" = true WHERE "id" = '${ada.id}'`)
      t.match(
        await query(
          admin,
          `SELECT "revokedReason" FROM "${schema}"."session" WHERE "userId" = '${ada.id}'`
        ),
        [{ revokedReason: 'user_banned' }]
      )
      await app.close()
    }
    await migrate(open(t, `${admin}?schema=${encodeURIComponent('of its "own"')}`))
    t.ok(
      (
        await query<{ n: number }>(
          admin,
          `SELECT count(*)::int AS n FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace WHERE nspname = 'of its "own"' AND relname = 'session'`
        )
      )[0]?.n,
      'a missing schema is created'
    )
  }
)

t.test(
  'D5: a role needs no right on the database, and a migration that failed works right after the grant',
  { skip },
  async (t) => {
    const { admin, url, role } = await emptyDatabase(t)
    const denied = runCli(t, ['migrate'], { databaseUrl: url })
    t.equal(await denied.exited, 1)
    t.match(
      denied.stderr,
      /permission denied for schema public \(SQLSTATE 42501\)/,
      "the message is the database's"
    )
    await execute(
      admin,
      `GRANT CREATE ON SCHEMA public TO ${role}`,
      'CREATE TABLE public.session (theirs text)'
    )
    const failed = runCli(t, ['migrate'], { databaseUrl: url })
    t.equal(await failed.exited, 1)
    t.match(
      failed.stderr,
      /^holdfast: the migration \d+_init failed, and nothing of it was kept: relation "session" already exists \(SQLSTATE 42P07\)\n/
    )
    t.strictSame(
      await query(
        admin,
        `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'session'`
      ),
      []
    )
    // As Prisma's engine left it: recorded before it ran, and rolled back.
    await execute(
      admin,
      'DROP TABLE public.session',
      `SET ROLE ${role}`,
      `CREATE TABLE public._prisma_migrations (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ,
    migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ, started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`,
      `INSERT INTO _prisma_migrations (id, checksum, migration_name, logs) VALUES ('a', 'b', '20261124000000_init', 'permission denied')`
    )
    // D10: DATABASE_URL is all that it needs.
    const granted = runCli(t, ['migrate'], { databaseUrl: url })
    t.equal(await granted.exited, 0, granted.stderr)
    // A role that may not create anything may still ask.
    await execute(admin, `REVOKE CREATE ON SCHEMA public FROM ${role}`)
    t.strictSame(await migrate(open(t, url)), [])
  }
)

t.test(
  'D10: `migrate` connects as `start` does: where one is refused, both are',
  { skip },
  async (t) => {
    const { url } = await emptyDatabase(t)
    for (const [parameter, says] of [
      ['options=-c%20no_such_setting%3D1', 'unrecognized configuration parameter'],
      ['sslmode=require', 'does not support SSL'],
      ['sslmode=bogus', 'parameter sslmode']
    ] as const) {
      const run = runCli(t, ['migrate'], { databaseUrl: `${url}?${parameter}` })
      t.not(await run.exited, 0)
      t.match(run.stderr, says)
      t.notMatch(run.stderr, 'AUTH_SECRET')
    }
  }
)

t.test(
  'D7: what has become read-only is not ready, and ready again when it takes writes',
  { skip },
  async (t) => {
    const running = await build(t)
    const { databaseUrl = '' } = running.options
    const ready = async () => (await fetch(`${running.url}/health/ready`)).status
    t.equal(await ready(), 200)
    const setReadOnly = (value: 'on' | 'off') =>
      execute(
        databaseUrl,
        'SET default_transaction_read_only = off',
        `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = ${value}', current_database()); END $$`,
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()'
      )
    await setReadOnly('on')
    await until('it to be not ready', async () => (await ready()) === 503)
    await setReadOnly('off')
    await until('it to be ready', async () => (await ready()) === 200)
  }
)
