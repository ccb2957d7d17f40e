import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.js'
import type { Database } from '../database/database.js'
import { Confirmation } from './confirmation.js'
import { LocalCache } from './local-cache.js'
import { NodeLease } from './node-lease.js'
import { purgeOutbox } from './outbox.js'
import { allProtections, type Protections } from './protections.js'
import { connectRedis, type RedisConnection } from './redis.js'
import { SessionCache, type Authority } from './session-cache.js'
import { SharedCache } from './shared-cache.js'
import type { Stats, Tally } from '../tally.js'

/** Sessions that one process keeps, and what they may weigh. */
const LOCAL_ENTRIES = 100_000
const LOCAL_BYTES = 128 * 1024 * 1024

/** How long a start waits for Redis: a command of the command line should find it, an outage must not hold a server up. */
const CONNECT_WAIT_MS = 1_000

/** The session cache of one process, with what keeps it true. */
export interface Caches {
  readonly cache: SessionCache
  readonly confirmation: Confirmation
  stats(): Omit<Stats, 'pool'>
  /** Applies what others committed, and confirms what they could not: each to be called every quarter of a second, neither to wait for the other. */
  tailOutbox(): Promise<void>
  relayOutbox(): Promise<void>
  purgeOutbox(): Promise<void>
  /** Resolves when Redis answers, or a second has passed. */
  connected(): Promise<void>
  close(): Promise<void>
}

export interface CacheEvents {
  onRedisLost: (error: Error) => void
  onRedisBack: () => void
}

/** The only process on a store needs no lease: nobody else changes anything. */
const sole: Authority = { held: () => true, epoch: 0, stamp: '' }
/** Without Redis nobody tells this process what others revoke: every check asks the store. */
const none: Authority = { held: () => false, epoch: 0, stamp: '' }

/** Opens the caches that the configuration allows: local and shared with Redis, local alone on an embedded store, else none. */
export function openCaches(config: Config, database: Database, namespace: string, events: CacheEvents, tally: Tally, protections: Protections = allProtections): Caches {
  const db = database.prisma
  const ttlMs = config.cacheTtlSeconds * 1000
  const embedded = database.kind === 'embedded'
  const connected = !embedded && config.redisUrl !== undefined ? connect(config.redisUrl, events) : null
  const shared = connected ? new SharedCache(connected.redis, namespace, protections) : null
  const local = config.localCache && (embedded || connected) ? new LocalCache({ maxEntries: LOCAL_ENTRIES, maxBytes: LOCAL_BYTES }) : null
  const lease: NodeLease | null = connected
    ? new NodeLease({
        ...connected, namespace, leaseMs: config.nodeLeaseMs, protections,
        onInvalidation: (changes) => cache.invalidate(changes),
        onNewEpoch: () => cache.clear()
      })
    : null
  const cache = new SessionCache({
    db, local, shared, ttlMs, protections, tally,
    authority: lease ?? (embedded ? sole : none)
  })
  const confirmation = new Confirmation({ db, cache, shared, lease, ttlMs, tally })
  lease?.start()
  return {
    cache,
    confirmation,
    stats: () => ({ local: local && { entries: local.size, bytes: local.bytes }, leaseHeld: lease ? lease.held() : null }),
    async tailOutbox() { if (local || shared) await confirmation.tail() },
    async relayOutbox() { if (lease) await confirmation.relay() },
    async connected() { if (connected) await Promise.race([isReady(connected.redis), sleep(CONNECT_WAIT_MS, undefined, { ref: false })]) },
    purgeOutbox: () => purgeOutbox(db, 2 * ttlMs, { confirmed: lease !== null }),
    async close() {
      await lease?.stop()
      connected?.redis.disconnect()
      connected?.subscriber.disconnect()
    }
  }
}

// Not events.once: it would reject with the first error, and a server starts without Redis.
async function isReady(redis: RedisConnection): Promise<void> {
  if (redis.status !== 'ready') await new Promise<void>((resolve) => { redis.once('ready', () => resolve()) })
}

function connect(url: string, { onRedisLost, onRedisBack }: CacheEvents): { redis: RedisConnection, subscriber: RedisConnection } {
  const redis = connectRedis(url, { enableAutoPipelining: true })
  const subscriber = connectRedis(url, { autoResubscribe: false })
  let lost = false
  for (const connection of [redis, subscriber]) {
    connection.on('error', (error: Error) => {
      if (!lost) onRedisLost(error)
      lost = true
    })
    connection.on('ready', () => {
      if (lost) onRedisBack()
      lost = false
    })
  }
  return { redis, subscriber }
}
