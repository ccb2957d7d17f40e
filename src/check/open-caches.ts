import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.js'
import type { SecretKeys } from '../secrets/keys.js'
import type { Config } from '../config.js'
import type { Database } from '../database/database.js'
import { Breaker } from '../redis/breaker.js'
import { Confirmation } from '../revocation/confirmation.js'
import { CopyMac } from '../cache/copy-mac.js'
import { DatabaseClock } from '../cluster/database-clock.js'
import { LocalCache } from '../cache/local-cache.js'
import { NodeLease } from '../cluster/node-lease.js'
import { purgeOutbox } from '../session/outbox.js'
import { isAnyCaching, NodeMembership, type NodeMode } from '../cluster/node-registry.js'
import { connectRedis, type RedisConnection } from '../redis/redis.js'
import { RedisRefusals } from '../redis/redis-refusals.js'
import { SessionCache, type CacheLease } from '../cache/session-cache.js'
import { SharedCache } from '../cache/shared-cache.js'
import type { Stats, Counters } from '../counters.js'

/** Limits of the local cache of one process: sessions and bytes. */
const LOCAL_ENTRIES = 100_000
const LOCAL_BYTES = 128 * 1024 * 1024

/**
 * How long a start waits for Redis. A command of the command line should find it, but a Redis
 * outage must not hold a server up.
 */
const CONNECT_WAIT_MS = 1_000

/** The session cache of one process, with the jobs that keep it correct. */
export interface Caches {
  readonly cache: SessionCache
  readonly confirmation: Confirmation
  /** Null without REDIS_URL. */
  readonly redis: RedisConnection | null
  /**
   * Registers this node among those that work on the store. May be called again after it failed.
   *
   * @throws ConfigError when an active node is incompatible with this one
   * @throws StoreUnavailable when the store does not answer
   */
  join(storeId: string): Promise<void>
  stats(): Omit<Stats, 'pool'>
  /**
   * `tailOutbox` applies what other nodes committed. `relayOutbox` confirms what they could not
   * confirm. Call each every quarter of a second, and do not let one wait for the other.
   */
  tailOutbox(): Promise<void>
  relayOutbox(): Promise<void>
  purgeOutbox(): Promise<void>
  /** Resolves when Redis answers, or after a second. */
  connected(): Promise<void>
  close(): Promise<void>
}

export interface CacheEvents {
  onRedisLost: (error: Error) => void
  onRedisBack: () => void
  onWarning: (message: string) => void
}

export interface CacheOptions {
  config: Config
  /** Keys of every known secret, the current one first. They authenticate what is kept in Redis. */
  keys: readonly [SecretKeys, ...SecretKeys[]]
  database: Database
  events: CacheEvents
  /**
   * Whether this process serves requests. The command line does not: without Redis it leaves the
   * confirmation to the servers.
   */
  serves: boolean
  counters: Counters
  clock: Clock
}

/**
 * The lease of the only process on an embedded store. That process has locked the store's
 * directory, so no other process changes anything.
 */
const alone: CacheLease = { isHeld: () => true, epoch: 0, stamp: '' }

/**
 * Opens the caches that the configuration allows: local and shared with Redis, or local only for
 * the single node of a store.
 */
