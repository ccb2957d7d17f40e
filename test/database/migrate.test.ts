import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { PrismaPg } from '@prisma/adapter-pg'
import type { SqlMigrationAwareDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { Pool, type QueryResult } from 'pg'
import { PrismaPGlite } from 'pglite-prisma-adapter'
import t, { type Test } from 'tap'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'
import type { Database } from '../../src/database/database.js'
import { readMigrations } from '../../src/database/migrate.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import {
  authSecret,
  databaseServer,
  freshStore,
  sessionState,
  signUp,
  storage
} from '../support/server.js'
import { execute } from '../support/postgres.js'
import { noFilter, openSchemaEngine, schemaPath } from '../support/schema-engine.js'
import { runCli, startServer } from '../support/server-process.js'

const onEmbedded = storage === 'embedded'
const otherSecret = 'another secret, of another deployment: 81c0'

/** Settings for a store without migrations. */
async function emptyStore(t: Test): Promise<HoldfastOptions> {
  if (onEmbedded) {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-empty-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    return { dataDir: join(folder, 'data') }
  }
  const server = databaseServer
  const name = `holdfast_empty_${randomUUID().replaceAll('-', '')}`
  await execute(server, `CREATE DATABASE ${name}`)
  t.teardown(() => execute(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  const databaseUrl = new URL(server)
  databaseUrl.pathname = `/${name}`
  return { databaseUrl: databaseUrl.href, authSecret, baseUrl: 'http://localhost:3000' }
}

async function open(t: Test, options: HoldfastOptions): Promise<Database> {
  const database = await openDatabase(resolveConfig(options), { onWarning: () => {} })
  t.teardown(() => database.close())
  return database
}

/** The migrations that `holdfast migrate` says it applied. */
async function migrateByCli(t: Test, options: HoldfastOptions): Promise<string[]> {
  const run = runCli(t, ['migrate'], options)
  t.equal(await run.exited, 0, 'migrate succeeds', { stderr: run.stderr })
  return (JSON.parse(run.stdout) as { applied: string[] }).applied
}

t.test("migrations are applied once, and leave what Prisma's own tools expect", async (t) => {
  const options = await emptyStore(t)
  const runs = onEmbedded
    ? [await migrateByCli(t, options), await migrateByCli(t, options)]
    : await Promise.all([1, 2, 3, 4].map(() => migrateByCli(t, options)))
  const migrations = await readMigrations()
  t.strictSame(
    runs.flat().toSorted(),
    migrations.map(({ name }) => name),
    'each migration was applied by one process'
  )

  const { prisma } = await open(t, options)
  const columns = await prisma.$queryRaw`
    SELECT column_name::text AS "name", data_type::text AS "type", character_maximum_length::int AS "length", is_nullable::text AS "nullable"
    FROM information_schema.columns WHERE table_name = '_prisma_migrations' ORDER BY ordinal_position`
  t.strictSame(columns, [
    { name: 'id', type: 'character varying', length: 36, nullable: 'NO' },
    { name: 'checksum', type: 'character varying', length: 64, nullable: 'NO' },
    { name: 'finished_at', type: 'timestamp with time zone', length: null, nullable: 'YES' },
    { name: 'migration_name', type: 'character varying', length: 255, nullable: 'NO' },
    { name: 'logs', type: 'text', length: null, nullable: 'YES' },
    { name: 'rolled_back_at', type: 'timestamp with time zone', length: null, nullable: 'YES' },
    { name: 'started_at', type: 'timestamp with time zone', length: null, nullable: 'NO' },
    { name: 'applied_steps_count', type: 'integer', length: null, nullable: 'NO' }
  ])
  const rows = await prisma.$queryRaw`
    SELECT migration_name, checksum, finished_at IS NOT NULL AS "finished", rolled_back_at, logs, applied_steps_count FROM _prisma_migrations ORDER BY started_at`
  t.strictSame(
    rows,
    migrations.map(({ name, script }) => ({
      migration_name: name,
      checksum: createHash('sha256').update(script).digest('hex'),
      finished: true,
      rolled_back_at: null,
      logs: null,
      applied_steps_count: 1
    }))
  )
})

t.test('the migrations lead to the schema, and nowhere else', async (t) => {
  const { adapter, run } = onEmbedded ? await migratedPGlite(t) : await migratedPostgres(t)
  const engine = await openSchemaEngine(adapter)
  const files = [{ path: schemaPath, content: await readFile(schemaPath, 'utf8') }]
  const difference = () =>
    engine.diff({
      from: { tag: 'schemaDatasource', files, configDir: '' },
      to: { tag: 'schemaDatamodel', files },
      script: true,
      exitCode: true,
      filters: noFilter
    })
  t.match(await difference(), { exitCode: 0, stdout: '-- This is an empty migration.' })
  await run('ALTER TABLE "account" DROP COLUMN "scope"')
  t.match(
    await difference(),
    { exitCode: 2, stdout: 'ALTER TABLE "account" ADD COLUMN     "scope" TEXT;' },
    'a difference is found'
  )
})

interface Migrated {
  adapter: SqlMigrationAwareDriverAdapterFactory
  run: (script: string) => Promise<unknown>
}

async function migratedPGlite(t: Test): Promise<Migrated> {
  const client = await PGlite.create()
  t.teardown(() => client.close())
  for (const { script } of await readMigrations()) await client.exec(script)
  return {
    adapter: new PrismaPGlite(client) as unknown as SqlMigrationAwareDriverAdapterFactory,
    run: (script) => client.exec(script)
  }
}

async function migratedPostgres(t: Test): Promise<Migrated> {
  const { databaseUrl = '' } = await freshStore(t)
  return { adapter: describable(t, databaseUrl), run: (script) => execute(databaseUrl, script) }
}

/**
 * @prisma/adapter-pg cannot read PostgreSQL's type "char", of which its catalog is full: here it is
 *   told that it is text.
 */
function describable(t: Test, connectionString: string): SqlMigrationAwareDriverAdapterFactory {
  const [CHAR, TEXT] = [18, 25]
  class TextPool extends Pool {
    override query(...args: never[]): never {
      const result = super.query(...(args as [never])) as unknown as Promise<QueryResult>
      return result.then((answer) => {
        for (const field of answer.fields) if (field.dataTypeID === CHAR) field.dataTypeID = TEXT
        return answer
      }) as never
    }
  }
  const pool = new TextPool({ connectionString, max: 1 })
  t.teardown(() => pool.end())
  return new PrismaPg(pool)
}

t.test(
  'a server does not start on a schema that is behind',
  { skip: onEmbedded && 'an embedded store is migrated at the start' },
  async (t) => {
    const run = runCli(t, ['start'], { ...(await emptyStore(t)), port: 0 })
    t.equal(await run.exited, 2)
    t.match(
      run.stderr,
      /^holdfast: the database schema is behind \(\d+_\w+(, \d+_\w+)*\): run `holdfast migrate` first\n$/
    )
  }
)

t.test('a node with another AUTH_SECRET does not start', async (t) => {
  const options = await freshStore(t)
  const server = await startServer(t, options)
  const ada = await signUp(server.url)
  if (onEmbedded) await server.kill('SIGTERM')
  const stranger = runCli(t, ['start'], {
    ...options,
    baseUrl: 'http://localhost:3000',
    authSecret: otherSecret,
    port: 0
  })
  t.equal(await stranger.exited, 2)
  t.match(stranger.stderr, /^holdfast: AUTH_SECRET: is not the secret [^\n]+\n$/)
  t.notMatch(stranger.stderr + stranger.stdout, otherSecret, 'the secret is not shown')
  if (onEmbedded) return
  t.equal(await sessionState(ada.browser), 'valid')
})

t.test(
  'a data directory has one holder',
  { skip: !onEmbedded && 'a data directory belongs to embedded storage' },
  async (t) => {
    const { dataDir = '' } = await freshStore(t)
    const first = await startServer(t, { dataDir })
    const ada = await signUp(first.url)
    for (const name of ['auth-secret', 'lock'])
      t.equal(statSync(join(dataDir, name)).mode & 0o777, 0o600, `only the owner can read ${name}`)
    t.ok(Buffer.byteLength(readFileSync(join(dataDir, 'auth-secret'), 'utf8').trim()) >= 32)

    for (const command of ['start', 'migrate']) {
      const second = runCli(t, [command], { dataDir, port: 0 })
      t.equal(await second.exited, 2)
      t.match(
        second.stderr,
        /^holdfast: DATA_DIR: \S+ is in use by another Holdfast process \(pid \d+\): [^\n]+\n$/,
        command
      )
      t.equal(await sessionState(ada.browser), 'valid', 'the first server continues to work')
    }

    await first.kill('SIGKILL')
    const next = await startServer(t, { dataDir, port: Number(new URL(first.url).port) })
    t.equal(
      await sessionState(ada.browser),
      'valid',
      'after SIGKILL the directory opens again, with the same secret'
    )
    t.equal(await next.kill('SIGTERM'), 0)
  }
)

t.test(
  "a data directory that is made is its owner's alone",
  { skip: !onEmbedded && 'a data directory belongs to embedded storage' },
  async (t) => {
    const options = await emptyStore(t)
    await migrateByCli(t, options)
    t.equal(statSync(options.dataDir ?? '').mode & 0o777, 0o700)
  }
)

t.test(
  'a database that refuses this process refuses the start, and is not waited for',
  { skip: onEmbedded && 'an embedded store refuses nobody' },
  async (t) => {
    const options = await emptyStore(t)
    const nowhere = new URL(options.databaseUrl ?? '')
    nowhere.pathname = '/there_is_no_such_database'
    const server = runCli(t, ['start'], { ...options, databaseUrl: nowhere.href, port: 0 })
    t.equal(await server.exited, 2)
    t.match(
      server.stderr,
      /^holdfast: DATABASE_URL: the database refuses the connection: there is no such database\n$/
    )
  }
)
