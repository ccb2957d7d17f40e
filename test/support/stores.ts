import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { resolveConfig } from '../../src/config.js'
import { migrate, migrationsDirectory } from '../../src/database/migrate.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import { canQuery, execute } from './postgres.js'

/** Signs and encrypts in tests, and nowhere else. */
export const TEST_SECRET = 'a secret for tests only: 3f9c1e7a5b2d8046'

/** Kept between runs. "npm ci" and a new migration delete it. */
const cache = fileURLToPath(new URL('../../../node_modules/.cache/holdfast-test/', import.meta.url))

/**
 * An embedded store with all migrations and no row, for copying. Made once, and kept until the
 * migrations change.
 */
export async function embeddedTemplate(): Promise<string> {
  const template = join(cache, `embedded-${fingerprint()}`)
  if (existsSync(template)) return template
  mkdirSync(cache, { recursive: true })
  const made = mkdtempSync(join(cache, 'making-'))
  await migrated({ dataDir: made })
  try {
    renameSync(made, template)
  } catch (error) {
    if (!existsSync(template)) throw error
    rmSync(made, { recursive: true, force: true }) // another process was faster
  }
  return template
}

/**
 * The name of a database on this server with all migrations and no row, for copying. Made once, and
 * kept until the migrations change.
 */
export async function postgresTemplate(server: string): Promise<string> {
  const template = `holdfast_template_${fingerprint()}`
  const url = new URL(server)
  url.pathname = `/${template}`
  if (await canQuery(url.href)) return template
  const making = `${template}_${process.pid}`
  await createPostgresTemplate(server, making)
  // Where another process was faster, its template is as good.
  await execute(server, `ALTER DATABASE ${making} RENAME TO ${template}`).catch(() =>
    execute(server, `DROP DATABASE IF EXISTS ${making} WITH (FORCE)`)
  )
  return template
}

/**
 * A database with all migrations and no row, for copying. It is always made again.
 *
 * @param role owns a schema of its own, with everything in it
 */
export async function createPostgresTemplate(
  server: string,
  name: string,
  role?: string
): Promise<void> {
  await execute(server, `DROP DATABASE IF EXISTS ${name}`, `CREATE DATABASE ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  if (role !== undefined) {
    await execute(url.href, `CREATE SCHEMA ${role} AUTHORIZATION ${role}`)
    url.username = role
  }
  await migrated({
    databaseUrl: url.href,
    baseUrl: 'http://localhost:3000',
    authSecret: TEST_SECRET
  })
}

async function migrated(options: Parameters<typeof resolveConfig>[0]): Promise<void> {
  const database = await openDatabase(resolveConfig(options), { onWarning: () => {} })
  await migrate(database)
  await database.close()
}

/** Changes with the migrations and the embedded database. */
function fingerprint(): string {
  const { dependencies } = JSON.parse(
    readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  ) as { dependencies: Record<string, string> }
  const hash = createHash('sha256').update(`${dependencies['@electric-sql/pglite']}`)
  for (const name of readdirSync(migrationsDirectory).toSorted()) {
    const file = join(migrationsDirectory, name, 'migration.sql')
    if (existsSync(file)) hash.update(name).update(readFileSync(file))
  }
  return hash.digest('hex').slice(0, 16)
}