export function openCaches({
  config,
  keys,
  database,
  events,
  serves,
  counters,
  clock
}: CacheOptions): Caches {
  const db = database.prisma
  const ttlMs = config.cacheTtlSeconds * 1000
  const embedded = database.kind === 'embedded'
  const refusals = new RedisRefusals(events.onWarning)
  const connected =
    !embedded && config.redisUrl !== undefined
      ? connect(config.redisUrl, config.redisCaFile, events, refusals)
      : null
  const mode: NodeMode = connected ? 'shared' : config.localCache ? 'sole' : 'uncached'
  const breaker = new Breaker(clock.monotonic)
  const databaseClock = new DatabaseClock(clock)
  const shared = connected ? new SharedCache(connected.redis, breaker, new CopyMac(keys)) : null
  const hasLocal = config.localCache && (embedded || connected || serves)
  const local = hasLocal
    ? new LocalCache({ maxEntries: LOCAL_ENTRIES, maxBytes: LOCAL_BYTES })
    : null
  const onNewEpoch = () => cache.clear()
  const lease = connected
    ? new NodeLease({
        ...connected,
        breaker,
        leaseMs: config.nodeLeaseMs,
        onInvalidation: (changes) => cache.invalidate(changes),
        onNewEpoch,
        onRefused: (error) => refusals.note(error),
        onGranted: () => refusals.clear(),
        clock
      })
    : null
  const registration =
    embedded || !(connected || serves)
      ? null
      : new NodeMembership({
          prisma: db,
          node: lease?.node ?? randomUUID(),
          mode,
          leaseMs: config.nodeLeaseMs,
          cacheTtlSeconds: config.cacheTtlSeconds,
          history: () => lease?.history ?? null,
          onNewEpoch,
          onWarning: events.onWarning,
          clock
        })
  const mayConfirm = async () =>
    registration ? registration.isHeld() : embedded || !(await isAnyCaching(db))
  const cacheLease: CacheLease = embedded
    ? alone
    : lease && registration
      ? both(lease, registration, () => confirmation.caughtUp)
      : (registration ?? { ...alone, isHeld: () => false })
  const cache: SessionCache = new SessionCache({
    db,
    local,
    shared,
    ttlMs,
    cacheLease,
    counters,
    clock,
    databaseClock,
    onWarning: events.onWarning
  })
  const confirmation: Confirmation = new Confirmation({
    db,
    cache,
    shared,
    lease,
    ttlMs,
    mayConfirm,
    alone: embedded,
    counters,
    clock,
    databaseClock
  })
  let started = false
  return {
    cache,
    confirmation,
    redis: connected?.redis ?? null,
    stats: () => ({
      local: local && { entries: local.size, bytes: local.bytes },
      leaseHeld: local || shared ? cacheLease.isHeld() : null,
      breaker: connected ? breaker.state : null
    }),
    async join(storeId) {
      await registration?.start()
      if (!shared || !lease || !registration) return
      shared.namespace = storeId
      if (!started) lease.start(storeId)
      started = true
      if (connected?.redis.status === 'ready') await untilHeld(lease, clock)
      await registration.compare()
    },
    async tailOutbox() {
      if (local || shared) await confirmation.tail()
    },
    async relayOutbox() {
      if (registration?.isHeld()) await confirmation.relay()
    },
    async connected() {
      if (connected)
        await Promise.race([
          isReady(connected.redis),
          sleep(CONNECT_WAIT_MS, undefined, { ref: false })
        ])
    },
    purgeOutbox: () => purgeOutbox(db, 2 * ttlMs, clock.monotonic, { confirmed: !embedded }),
    async close() {
      await lease?.stop()
      await registration?.stop()
      connected?.redis.disconnect()
      connected?.subscriber.disconnect()
    }
  }
}

/**
 * The cache lease with Redis. It is held while this node receives every change, while its row
 * agrees with the other nodes, and once it has applied what was committed before.
 */
function both(lease: NodeLease, registration: NodeMembership, caughtUp: () => boolean): CacheLease {
  return {
    isHeld: (now) => lease.isHeld(now) && registration.isHeld(now) && caughtUp(),
    get epoch() {
      return lease.epoch + registration.epoch
    },
    get stamp() {
      return lease.stamp
    }
  }
}

async function untilHeld(lease: NodeLease, { monotonic }: Clock): Promise<void> {
  const deadline = monotonic() + CONNECT_WAIT_MS
  while (!lease.isHeld() && monotonic() < deadline) await sleep(5)
}

// Not events.once: it would reject with the first error, and a server starts without Redis.
async function isReady(redis: RedisConnection): Promise<void> {
  if (redis.status !== 'ready')
    await new Promise<void>((resolve) => {
      redis.once('ready', () => resolve())
    })
}

function connect(
  url: string,
  caFile: string | undefined,
  { onRedisLost, onRedisBack }: Pick<CacheEvents, 'onRedisLost' | 'onRedisBack'>,
  refusals: RedisRefusals
): { redis: RedisConnection; subscriber: RedisConnection } {
  const onLeave = (error: Error) => refusals.note(error)
  const redis = connectRedis(url, {
    caFile,
    onLeave,
    enableAutoPipelining: true,
    autoPipeliningIgnoredCommands: ['hfRead', 'hfFill']
  })
  const subscriber = connectRedis(url, { caFile, onLeave, autoResubscribe: false })
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
