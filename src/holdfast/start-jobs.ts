import { ATTEMPTS_FLUSH_MS } from '../account/failed-attempts.js'
import { purgeAccountEvents } from '../account/store.js'
import { reencryptSecondFactors } from '../auth/reencrypt-second-factors.js'
import type { Config } from '../config.js'
import { startJob } from '../jobs.js'
import { purgeProofs } from '../mail/proofs.js'
import { purgeMails } from '../mail/queue.js'
import { purgeEnded } from '../session/retention.js'
import { KEYS_POLL_MS } from '../token/signing-keys.js'
import type { Events } from './events.js'
import type { Lifecycle } from './lifecycle.js'
import type { Checks } from './open-checks.js'
import { MAILS_MS, type Mail } from './open-mail.js'
import type { Store } from './open-store.js'

/** How often notes of use are written, in milliseconds. */
const ACTIVITY_FLUSH_MS = 5_000
const RETENTION_MS = 3_600_000
const FIRST_RETENTION_MS = 60_000
/**
 * How often the outbox is read, in milliseconds. This bounds how long a change stays unknown when
 * messages are lost.
 */
const OUTBOX_MS = 250
/** How often unfinished erasures are resumed, and finished ones are checked once more. */
const ERASURES_MS = 30_000
/** How often rows that a previous secret has encrypted are looked for. */
const PREVIOUS_SECRETS_MS = 60_000
const FIRST_PREVIOUS_SECRETS_MS = 500

interface JobContext {
  mail: Mail | null
  config: Config
  events: Events
  lifecycle: Lifecycle
}

/** A job: how often it runs, and the message where it fails. */
interface Duty {
  everyMs: number
  firstMs?: number
  run: () => Promise<unknown>
  /** Absent where an outage explains the failure, and the next round tries again. */
  failure?: string
  /** Runs only once the store has been found compatible. */
  whenReady?: true
}

/**
 * Starts all periodic jobs.
 *
 * @returns how to stop them
 */
export function startJobs(
  store: Store,
  checks: Checks,
  { mail, config, events, lifecycle }: JobContext
): () => Promise<void> {
  const jobs = [
    ...storeDuties(store, config),
    ...checkDuties(store, checks, config),
    ...mailDuties(mail)
  ].map((duty) =>
    startJob(
      duty.everyMs,
      async () => {
        if (!duty.whenReady || lifecycle.isReady) await duty.run()
      },
      (error) => {
        if (duty.failure !== undefined) events.onError(duty.failure, error)
      },
      duty.firstMs
    )
  )
  return async () => {
    await Promise.all(jobs.map((job) => job.stop()))
  }
}

function storeDuties(
  { prisma, activity, failedAttempts, gateways, clock }: Store,
  config: Config
): Duty[] {
  return [
    {
      everyMs: ACTIVITY_FLUSH_MS,
      run: () => activity.flush(),
      failure: 'the notes of use could not be written'
    },
    {
      everyMs: ATTEMPTS_FLUSH_MS,
      run: () => failedAttempts.flush(),
      failure: 'failed sign-ins could not be written: they are kept and tried again'
    },
    {
      everyMs: ACTIVITY_FLUSH_MS,
      run: () => gateways.flush(),
      failure: 'the notes of use of gateways could not be written'
    },
    {
      everyMs: RETENTION_MS,
      firstMs: FIRST_RETENTION_MS,
      run: async () => {
        await purgeEnded(prisma, config.sessionRetentionSeconds, { now: clock.monotonic })
        await purgeAccountEvents(prisma, config.accountEventRetentionSeconds, clock.monotonic)
        await purgeMails(prisma, clock.monotonic)
        await purgeProofs(prisma, clock.monotonic)
      },
      failure: 'ended sessions, old events and mails could not be removed'
    }
  ]
}

function mailDuties(mail: Mail | null): Duty[] {
  const worker = mail?.worker
  return worker ? [{ everyMs: MAILS_MS, whenReady: true, run: () => worker.run() }] : []
}

function checkDuties(
  { prisma, keys }: Store,
  { caches, signingKeys, erasures }: Checks,
  config: Config
): Duty[] {
  return [
    // A relay may wait for a lease to end. The tail runs separately so that it does not wait with
    // it.
    { everyMs: OUTBOX_MS, whenReady: true, run: () => caches.tailOutbox() },
    { everyMs: OUTBOX_MS, whenReady: true, run: () => caches.relayOutbox() },
    {
      everyMs: 2_000 * config.cacheTtlSeconds,
      whenReady: true,
      run: () => caches.purgeOutbox(),
      failure: 'the outbox could not be cleaned'
    },
    {
      everyMs: KEYS_POLL_MS,
      whenReady: true,
      run: () => signingKeys.read(),
      failure: 'the signing keys could not be read'
    },
    {
      everyMs: ERASURES_MS,
      whenReady: true,
      run: () => erasures.resume(),
      failure: 'an erasure could not be finished'
    },
    {
      everyMs: PREVIOUS_SECRETS_MS,
      firstMs: FIRST_PREVIOUS_SECRETS_MS,
      whenReady: true,
      run: async () => {
        if (keys.all.length > 1) await reencryptSecondFactors(prisma, keys)
      },
      failure: 'second factors could not be encrypted anew'
    }
  ]
}
