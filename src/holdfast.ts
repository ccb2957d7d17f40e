import type { Attempts } from './auth/attempts.js'
import type { Auth } from './auth/auth.js'
import type { Devices } from './auth/device.js'
import type { Erasures } from './account/erasure.js'
import { hashNameWithEach } from './account/name-hash.js'
import type { Caches } from './check/open-caches.js'
import type { SessionChecker } from './check/session-checker.js'
import { systemClock, type Clock } from './clock.js'
import type { Config } from './config.js'
import type { Counters, Stats } from './counters.js'
import type { PrismaClient } from './database/database.js'
import { checkStore, prepareStore, untilPrepared } from './database/readiness.js'
import { StoreUnavailable } from './errors.js'
import type { GatewayAuthenticator } from './gateway/authenticator.js'
import type { Events } from './holdfast/events.js'
import { Lifecycle } from './holdfast/lifecycle.js'
import { openAuth } from './holdfast/open-auth.js'
import {
  openChecks,
  openSessionCaches,
  type Checks,
  type ForgottenCounts
} from './holdfast/open-checks.js'
import { openMail, type Mail } from './holdfast/open-mail.js'
import { flushNotes, openStore, type Store } from './holdfast/open-store.js'
import { startJobs } from './holdfast/start-jobs.js'
import { readBacklog, type MailBacklog } from './mail/queue.js'
import type { SendMail } from './mail/mail.js'
import type { Holdfast } from './public.js'
import { RecentAnswer } from './recent-answer.js'
import type { RefusedOrigins } from './refused-origins.js'
import type { Revoker } from './revocation/revoker.js'
import { seal, unseal } from './secrets/seal.js'
import { countUnconfirmed } from './session/outbox.js'
import type { SessionNames } from './session/session-names.js'
import type { AccessTokens } from './token/access-token.js'
import type { TokenParties } from './token/codec.js'
import type { SigningKeys } from './token/signing-keys.js'
import type { TokenService } from './token/token-service.js'

/** For how long one health answer of the store serves all requests, in milliseconds. */
const PING_MS = 500

/** The purpose of what a page keeps in a cookie. */
const PAGE_COOKIE = 'page cookie'

export interface OpenOptions {
  /** Whether this process serves requests, or does one thing and ends. */
  serves?: boolean
  clock?: Clock
  /** Sends mails in place of SMTP: an option of the plugin. */
  sendMail?: SendMail | undefined
}

export type { Events, Holdfast }

declare module './public.js' {
  /** Holdfast without HTTP: the store, the checks, better-auth, and the background jobs. */
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
     * Calls `forget` with the counters of failed attempts that an erasure deletes, for those kept
     * in this process.
     */
    onCountsForgotten(forget: (counts: { account: string; userId: string }) => void): void
    /** Notes how attempts to sign in ended. */
    readonly attempts: Attempts
    /** The keyed hashes under which events may keep a name: one for each configured secret. */
    readonly hashesOf: (name: string) => string[]
    /** The keys of the pages, for forms and return addresses: one for each configured secret. */
    readonly pageKeys: readonly Buffer[]
    /** Encrypts what a page keeps in a cookie, and decrypts it: null for anything else. */
    readonly pageSeal: { seal(text: string): string; unseal(sealed: string): string | null }
    /** Notes refused origins. */
    readonly refusedOrigins: RefusedOrigins
    /** The path prefix of the routes in BASE_URL: that of the host application, or empty. */
    readonly prefix: string
    /** The issuer and audience of access tokens. */
    readonly parties: TokenParties
    /** The counters of this process, and its caches. */
    readonly counters: Counters
    stats(): Stats
    /**
     * Counts changes that are committed and not confirmed yet.
     *
     * @throws StoreUnavailable when the store does not answer
     */
    outboxDepth(): Promise<number>
    /** Null where mail is off. */
    readonly mail: Mail | null
    /**
     * Counts the mails that are still to be sent.
     *
     * @throws StoreUnavailable when the store does not answer
     */
    mailBacklog(): Promise<MailBacklog>
    /**
     * The store's random id, which names its keys in a Redis that several stores may share. Null
     * until the store has answered.
     */
    storeId(): string | null
    /**
     * Whether this process accepts requests: it is ready and not closing. Notes that readiness was
     * asked for.
     */
    accepting(): boolean
    /**
     * Whether the store has the schema and takes writes; the answer is at most half a second old.
     *
     * @throws StoreUnavailable when the store does not answer
     */
    ping(): Promise<void>
    /** Calls `step` on close, before the store is closed. */
    onClose(step: () => void): void
    close(): Promise<void>
  }

  interface SessionChecks extends SessionChecker {}
}

/**
 * Opens Holdfast on the embedded store, or on PostgreSQL where `databaseUrl` is set. It also starts
 * while PostgreSQL does not answer, and waits: `ready` is false until the store has been found
 * compatible.
 *
 * @throws ConfigError when the store answers and is not compatible
 */
export async function openHoldfast(
  config: Config,
  prefix: string,
  events: Events,
  { serves = true, clock = systemClock, sendMail }: OpenOptions = {}
): Promise<Holdfast> {
  const lifecycle = new Lifecycle(clock.monotonic)
  const store = await openStore(config, events, clock)
  let caches: Caches | null = null
  try {
    caches = openSessionCaches(store, { config, events, serves })
    const checks = openChecks(store, caches, { config, prefix, lifecycle })
    const mail = openMail(store, { config, prefix, events, serves, sendMail })
    const signIn = await openAuth(store, checks, { config, prefix, events, mail })
    await prepare(store, checks, lifecycle, events)
    const stopJobs = startJobs(store, checks, { mail, config, events, lifecycle })
    const close = closing({ store, checks, mail, lifecycle, events, stopJobs })
    return Object.assign(describe(store, checks, lifecycle), {
      config,
      prefix,
      mail,
      ...signIn,
      close
    })
  } catch (error) {
    await caches?.close()
    await store.database.close()
    throw error
  }
}

/** Prepares the store and joins the other nodes. Tries again while the store does not answer. */
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
    await caches.tailOutbox().catch(() => {}) // the job tries again
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
  mail: Mail | null
  lifecycle: Lifecycle
  events: Events
  stopJobs: () => Promise<void>
}

/** Closes in order: jobs, caches, mails, pending writes, the store. */
function closing({ store, checks, mail, lifecycle, events, stopJobs }: Open): () => Promise<void> {
  return async () => {
    lifecycle.close()
    store.activity.stop()
    // A mail that takes its time must not keep the lease, for which revocations wait.
    const mailClosed = mail?.close()
    await stopJobs()
    await checks.caches.close()
    await mailClosed
    if (lifecycle.isReady) await flushNotes(store, events)
    await store.database.close()
  }
}

function describe(
  { database, prisma, keys, counters, gateways, clock }: Store,
  { caches, forgetters, parties, signingKeys, accessTokens, reader, revoker, erasures }: Checks,
  lifecycle: Lifecycle
) {
  const ping = new RecentAnswer(PING_MS, () => checkStore(database), clock.monotonic)
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
    mailBacklog: () => readBacklog(prisma),
    hashesOf: (name: string) => hashNameWithEach(keys.all, name),
    pageKeys: keys.all.map(({ pages }) => pages),
    pageSeal: {
      seal: (text: string) => seal(keys, text, PAGE_COOKIE),
      unseal: (sealed: string) => unseal(keys, sealed, PAGE_COOKIE)
    },
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
