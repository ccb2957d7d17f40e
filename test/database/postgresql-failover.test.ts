import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import { migrate } from '../../src/database/migrate.js'
import { openPostgres } from '../../src/database/postgres.js'
import { makeCertificate } from '../support/certificate.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import { authSecret, sessionState, signIn, signUp, start, storage } from '../support/server.js'
import { findPgbouncer, startPgbouncer } from '../support/pgbouncer.js'
import { until } from '../support/poll.js'
import {
  createPostgres,
  execute,
  findPostgresPrograms,
  query,
  type PostgresSettings,
  type PrivatePostgres
} from '../support/postgres.js'
import { runCli } from '../support/server-process.js'

const programs = findPostgresPrograms()
const skip =
  storage === 'embedded'
    ? 'this is about PostgreSQL'
    : programs === null &&
      process.env['REQUIRE_SERVICES'] !== '1' &&
      "PostgreSQL's programs are not here"
const pgbouncer = findPgbouncer()

async function startPostgres(t: Test, settings: PostgresSettings = {}): Promise<PrivatePostgres> {
  const server = await createPostgres(programs ?? '', settings)
  t.teardown(() => server.remove())
  await server.start()
  return server
}

async function migrated(databaseUrl: string): Promise<void> {
  const database = openPostgres({
    databaseUrl,
    poolSize: 2,
    connectTimeoutMs: 5_000,
    preparedStatements: 'auto',
    onError: () => {}
  })
  await migrate(database)
  await database.close()
}

const portOf = (server: PrivatePostgres) => Number(new URL(server.url).port)

/** Whether a connection is encrypted; else why not. */
async function encrypted(databaseUrl: string): Promise<unknown> {
  const database = openPostgres({
    databaseUrl,
    poolSize: 2,
    connectTimeoutMs: 10_000,
    preparedStatements: 'auto',
    onError: () => {}
  })
  try {
    return (
      await database.prisma.$queryRaw<
        { ssl: boolean }[]
      >`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`
    )[0]?.ssl
  } catch (error) {
    return error instanceof Error && error.cause instanceof Error
      ? 'code' in error.cause
        ? error.cause.code
        : error.cause.message
      : error
  } finally {
    await database.close()
  }
}

/** One node without any cache: each check asks the database. */
const uncached = (databaseUrl: string): HoldfastOptions => ({
  databaseUrl,
  authSecret,
  rateLimit: false,
  localCache: false,
  logLevel: 'error'
})

t.test(
  'D7: a node follows the primary within ten seconds, and a standby answers no check',
  { skip },
  async (t) => {
    const first = await startPostgres(t)
    await migrated(first.url)
    const second = await startPostgres(t, { standbyOf: first.url })
    // The standby comes first, and lags: it must be skipped from the beginning.
    await execute(second.url, 'SELECT pg_wal_replay_pause()')
    const running = await start(
      t,
      uncached(
        `postgresql://postgres@127.0.0.1:${portOf(second)},127.0.0.1:${portOf(first)}/postgres?target_session_attrs=read-write`
      )
    )
    const ada = await signUp(running.url)
    const phone = await signIn(running.url, ada.email)
    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    t.equal(await sessionState(phone.browser), '401 session_revoked')
    await execute(second.url, 'SELECT pg_wal_replay_resume()')
    const { at } = (
      await query<{ at: string }>(first.url, 'SELECT pg_current_wal_lsn()::text AS at')
    )[0] ?? { at: '' }
    await until(
      'the standby to have caught up',
      async () =>
        (
          await query<{ ok: boolean }>(
            second.url,
            `SELECT pg_last_wal_replay_lsn() >= '${at}' AS ok`
          )
        )[0]?.ok
    )

    // From now on, in every state: the revoked session is never called active, and the other is
    // never signed out.
    const seen = new Set<string>()
    const watching = new AbortController()
    const watch = (async () => {
      while (!watching.signal.aborted) {
        seen.add(`revoked: ${await sessionState(phone.browser).catch(() => 'no answer')}`)
        seen.add(`live: ${await sessionState(ada.browser).catch(() => 'no answer')}`)
        await sleep(20)
      }
    })()
    const demoted = first.demote(second.url)
    await until(
      'the first to be down',
      async () => (await fetch(`${running.url}/health/ready`)).status === 503
    )
    await execute(second.url, 'SELECT pg_promote(true, 30)')
    const promotedAt = performance.now()
    await until(
      'the node to be well again',
      async () => (await fetch(`${running.url}/health/ready`)).status === 200
    )
    t.ok(
      performance.now() - promotedAt < 10_000,
      `after ${Math.round(performance.now() - promotedAt)} ms`
    )
    await demoted
    t.equal((await ada.browser.get('/sessions')).status, 200)
    const tablet = await signIn(running.url, ada.email)
    t.equal((await ada.browser.delete(`/sessions/${tablet.sessionId}`)).status, 200)
    t.equal(await sessionState(tablet.browser), '401 session_revoked')
    watching.abort()
    await watch
    t.strictSame(
      [...seen].filter(
        (state) =>
          !['revoked: 401 session_revoked', 'live: valid'].includes(state) &&
          !state.endsWith('503 store_unavailable')
      ),
      []
    )
  }
)

