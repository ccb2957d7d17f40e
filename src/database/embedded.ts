import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import type { SqlMigrationAwareDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { PrismaPGlite } from 'pglite-prisma-adapter'
import { ConfigError } from '../config.js'
import { createPrisma, withWholeScripts, type Database } from './database.js'
import { lockDirectory } from './directory-lock.js'

/**
 * Opens the embedded store (PGlite) in `dataDir`, creating both where they are missing.
 * One process at a time: a second one is refused by a lock of the operating system, which a killed process loses.
 *
 * @throws Error when another process holds the directory
 */
export async function openEmbedded(dataDir: string): Promise<Database> {
  makeDirectories(dataDir)
  const lock = lockDirectory(dataDir)
  try {
    const client = await PGlite.create({ dataDir: join(dataDir, 'pglite') })
    const adapter = new PrismaPGlite(client) as unknown as SqlMigrationAwareDriverAdapterFactory
    const prisma = createPrisma(adapter)
    return {
      kind: 'embedded',
      prisma,
      openMigration: async () => ({ adapter: withWholeScripts(adapter, (script) => client.exec(script)), close: async () => {} }),
      pool: () => null,
      async close() {
        await prisma.$disconnect()
        await client.close()
        lock.release()
      }
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

// PGlite would make its own readable to others.
function makeDirectories(dataDir: string): void {
  try {
    mkdirSync(join(dataDir, 'pglite'), { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new ConfigError(`DATA_DIR: ${dataDir} cannot be made or written (${error instanceof Error && 'code' in error ? String(error.code) : String(error)})`, { cause: error })
  }
}
