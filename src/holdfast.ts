import type { Config, StoreConfig } from './config.js'
import { ATTEMPTS_FLUSH_MS, FailedAttempts } from './account/failed-attempts.js'
import { Erasures } from './account/erasure.js'
import { hashesOfName, hashName } from './account/name-hash.js'
import { purgeAccountEvents } from './account/store.js'
import { Attempts } from './auth/attempts.js'
import { createAuth, type Auth } from './auth/auth.js'
import { accountKey, Devices } from './auth/device.js'
import { deriveKeys, keptSecret } from './secrets/keys.js'
import { reencryptSecondFactors } from './auth/reencrypt-second-factors.js'
import type { Database, PrismaClient } from './database/database.js'
import { openEmbedded } from './database/embedded.js'
import { openPostgres } from './database/postgres.js'
import { checkStore, prepareStore, untilPrepared } from './database/readiness.js'
import { StoreUnavailable } from './errors.js'
import { GatewayAuthenticator } from './gateway/authenticator.js'
import { parseGatewayClients } from './gateway/gateway.js'
import { startJob } from './jobs.js'
import type { Holdfast } from './public.js'
import { RecentAnswer } from './recent-answer.js'
import { RefusedOrigins } from './refused-origins.js'
import { openCaches, type Caches } from './check/check-path.js'
import { forgetCounts } from './redis/counts.js'
import { countUnconfirmed } from './session/outbox.js'
import type { Protections } from './cluster/protections.js'
import { Activity } from './session/activity.js'
import { SessionChecker } from './check/session-checker.js'
import { SessionNames } from './session/session-names.js'
import { RefreshGrant } from './token/refresh-grant.js'
import { TokenService } from './token/token-service.js'
import { purgeEnded } from './session/retention.js'
import { Revoker } from './revocation/revoker.js'
import { Thinning } from './revocation/thinning.js'
import { AccessTokens } from './token/access-token.js'
import { noCodec, type OpenCodec, type TokenParties } from './token/codec.js'
import { KEYS_POLL_MS, SigningKeys } from './token/signing-keys.js'
import { Counters, type Stats } from './counters.js'

/** How often notes of use are written, and ended sessions looked for, in milliseconds. */
const ACTIVITY_FLUSH_MS = 5_000
const RETENTION_MS = 3_600_000
/**
 * How often the outbox is read: the longest that a change can stay unknown where messages are lost.
 */
const OUTBOX_MS = 250
const FIRST_RETENTION_MS = 60_000
/**
 * How often erasures are looked for that were not finished, or are to be looked through once more.
 */
const ERASURES_MS = 30_000
/** How often what previous secrets have encrypted is looked for, where there are any. */
const PREVIOUS_SECRETS_MS = 60_000
const FIRST_PREVIOUS_SECRETS_MS = 500
/**
 * For how long the store's last sign of life answers for it, in milliseconds: anybody may ask for
 * one.
 */
const PING_MS = 500
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

export interface OpenOptions {
  /** Whether this process serves requests, or does one thing and ends. */
  serves?: boolean
  /** For the tests of the cache alone: steps of its protocol to leave out. */
  protections?: Protections | undefined
  /** How tokens are signed and verified; without it (the command line) none are. */
  openCodec?: OpenCodec
}

export type { Holdfast }

declare module './public.js' {
  /**
   * Holdfast without HTTP: the store, the reader, better-auth, and the jobs that look after them.
   */
  interface Holdfast {
    readonly config: Config
    readonly prisma: PrismaClient
    readonly revoker: Revoker
    readonly sessionNames: SessionNames
    readonly auth: Auth
    readonly tokens: TokenService
    readonly signingKeys: SigningKeys
    readonly accessTokens: AccessTokens
    readonly gateways: GatewayAuthenticator
    readonly devices: Devices
    readonly erasures: Erasures
    /**
     * Has `forget` told of counts of guesses that an erasure forgets, for counts in this process.
     */
    onCountsForgotten(forget: (counts: { account: string; userId: string }) => void): void
    /** Told how attempts to sign in have ended. */
    readonly attempts: Attempts
    /** The keyed hashes under which events may keep a name, one for each secret that counts. */
    readonly hashesOf: (name: string) => string[]
    /** Told of origins that were refused. */
    readonly refusedOrigins: RefusedOrigins
    /** Where the routes hang on BASE_URL: the prefix of the host application, or empty. */
    readonly prefix: string
    /** Whom access tokens are from and for. */
    readonly parties: TokenParties
    /** What this process has done, and what it holds. */
    readonly counters: Counters
    stats(): Stats
    /** Changes that are committed and not known everywhere yet. @throws StoreUnavailable */
    outboxDepth(): Promise<number>
    /**
     * The store's random id, under which its keys lie in a Redis that several stores may share;
     * null until the store has answered.
     */
    storeId(): string | null
    /**
     * Whether this process still wants requests; notes that somebody asked. `ready`, and not on the
     * way out.
     */
    accepting(): boolean
    /**
     * What the store said, half a second ago at most, when it was asked whether it has the schema
     * and takes writes. @throws StoreUnavailable
     */
    ping(): Promise<void>
    /** Has `step` called when this is closed, before the store is. */
    onClose(step: () => void): void
    close(): Promise<void>
  }

