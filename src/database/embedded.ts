import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { PrismaPGlite } from 'pglite-prisma-adapter'
import { ConfigError } from '../errors.js'
import { createPrisma, type Database } from './database.js'
import { lockDirectory } from './directory-lock.js'

const STORE = 'pglite'

/**
 * Opens the embedded store (PGlite) in `dataDir`, and creates both where they are missing. One
 * process at a time: a lock of the operating system refuses a second one, and a killed process
 * loses the lock.
 *
 * @throws Error when another process holds the directory
 */
export async function openEmbedded(dataDir: string): Promise<Database> {
  makeDirectories(dataDir)
  const lock = lockDirectory(dataDir)
  try {
    await makeStore(dataDir)
    const client = await PGlite.create({ dataDir: join(dataDir, STORE) })
    await client.exec("SET TimeZone = 'UTC'")
    const prisma = createPrisma(new PrismaPGlite(client))
    return {
      kind: 'embedded',
      prisma,
      migrating: (work) =>
        work({
          statement: async (text) => {
            await client.exec(text)
          },
          transaction: (step) =>
            client.transaction((transaction) =>
              step({
                run: async (script) => {
                  await transaction.exec(script)
                },
                query: async (text, values) =>
                  (await transaction.query(text, [...values])).rows as never
              })
            )
        }),
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

/**
 * Creates the store where there is none, in another place, and renames it when it is complete. A
 * half-made one (Ctrl-C, a full disk) would be taken for a store, and no server could start on it.
 */
async function makeStore(dataDir: string): Promise<void> {
  if (existsSync(join(dataDir, STORE, 'PG_VERSION'))) return
  const unfinished = join(dataDir, `${STORE}.new`)
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { mode: 0o700 })
  const client = await PGlite.create({ dataDir: unfinished })
  await client.close()
  renameSync(unfinished, join(dataDir, STORE))
}

// PGlite would create its directory readable by other users.
function makeDirectories(dataDir: string): void {
  try {
    mkdirSync(join(dataDir, STORE), { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new ConfigError(
      `DATA_DIR: ${dataDir} cannot be made or written (${error instanceof Error && 'code' in error ? String(error.code) : String(error)})`,
      { cause: error }
    )
  }
}
