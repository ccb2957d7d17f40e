import { FailedAttempts } from '../account/failed-attempts.js'
import type { Clock } from '../clock.js'
import type { Config, StoreConfig } from '../config.js'
import { Counters } from '../counters.js'
import type { Database, PrismaClient } from '../database/database.js'
import { openEmbedded } from '../database/embedded.js'
import { openPostgres } from '../database/postgres.js'
import { GatewayAuthenticator } from '../gateway/authenticator.js'
import { parseGatewayClients } from '../gateway/gateway.js'
import { deriveKeys, keptSecret, type Keys } from '../secrets/keys.js'
import { Activity } from '../session/activity.js'
import type { Events } from './events.js'

/** The database, its keys, the clock, and what is noted in memory and written later. */
export interface Store {
  clock: Clock
  database: Database
  prisma: PrismaClient
  keys: Keys
  counters: Counters
  activity: Activity
  failedAttempts: FailedAttempts
  gateways: GatewayAuthenticator
}

/**
 * Opens the database, and derives the keys.
 *
 * @throws ConfigError where that cannot work
 */
export async function openStore(config: Config, events: Events, clock: Clock): Promise<Store> {
  const database = await openDatabase(config, events)
  try {
    const { prisma } = database
    return {
      clock,
      database,
      prisma,
      keys: deriveKeys(config.authSecret ?? keptSecret(config.dataDir), config.authSecretPrevious),
      counters: new Counters(),
      activity: new Activity({
        db: prisma,
        idleTtlSeconds: config.sessionIdleTtlSeconds,
        now: clock.monotonic
      }),
      failedAttempts: new FailedAttempts({ prisma, now: clock.monotonic }),
      gateways: new GatewayAuthenticator({
        db: prisma,
        configured: parseGatewayClients(config.gatewayClients) ?? new Map(),
        ttlMs: config.cacheTtlSeconds * 1000,
        now: clock.monotonic
      })
    }
  } catch (error) {
    await database.close()
    throw error
  }
}

/**
 * Writes what was noted in memory. Faults are reported and not thrown, because the process is about
 * to end.
 */
export async function flushNotes(
  { activity, gateways, failedAttempts }: Store,
  { onError }: Events
): Promise<void> {
  await Promise.all([activity.flush(), gateways.flush()]).catch((error: unknown) =>
    onError('the notes of use could not be written', error)
  )
  await failedAttempts
    .flush()
    .catch((error: unknown) => onError('failed sign-ins could not be written', error))
}

/** Opens the store that the configuration names. */
export async function openDatabase(
  config: StoreConfig,
  { onWarning }: Pick<Events, 'onWarning'>
): Promise<Database> {
  if (config.databaseUrl === undefined) return openEmbedded(config.dataDir)
  return openPostgres({
    databaseUrl: config.databaseUrl,
    poolSize: config.databasePoolSize,
    connectTimeoutMs: config.databaseConnectTimeoutMs,
    preparedStatements: config.databasePreparedStatements,
    onError: (error) => onWarning('a database connection was lost, or could not be opened', error)
  })
}