  interface SessionChecks extends SessionChecker {}
}

/**
 * Opens Holdfast on the embedded store, or on PostgreSQL where `databaseUrl` is set. When
 * PostgreSQL does not answer it starts all the same, and waits: until the store has been found fit,
 * `ready` is false.
 *
 * @throws ConfigError when the store answers and does not fit
 */
export async function openHoldfast(
  config: Config,
  prefix: string,
  events: Events,
  { serves = true, protections, openCodec = noCodec }: OpenOptions = {}
): Promise<Holdfast> {
  const database = await openDatabase(config, events)
  let caches: Caches | null = null
  try {
    const keys = deriveKeys(
      config.authSecret ?? keptSecret(config.dataDir),
      config.authSecretPrevious
    )
    const activity = new Activity({
      db: database.prisma,
      idleTtlSeconds: config.sessionIdleTtlSeconds,
      now: () => performance.now()
    })
    const counters = new Counters()
    const failedAttempts = new FailedAttempts({
      prisma: database.prisma,
      now: () => performance.now()
    })
    const opened = openCaches({
      config,
      keys: keys.all,
      database,
      serves,
      counters,
      protections,
      events: {
        onRedisLost: (error) =>
          events.onWarning('Redis does not answer: sessions are read from the store', error),
        onRedisBack: () => events.onWarning('Redis answers again', null),
        onWarning: (message) => events.onWarning(message, null)
      }
    })
    caches = opened
    const { cache, confirmation } = opened
    const parties = {
      issuer: config.baseUrl + prefix,
      audience: config.accessTokenAudience ?? config.baseUrl
    }
    const signingKeys = new SigningKeys({
      prisma: database.prisma,
      keys,
      openCodec,
      parties,
      now: () => performance.now(),
      onForgotten: () => accessTokens.forget()
    })
    const accessTokens: AccessTokens = new AccessTokens({
      keys: signingKeys,
      parties,
      ttlSeconds: config.accessTokenTtlSeconds,
      now: () => Date.now()
    })
    const reader = new SessionChecker({
      cache,
      secrets: keys.all.map(({ auth }) => auth),
      accessTokens,
      activity,
      counters
    })
    const thinning = new Thinning(database.prisma, confirmation)
    const revoker = new Revoker(database.prisma, confirmation, thinning)
    const forgetters = new Set<Parameters<Holdfast['onCountsForgotten']>[0]>()
    const erasures = new Erasures({
      prisma: database.prisma,
      hashesOf: (name) => hashesOfName(keys.all, name),
      accountKey,
      now: () => performance.now(),
      forgetCounts: async (counts) => {
        for (const forget of forgetters) forget(counts)
        if (opened.redis && storeId !== null) await forgetCounts(opened.redis, storeId, counts)
      }
    })
    const auth = await createAuth({
      config,
      prefix,
      keys,
      prisma: database.prisma,
      reader,
      revoker,
      confirmation,
      thinning,
      erasures,
      flushUses: () => activity.flush(),
      onMessage: (level, message, details) =>
        level === 'error' ? events.onError(message, details) : events.onDebug(message)
    })
    const grant = new RefreshGrant({
      prisma: database.prisma,
      peppers: keys.peppers,
      cache,
      confirmation,
      idleTtlSeconds: config.sessionIdleTtlSeconds,
      graceSeconds: config.refreshGraceSeconds
    })
    const tokens = new TokenService({
      prisma: database.prisma,
      grant,
      accessTokens,
      sessionTokens: reader,
      revoker,
      peppers: keys.peppers,
      counters
    })
    const gateways = new GatewayAuthenticator({
      db: database.prisma,
      configured: parseGatewayClients(config.gatewayClients) ?? new Map(),
      ttlMs: config.cacheTtlSeconds * 1000
    })
    const closing = new AbortController()
    let ready = false
    let storeId: string | null = null
    let draining = false
    let askedAt = -Infinity
    let onPrepared: (() => void) | undefined
    const prepared = new Promise<void>((resolve) => {
      onPrepared = resolve
    })
    const prepare = async () => {
      storeId = await prepareStore(database, keys)
      await signingKeys.open()
      await opened.join(storeId)
      ready = true
      onPrepared?.()
      await opened.tailOutbox().catch(() => {}) // the job below goes on trying
    }
    await opened.connected()
    await prepare().catch((error: unknown) => {
      if (!(error instanceof StoreUnavailable)) throw error
      events.onWarning('the store cannot be worked on yet: waiting', error.cause)
      untilPrepared(prepare, closing.signal).catch(events.onUnfit)
    })
    const jobs = [
      // An outage of either store: the next round tries again. A relay may wait for a lease to end;
      // the tail must not wait with it.
      startJob(
        OUTBOX_MS,
        async () => {
          if (ready) await opened.tailOutbox()
        },
        () => {}
      ),
      startJob(
        OUTBOX_MS,
        async () => {
          if (ready) await opened.relayOutbox()
        },
        () => {}
      ),
      startJob(
        2_000 * config.cacheTtlSeconds,
        async () => {
          if (ready) await opened.purgeOutbox()
        },
        (error) => events.onError('the outbox could not be cleaned', error)
      ),
      startJob(
        KEYS_POLL_MS,
        async () => {
          if (ready) await signingKeys.read()
        },
        (error) => events.onError('the signing keys could not be read', error)
      ),
      startJob(
        ACTIVITY_FLUSH_MS,
        () => activity.flush(),
        (error) => events.onError('the notes of use could not be written', error)
      ),
      startJob(
        ATTEMPTS_FLUSH_MS,
        () => failedAttempts.flush(),
        (error) =>
          events.onError(
            'failed sign-ins could not be written: they are kept and tried again',
            error
          )
      ),
      startJob(
        ACTIVITY_FLUSH_MS,
        () => gateways.flush(),
        (error) => events.onError('the notes of use of gateways could not be written', error)
      ),
      startJob(
        RETENTION_MS,
        async () => {
          await purgeEnded(database.prisma, config.sessionRetentionSeconds)
          await purgeAccountEvents(database.prisma, config.accountEventRetentionSeconds)
        },
        (error) => events.onError('ended sessions and old events could not be removed', error),
        FIRST_RETENTION_MS
      ),
      startJob(
        ERASURES_MS,
        async () => {
          if (ready) await erasures.resume()
        },
        (error) => events.onError('an erasure could not be finished', error)
      ),
      startJob(
        PREVIOUS_SECRETS_MS,
        async () => {
          if (ready && keys.all.length > 1) await reencryptSecondFactors(database.prisma, keys)
        },
        (error) => events.onError('second factors could not be encrypted anew', error),
        FIRST_PREVIOUS_SECRETS_MS
      )
    ]
    const ping = new RecentAnswer(PING_MS, () => checkStore(database))
    const holdfast: Holdfast = {
      config,
      prisma: database.prisma,
      reader,
      revoker,
      sessionNames: new SessionNames(database.prisma, confirmation),
      auth,
      tokens,
      signingKeys,
      accessTokens,
      gateways,
      prefix,
      parties,
      counters,
      stats: () => ({ ...opened.stats(), pool: database.pool() }),
      outboxDepth: () => countUnconfirmed(database.prisma),
      attempts: new Attempts({
        failed: failedAttempts,
        counters,
        hashName: (name) => hashName(keys.eventNames, name)
      }),
      hashesOf: (name) => hashesOfName(keys.all, name),
      refusedOrigins: new RefusedOrigins({
        now: () => performance.now(),
        onRefused: (message) => events.onWarning(message, null)
      }),
      erasures,
      onCountsForgotten: (forget) => {
        forgetters.add(forget)
      },
      devices: new Devices(keys.all.map(({ device }) => device)),
      ready: () => ready,
      prepared,
      storeId: () => storeId,
      accepting() {
        askedAt = performance.now()
        return ready && !draining
      },
      drain() {
        draining = true
        return { watched: performance.now() - askedAt < WATCHED_MS }
      },
      get draining() {
        return draining
      },
      ping: () => ping.ask(),
      onClose: (step) => {
        closing.signal.addEventListener('abort', step)
      },
      async close() {
        closing.abort()
        activity.stop()
        await Promise.all(jobs.map((job) => job.stop()))
        await opened.close()
        if (ready) {
          await Promise.all([activity.flush(), gateways.flush()]).catch((error: unknown) =>
            events.onError('the notes of use could not be written', error)
          )
          await failedAttempts
            .flush()
            .catch((error: unknown) =>
              events.onError('failed sign-ins could not be written', error)
            )
        }
        await database.close()
      }
    }
    return holdfast
  } catch (error) {
    await caches?.close()
    await database.close()
    throw error
  }
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
