import type { Server } from 'node:net'
import type { Config } from './config.js'
import { createAuth, type Auth } from './auth/auth.js'
import { Devices } from './auth/device.js'
import { deriveKeys, keptSecret } from './auth/keys.js'
import { listenForControl } from './control-socket.js'
import type { Database, PrismaClient } from './database/database.js'
import { openEmbedded } from './database/embedded.js'
import { openPostgres } from './database/postgres.js'
import { pendingMigrations } from './database/migrate.js'
import { prepareStore, untilPrepared } from './database/readiness.js'
import { StoreUnavailable } from './errors.js'
import { startJob } from './job.js'
import { operate } from './operator.js'
import { openCaches, type Caches } from './cache/cache.js'
import { countUnconfirmed } from './cache/outbox.js'
import type { Protections } from './cache/protections.js'
import { Activity } from './session/activity.js'
import { SessionReader } from './session/reader.js'
import { purgeEnded } from './session/retention.js'
import { Revoker } from './session/revoker.js'
import { Tally, type Stats } from './tally.js'

/** How often notes of use are written, and ended sessions looked for, in milliseconds. */
const ACTIVITY_FLUSH_MS = 5_000
const RETENTION_MS = 3_600_000
/** How often the outbox is read: the longest that a change can stay unknown where messages are lost. */
const OUTBOX_MS = 250
const FIRST_RETENTION_MS = 60_000
/** Whoever asked about readiness this lately is waiting for the next answer. */
const WATCHED_MS = 60_000

/** What happens outside any request; the caller logs it. */
export interface Events {
  onDebug: (message: string) => void
  onWarning: (message: string, details: unknown) => void
  onError: (message: string, error: unknown) => void
  /** The store cannot be worked on with this configuration: the process should end. */
  onUnfit: (error: Error) => void
}

/** Holdfast without HTTP: the store, the reader, better-auth, and the jobs that look after them. */
export interface Holdfast {
  readonly config: Config
  readonly prisma: PrismaClient
  readonly reader: SessionReader
  readonly revoker: Revoker
  readonly auth: Auth
  readonly devices: Devices
  /** Names the store, in a Redis that several may share. */
  readonly namespace: string
  /** What this process has done, and what it holds. */
  readonly tally: Tally
  stats(): Stats
  /** Changes that are committed and not known everywhere yet. @throws StoreUnavailable */
  outboxDepth(): Promise<number>
  /** Whether the store has been found fit; until then nothing is known about any session. */
  ready(): boolean
  /** Whether this process still wants requests; notes that somebody asked. `ready`, and not on the way out. */
  accepting(): boolean
  /** From now on this process does not want requests, and serves those that come. `watched`: somebody has lately asked whether it does. */
  drain(): { watched: boolean }
  readonly draining: boolean
  /** Asks the store for a sign of life, and for a schema that is not behind. @throws StoreUnavailable */
  ping(): Promise<void>
  close(): Promise<void>
}

/**
 * Opens Holdfast on the embedded store, or on PostgreSQL where `databaseUrl` is set. When PostgreSQL does not answer it starts all
 * the same, and waits: until the store has been found fit, `ready` is false.
 *
 * @throws ConfigError when the store answers and does not fit
 */
export async function openHoldfast(config: Config, prefix: string, events: Events, protections?: Protections): Promise<Holdfast> {
  const database = await openDatabase(config, events)
  let caches: Caches | null = null
  try {
    const keys = deriveKeys(config.authSecret ?? keptSecret(config.dataDir))
    const activity = new Activity({ db: database.prisma, idleTtlSeconds: config.sessionIdleTtlSeconds, now: () => performance.now() })
    const tally = new Tally()
    const namespace = keys.check.slice(0, 12)
    const opened = openCaches(config, database, namespace, {
      onRedisLost: (error) => events.onWarning('Redis does not answer: sessions are read from the store', error),
      onRedisBack: () => events.onWarning('Redis answers again', null)
    }, tally, protections)
    caches = opened
    const { cache, confirmation } = opened
    const reader = new SessionReader({ cache, secret: keys.auth, activity, tally })
    const revoker = new Revoker(database.prisma, confirmation)
    const auth = createAuth({
      config, prefix, keys, prisma: database.prisma, reader, revoker, confirmation,
      onMessage: (level, message, details) => (level === 'error' ? events.onError(message, details) : events.onDebug(message))
    })
    const closing = new AbortController()
    let ready = false
    let draining = false
    let askedAt = -Infinity
    const prepare = async () => {
      await prepareStore(database, keys.check)
      ready = true
    }
    await opened.connected()
    await prepare().catch((error: unknown) => {
      if (!(error instanceof StoreUnavailable)) throw error
      events.onWarning('the database does not answer: waiting for it', error.cause)
      untilPrepared(prepare, closing.signal).catch(events.onUnfit)
    })
    const jobs = [
      // An outage of either store: the next round tries again. A relay may wait for a lease to end; the tail must not wait with it.
      startJob(OUTBOX_MS, async () => { if (ready) await opened.tailOutbox() }, () => {}),
      startJob(OUTBOX_MS, async () => { if (ready) await opened.relayOutbox() }, () => {}),
      startJob(2_000 * config.cacheTtlSeconds, async () => { if (ready) await opened.purgeOutbox() }, (error) => events.onError('the outbox could not be cleaned', error)),
      startJob(ACTIVITY_FLUSH_MS, () => activity.flush(), (error) => events.onError('the notes of use could not be written', error)),
      startJob(RETENTION_MS, () => purgeEnded(database.prisma, config.sessionRetentionSeconds), (error) => events.onError('ended sessions could not be removed', error), FIRST_RETENTION_MS)
    ]
    const holdfast: Holdfast = {
      config, prisma: database.prisma, reader, revoker, auth, namespace, tally,
      stats: () => ({ ...opened.stats(), pool: database.pool() }),
      outboxDepth: () => countUnconfirmed(database.prisma),
      devices: new Devices(keys.device),
      ready: () => ready,
      accepting() {
        askedAt = performance.now()
        return ready && !draining
      },
      drain() {
        draining = true
        return { watched: performance.now() - askedAt < WATCHED_MS }
      },
      get draining() { return draining },
      async ping() {
        const pending = await pendingMigrations(database)
        if (pending.length > 0) throw new StoreUnavailable(new Error(`the database schema is behind (${pending.join(', ')})`))
      },
      async close() {
        closing.abort()
        control?.close()
        await Promise.all(jobs.map((job) => job.stop()))
        await opened.close()
        if (ready) await activity.flush().catch((error: unknown) => events.onError('the notes of use could not be written', error))
        await database.close()
      }
    }
    const control = database.kind === 'embedded' ? await openControl(holdfast, events) : null
    return holdfast
  } catch (error) {
    await caches?.close()
    await database.close()
    throw error
  }
}

// A path that is too long for a socket costs the command line, not the start.
async function openControl(holdfast: Holdfast, events: Events): Promise<Server | null> {
  try {
    return await listenForControl(holdfast.config.dataDir, (request) => operate(holdfast, request))
  } catch (error) {
    events.onWarning('the command line cannot reach this server: no socket could be made in DATA_DIR', error)
    return null
  }
}

/** Opens the store that the configuration names. */
export async function openDatabase(config: Config, { onWarning }: Pick<Events, 'onWarning'>): Promise<Database> {
  if (config.databaseUrl === undefined) return openEmbedded(config.dataDir)
  return openPostgres({
    databaseUrl: config.databaseUrl,
    poolSize: config.databasePoolSize,
    onError: (error) => onWarning('a database connection was lost', error)
  })
}
