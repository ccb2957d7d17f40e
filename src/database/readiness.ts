import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Keys } from '../secrets/keys.js'
import { ConfigError, StoreUnavailable } from '../errors.js'
import type { Database, PrismaClient } from './database.js'
import { toConfigError } from './failure.js'
import { migrate, pendingMigrations } from './migrate.js'

/** How often a server that waits for its database tries again, in milliseconds. */
const RETRY_MS = 250

/**
 * Makes sure that this process may use the store: the store has the schema that it needs, and its
 * sessions were signed with one of the configured secrets. The first process on a new store writes
 * the check value. Without it, a lost AUTH_SECRET would sign every user out.
 *
 * @returns the store's id, which names it wherever several stores share something
 * @throws StoreUnavailable when the store does not answer
 * @throws ConfigError when it answers and is not compatible
 */
export async function prepareStore(database: Database, keys: Keys): Promise<string> {
  if (database.kind === 'embedded') await migrate(database)
  const pending = await pendingMigrations(database).catch((error: unknown) => {
    throw toConfigError(error instanceof StoreUnavailable ? error.cause : error) ?? error
  })
  if (pending.length > 0)
    throw new ConfigError(
      `the database schema is behind (${pending.join(', ')}): run \`holdfast migrate\` first`
    )
  await checkSecrets(database.prisma, keys)
  return storeId(database)
}

async function checkSecrets(prisma: PrismaClient, { check, all, peppers }: Keys): Promise<void> {
  await prisma.$executeRaw`
    INSERT INTO "key_check" ("purpose", "value") VALUES ('auth_secret', ${check}) ON CONFLICT ("purpose") DO NOTHING`
  const stored = await prisma.keyCheck.findUnique({ where: { purpose: 'auth_secret' } })
  if (!all.some((keys) => keys.check === stored?.value)) {
    throw new ConfigError(
      'AUTH_SECRET: is not the secret with which the sessions in this store were signed; with it every user would be signed out. If it was changed, the old one belongs into AUTH_SECRET_PREVIOUS'
    )
  }
  const unknown = (await findPeppers(prisma)).find((id) => !peppers.find(id))
  if (unknown !== undefined) {
    throw new ConfigError(
      'AUTH_SECRET_PREVIOUS: lacks a secret under which live sessions refresh; without it they would be signed out'
    )
  }
  // Last, so that a node that refuses to start has changed nothing.
  if (stored && stored.value !== check) {
    await prisma.$executeRaw`UPDATE "key_check" SET "value" = ${check} WHERE "purpose" = 'auth_secret' AND "value" = ${stored.value}`
  }
}

/**
 * The peppers of live sessions. It steps from one to the next along the index, however many
 * sessions there are.
 */
async function findPeppers(prisma: PrismaClient): Promise<string[]> {
  const rows = await prisma.$queryRaw<{ id: string }[]>`
    WITH RECURSIVE pepper ("id") AS (
      SELECT min("rotationPepper") FROM "session"
      UNION ALL
      SELECT (SELECT min(s."rotationPepper") FROM "session" s WHERE s."rotationPepper" > pepper."id") FROM pepper WHERE pepper."id" IS NOT NULL
    )
    SELECT "id" FROM pepper WHERE "id" IS NOT NULL AND EXISTS (
      SELECT 1 FROM "session" s WHERE s."rotationPepper" = pepper."id" AND s."revokedAt" IS NULL AND s."expiresAt" > clock_timestamp()
        AND s."absoluteExpiresAt" > clock_timestamp()
    )`
  return rows.map(({ id }) => id)
}

// Random and kept, so that nodes find each other in Redis even if their secrets change.
async function storeId({ prisma }: Database): Promise<string> {
  const made = randomBytes(9).toString('base64url')
  await prisma.$executeRaw`INSERT INTO "key_check" ("purpose", "value") VALUES ('store_id', ${made}) ON CONFLICT ("purpose") DO NOTHING`
  return (await prisma.keyCheck.findUniqueOrThrow({ where: { purpose: 'store_id' } })).value
}

/**
 * Checks that the store has the schema and takes writes.
 *
 * @throws StoreUnavailable when it does not
 */
export async function checkStore(database: Database): Promise<void> {
  const pending = await pendingMigrations(database)
  if (pending.length > 0)
    throw new StoreUnavailable(new Error(`the database schema is behind (${pending.join(', ')})`))
  const [row] = await database.prisma.$queryRaw<{ writable: boolean }[]>`
    SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' AS "writable"`
  if (!row?.writable) throw new StoreUnavailable(new Error('the database takes no writes'))
}

/**
 * Calls `prepare` until the store answers. Ends early, without an error, when the signal is
 * aborted.
 */
export async function untilPrepared(
  prepare: () => Promise<void>,
  signal: AbortSignal
): Promise<void> {
  while (!signal.aborted) {
    try {
      await prepare()
      return
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      await sleep(RETRY_MS, undefined, { signal }).catch(() => {})
    }
  }
}
