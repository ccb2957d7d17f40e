import { AsyncLocalStorage } from 'node:async_hooks'
import { PGlite } from '@electric-sql/pglite'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { FailedAttempts } from '../../src/account/failed-attempts.js'
import { Confirmation } from '../../src/revocation/confirmation.js'

/** Statements and commands that this process sent. They are counted, and still sent. */
export interface Counts {
  queries: number
  commands: number
}

const counts: Counts = { queries: 0, commands: 0 }

/**
 * Gateways are read again from time to time while they are in use. Tests of other things leave
 * these reads out.
 */
export const GATEWAY_READS = /FROM "gateway_client"/

let leftOut: RegExp | null = null

/**
 * The statements and commands that `work` sent, without those of jobs: lease and node membership,
 * rounds of the outbox, mails, signing keys, notes of use.
 *
 * @param others further statements that run on a schedule of their own in this test
 */
export async function counting(
  work: () => Promise<unknown>,
  others: RegExp | null = null
): Promise<Counts> {
  const before = { ...counts }
  leftOut = others
  try {
    await work()
    return { queries: counts.queries - before.queries, commands: counts.commands - before.commands }
  } finally {
    leftOut = null
  }
}

const texts = new Set<string>()

/** The different statements that `work` sent to the store, with those of jobs. */
export async function recording(work: () => Promise<unknown>): Promise<string[]> {
  texts.clear()
  await work()
  return [...texts]
}

/**
 * Includes the check of a new connection, because a pool opens them as needed. Also the rounds of
 * the outbox: `inRound` misses those that wait for a connection, because the caller that returns a
 * connection then sends them.
 */
const ownPace =
  /pg_backend_pid\(\)|FROM "erasure" WHERE "sweptAt"|DELETE FROM "outbox"|"node"|FROM "signing_key"|SELECT 1$|GREATEST\(s\."lastSeenAt", free\.|GREATEST\(g\."lastUsedAt"|pg_snapshot_xmin|SET "claimedUntil" = clock_timestamp\(\)|FROM "outbox"\s+WHERE "transactionId"/

/** What the worker of the mails sends: it runs apart from the requests that write them. */
const mailWorker =
  /^\s*(UPDATE|DELETE FROM) "mail"|FROM "mail" WHERE "proofId"|FROM "proof" WHERE "id" = \S+ AND "usedAt"|UPDATE "proof" p SET "userId"|"id", "email", "emailVerified" FROM "user" WHERE/

/**
 * Set inside rounds: that of failed sign-ins, and that of the outbox, which repeats to Redis what a
 * request has changed up to a quarter of a second before.
 */
const inRound = new AsyncLocalStorage<true>()
for (const method of ['tail', 'relay'] as const) {
  const original = Confirmation.prototype[method]
  Confirmation.prototype[method] = function () {
    return inRound.run(true, () => original.call(this))
  }
}
const flush: (this: FailedAttempts) => Promise<void> = Reflect.get(
  FailedAttempts.prototype,
  'flush'
)
FailedAttempts.prototype.flush = function () {
  return inRound.run(true, () => flush.call(this))
}

const watch = (target: object, method: string, seen: (argument: unknown) => void) => {
  const prototype = target as Record<string, (...args: unknown[]) => unknown>
  const original = prototype[method]
  if (!original) throw new Error(`there is no ${method}`)
  prototype[method] = function (this: unknown, ...args: unknown[]) {
    seen(args[0])
    return original.apply(this, args)
  }
}

const countQuery = (query: unknown) => {
  const text = typeof query === 'string' ? query : ((query as { text?: string }).text ?? '')
  texts.add(text)
  const isJobs = ownPace.test(text) || mailWorker.test(text)
  if (!isJobs && !leftOut?.test(text) && !inRound.getStore()) counts.queries++
}
watch(Client.prototype, 'query', countQuery)
watch(PGlite.prototype, 'query', countQuery)
watch(Redis.prototype, 'sendCommand', (command) => {
  const { name, args } = command as { name: string; args: unknown[] }
  const isLease = args.some((argument) => String(argument).includes('{nodes}'))
  if (!isLease && !inRound.getStore() && ['eval', 'evalsha', 'get', 'set'].includes(name))
    counts.commands++
})
