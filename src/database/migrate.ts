import { createHash, randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Database, MigrationSession, MigrationStep } from './database.js'
import { describeFailure, toConfigError } from './failure.js'

/** Where Prisma keeps its migrations. */
export const migrationsDirectory = fileURLToPath(
  new URL('../../../prisma/migrations/', import.meta.url)
)

export interface Migration {
  name: string
  script: string
}

/** A migration could not be applied. It was rolled back whole, and the next call runs it again. */
export class MigrationFailed extends Error {
  override readonly name = 'MigrationFailed'

  constructor(migration: string | null, cause: unknown) {
    const subject =
      migration === null
        ? 'the migrations could not be applied'
        : `the migration ${migration} failed, and nothing of it was kept`
    super(`${subject}: ${describeFailure(cause)}`, { cause })
  }
}

/**
 * Applies the pending migrations, in order, each in a transaction of its own. Several nodes may
 * call it at once: one applies, the others wait and find nothing left to do. The result is what
 * Prisma's own tools expect.
 *
 * @returns the names of the migrations that this call applied
 * @throws MigrationFailed with the database's own words
 */
export async function migrate(database: Database): Promise<string[]> {
  const migrations = await readMigrations()
  try {
    return await database.migrating(async (session) => {
      const finished = await session.transaction(finishedMigrations)
      const pending = migrations.filter(({ name }) => !finished?.has(name))
      // Nothing is created before it is needed: a role that may only read and write rows can call
      // this when nothing is pending.
      for (const [index, migration] of pending.entries()) {
        await apply(session, migration, finished === null && index === 0).catch(
          (error: unknown) => {
            throw new MigrationFailed(migration.name, error)
          }
        )
      }
      return pending.map(({ name }) => name)
    })
  } catch (error) {
    throw error instanceof MigrationFailed
      ? error
      : (toConfigError(error) ?? new MigrationFailed(null, error))
  }
}

/**
 * The migrations that this version needs and the store does not have. Reads only, because every
 * start calls it.
 *
 * @throws StoreUnavailable when the store does not answer
 */
export async function pendingMigrations(database: Database): Promise<string[]> {
  const names = await migrationNames()
  const [table] = await database.prisma.$queryRaw<{ present: boolean }[]>`
    SELECT to_regclass(quote_ident(current_schema()) || '._prisma_migrations') IS NOT NULL AS present`
  if (!table?.present) return names
  const finished = await database.prisma.$queryRaw<{ migration_name: string }[]>`
    SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL`
  const applied = new Set(finished.map((row) => row.migration_name))
  return names.filter((name) => !applied.has(name))
}

/** The migrations on disk, in their order. */
export async function readMigrations(): Promise<Migration[]> {
  const names = await migrationNames()
  return Promise.all(
    names.map(async (name) => ({
      name,
      script: await readFile(join(migrationsDirectory, name, 'migration.sql'), 'utf8')
    }))
  )
}

async function finishedMigrations({ query }: MigrationStep): Promise<ReadonlySet<string> | null> {
  const [table] = await query<{ present: boolean }>(
    `SELECT to_regclass(quote_ident(current_schema()) || '._prisma_migrations') IS NOT NULL AS present`,
    []
  )
  if (!table?.present) return null
  const rows = await query<{ migration_name: string }>(
    'SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
    []
  )
  return new Set(rows.map((row) => row.migration_name))
}

async function readTime({ query }: MigrationStep): Promise<string> {
  const [row] = await query<{ now: string }>('SELECT clock_timestamp()::text AS "now"', [])
  return row?.now ?? ''
}

async function apply(
  session: MigrationSession,
  { name, script }: Migration,
  isFirst: boolean
): Promise<void> {
  const started = await session.transaction(readTime)
  const index = concurrentIndex(script)
  if (index !== null) {
    // An attempt that broke off leaves an index that is invalid, or one that is not recorded.
    await session.statement(`DROP INDEX CONCURRENTLY IF EXISTS "${index}"`)
    await session.statement(script)
  }
  await session.transaction(async (step) => {
    if (isFirst) await step.run(migrationsTable)
    if (index === null) await step.run(script)
    // Prisma's engine records a migration before it runs it. A failed one was rolled back whole,
    // because its script is one transaction.
    await step.query(
      'UPDATE _prisma_migrations SET rolled_back_at = clock_timestamp() WHERE migration_name = $1 AND finished_at IS NULL AND rolled_back_at IS NULL',
      [name]
    )
    await step.query(
      `
      INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
      VALUES ($1, $2, $3, $4::timestamptz, clock_timestamp(), 1)`,
      [randomUUID(), createHash('sha256').update(script).digest('hex'), name, started]
    )
  })
}

/**
 * The index that a one-statement migration builds concurrently, which PostgreSQL only does outside
 * transactions.
 */
function concurrentIndex(script: string): string | null {
  return (
    /^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+"(\w+)"[^;]*;?\s*$/i.exec(
      script.replaceAll(/^\s*--.*$/gm, '')
    )?.[1] ?? null
  )
}

/** As Prisma's engine creates it. */
const migrationsTable = `
  CREATE TABLE _prisma_migrations (
    id VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    finished_at TIMESTAMPTZ,
    migration_name VARCHAR(255) NOT NULL,
    logs TEXT,
    rolled_back_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count INTEGER NOT NULL DEFAULT 0
  )`

async function migrationNames(): Promise<string[]> {
  const entries = await readdir(migrationsDirectory, { withFileTypes: true })
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted()
}
