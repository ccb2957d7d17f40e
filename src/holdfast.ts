import type { Attempts } from './auth/attempts.js'
import type { Auth } from './auth/auth.js'
import type { Devices } from './auth/device.js'
import type { Erasures } from './account/erasure.js'
import { hashesOfName } from './account/name-hash.js'
import type { SessionChecker } from './check/session-checker.js'
import type { Config } from './config.js'
import type { Counters, Stats } from './counters.js'
import type { PrismaClient } from './database/database.js'
import { checkStore, prepareStore, untilPrepared } from './database/readiness.js'
import { StoreUnavailable } from './errors.js'
import type { GatewayAuthenticator } from './gateway/authenticator.js'
import type { Events } from './holdfast/events.js'
import { Lifecycle } from './holdfast/lifecycle.js'
import { openAuth } from './holdfast/open-auth.js'
import { openChecks, type Checks, type ForgottenCounts } from './holdfast/open-checks.js'
import { flushNotes, openStore, type Store } from './holdfast/open-store.js'
import { startJobs } from './holdfast/start-jobs.js'
import type { Holdfast } from './public.js'
import { RecentAnswer } from './recent-answer.js'
import type { RefusedOrigins } from './refused-origins.js'
import type { Revoker } from './revocation/revoker.js'
import { countUnconfirmed } from './session/outbox.js'
import type { SessionNames } from './session/session-names.js'
import type { AccessTokens } from './token/access-token.js'
import type { TokenParties } from './token/codec.js'
import type { SigningKeys } from './token/signing-keys.js'
import type { TokenService } from './token/token-service.js'

/** For how long one answer of the store about its health serves everybody, in milliseconds. */
const PING_MS = 500

export interface OpenOptions {
  /** Whether this process serves requests, or does one thing and ends. */
  serves?: boolean
}

export type { Events, Holdfast }

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
  { serves = true }: OpenOptions = {}
): Promise<Holdfast> {
  const lifecycle = new Lifecycle(() => performance.now())
  const store = await openStore(config, events)
  let checks: Checks | null = null
  try {
    checks = openChecks(store, { config, prefix, events, lifecycle, serves })
    const signIn = await openAuth(store, checks, { config, prefix, events })
    await prepare(store, checks, lifecycle, events)
    const stopJobs = startJobs(store, checks, { config, events, lifecycle })
    const close = closing({ store, checks, lifecycle, events, stopJobs })
    return Object.assign(describe(store, checks, lifecycle), { config, prefix, ...signIn, close })
  } catch (error) {
    await checks?.caches.close()
    await store.database.close()
    throw error
  }
}

/** Makes the store fit, and joins the other nodes; goes on trying while the store is away. */
async function prepare(
  { database, keys }: Store,
  { caches, signingKeys }: Checks,
  lifecycle: Lifecycle,
  events: Events
): Promise<void> {
  const attempt = async () => {
    lifecycle.storeId = await prepareStore(database, keys)
    await signingKeys.open()
    await caches.join(lifecycle.storeId)
    lifecycle.becomeReady()
    await caches.tailOutbox().catch(() => {}) // the job goes on trying
  }
  await caches.connected()
  await attempt().catch((error: unknown) => {
    if (!(error instanceof StoreUnavailable)) throw error
    events.onWarning('the store cannot be worked on yet: waiting', error.cause)
    untilPrepared(attempt, lifecycle.closing).catch(events.onUnfit)
  })
}

interface Open {
  store: Store
  checks: Checks
  lifecycle: Lifecycle
  events: Events
  stopJobs: () => Promise<void>
}

/** How to end: jobs first, then caches, then what is still to be written, then the store. */
function closing({ store, checks, lifecycle, events, stopJobs }: Open): () => Promise<void> {
  return async () => {
    lifecycle.close()
    store.activity.stop()
    await stopJobs()
    await checks.caches.close()
    if (lifecycle.isReady) await flushNotes(store, events)
    await store.database.close()
  }
}

function describe(
  { database, prisma, keys, counters, gateways }: Store,
  { caches, forgetters, parties, signingKeys, accessTokens, reader, revoker, erasures }: Checks,
  lifecycle: Lifecycle
) {
  const ping = new RecentAnswer(PING_MS, () => checkStore(database))
  return {
    prisma,
    counters,
    gateways,
    parties,
    signingKeys,
    accessTokens,
    reader,
    revoker,
    erasures,
    stats: () => ({ ...caches.stats(), pool: database.pool() }),
    outboxDepth: () => countUnconfirmed(prisma),
    hashesOf: (name: string) => hashesOfName(keys.all, name),
    onCountsForgotten: (forget: (counts: ForgottenCounts) => void) => {
      forgetters.add(forget)
    },
    ready: () => lifecycle.isReady,
    prepared: lifecycle.prepared,
    storeId: () => lifecycle.storeId,
    accepting: () => lifecycle.isAccepting(),
    drain: () => lifecycle.drain(),
    get draining() {
      return lifecycle.isDraining
    },
    ping: () => ping.ask(),
    onClose: (step: () => void) => {
      lifecycle.closing.addEventListener('abort', step)
    }
  }
}
