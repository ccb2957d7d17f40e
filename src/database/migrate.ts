import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database } from './database.js'
import { migrationsDirectory, noFilter, openSchemaEngine, type MigrationList } from './schema-engine.js'

/**
 * Applies the migrations that the store has not seen, in order. Several nodes may call it at once: one applies,
 * the others wait for it and find nothing left to do.
 *
 * @returns the names of the migrations that this call applied
 */
export async function migrate(database: Database): Promise<string[]> {
  const migrationsList = await readMigrations()
  const session = await database.openMigration()
  try {
    const engine = await openSchemaEngine(session.adapter)
    const { appliedMigrationNames } = await engine.applyMigrations({ migrationsList, filters: noFilter })
    return appliedMigrationNames
  } finally {
    await session.close()
  }
}

/**
 * The migrations that this version needs and the store has not finished. Reads only: asked at every start.
 *
 * @throws StoreUnavailable when the store does not answer
 */
export async function pendingMigrations(database: Database): Promise<string[]> {
  const names = await migrationNames()
  const [table] = await database.prisma.$queryRaw<{ present: boolean }[]>`
    SELECT to_regclass('_prisma_migrations') IS NOT NULL AS present`
  if (!table?.present) return names
  const finished = await database.prisma.$queryRaw<{ migration_name: string }[]>`
    SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL`
  const applied = new Set(finished.map((row) => row.migration_name))
  return names.filter((name) => !applied.has(name))
}

/** The migrations on disk as the schema engine takes them. */
export async function readMigrations(): Promise<MigrationList> {
  const names = await migrationNames()
  const lockfile = join(migrationsDirectory, 'migration_lock.toml')
  return {
    baseDir: migrationsDirectory,
    lockfile: { path: 'migration_lock.toml', content: existsSync(lockfile) ? await readFile(lockfile, 'utf8') : null },
    shadowDbInitScript: '',
    migrationDirectories: await Promise.all(names.map(async (name) => ({
      path: name,
      migrationFile: {
        path: 'migration.sql',
        content: { tag: 'ok' as const, value: await readFile(join(migrationsDirectory, name, 'migration.sql'), 'utf8') }
      }
    })))
  }
}

async function migrationNames(): Promise<string[]> {
  const entries = await readdir(migrationsDirectory, { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name).toSorted()
}