t.test(
  'D7: behind a pooler that is led to a standby, nothing is answered from what the standby does not know yet',
  { skip: skip || (pgbouncer === null && 'PgBouncer is not here') },
  async (t) => {
    const first = await startPostgres(t)
    await migrated(first.url)
    const second = await startPostgres(t, { standbyOf: first.url })
    const line = await TcpProxy.to(portOf(first))
    t.teardown(() => line.close())
    const pooled = await startPgbouncer(
      t,
      pgbouncer ?? '',
      `postgresql://postgres@127.0.0.1:${line.port}/postgres`
    )
    const running = await start(t, uncached(pooled))
    const ada = await signUp(running.url)
    const phone = await signIn(running.url, ada.email)
    await until(
      'the standby to know the sessions',
      async () =>
        (await query(second.url, `SELECT 1 FROM "session" WHERE "id" = '${phone.sessionId}'`))
          .length === 1
    )
    await execute(second.url, 'SELECT pg_wal_replay_pause()')
    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    const tablet = await signIn(running.url, ada.email)
    line.leadTo(portOf(second))
    for (let round = 0; round < 10; round++) {
      t.match(await sessionState(phone.browser), /503|revoked/)
      t.match(
        await sessionState(tablet.browser),
        /503|valid/,
        'a session that has not reached the standby is not called unknown'
      )
    }
    t.equal((await fetch(`${running.url}/health/ready`)).status, 503)
    line.leadTo(portOf(first))
    await until(
      'the node to be well again',
      async () => (await fetch(`${running.url}/health/ready`)).status === 200
    )
    t.equal(await sessionState(tablet.browser), 'valid')
  }
)

t.test('D8, D9: TLS as libpq means it, and a server that is 150 ms away', { skip }, async (t) => {
  const folder = t.testdir()
  const [cert, other] = [join(folder, 'cert.pem'), join(folder, 'other.pem')]
  const certificate = makeCertificate(['db.example.com'])
  writeFileSync(cert, certificate.cert)
  writeFileSync(other, makeCertificate(['localhost']).cert)
  const server = await startPostgres(t, {
    settings: ['ssl=on', 'ssl_cert_file=$FOLDER/cert.pem', 'ssl_key_file=$FOLDER/key.pem'],
    files: { 'cert.pem': certificate.cert, 'key.pem': certificate.key }
  })
  const base = `postgresql://postgres@localhost:${portOf(server)}/postgres`
  const named = `${base}&hostaddr=127.0.0.1`
    .replace('localhost', 'db.example.com')
    .replace('&', '?')
  t.equal(await encrypted(base), false, 'TLS is off on loopback unless it is asked for')
  t.equal(await encrypted(`${base}?sslmode=prefer`), true)
  t.equal(
    await encrypted(`${base}?sslmode=require`),
    true,
    'require does not verify the certificate'
  )
  t.equal(
    await encrypted(`${base}?sslmode=verify-ca&sslrootcert=${cert}`),
    true,
    'verify-ca does not compare the name'
  )
  t.equal(
    await encrypted(`${base}?sslmode=verify-full&sslrootcert=${cert}`),
    'ERR_TLS_CERT_ALTNAME_INVALID'
  )
  t.equal(
    await encrypted(`${named}&sslmode=verify-full&sslrootcert=${cert}`),
    true,
    'the name of the host is compared, not hostaddr'
  )
  t.match(
    await encrypted(`${base}?sslmode=require&sslrootcert=${other}`),
    /SELF_SIGNED/,
    'require with a certificate verifies'
  )
  t.match(await encrypted(`${base}?sslmode=verify-full&sslrootcert=system`), /SELF_SIGNED/)

  await migrated(base)
  const line = await TcpProxy.to(portOf(server))
  t.teardown(() => line.close())
  line.delay(75)
  const running = await start(
    t,
    uncached(`postgresql://postgres@127.0.0.1:${line.port}/postgres?sslmode=require`)
  )
  await until(
    'a server that is far away to be ready',
    async () => (await fetch(`${running.url}/health/ready`)).status === 200,
    30_000
  )
  const ada = await until('a sign-up', () => signUp(running.url))
  t.equal(await sessionState(ada.browser), 'valid')
  // Only JSON is written before the log starts, and a missing file is named.
  const refused = runCli(t, ['migrate'], {
    databaseUrl: `${base}?sslmode=verify-ca&sslrootcert=${folder}/missing.pem`
  })
  t.equal(await refused.exited, 2)
  t.match(
    refused.stderr,
    /^holdfast: DATABASE_URL: the parameter sslrootcert names a file that cannot be read [^\n]+\n$/
  )
})
