import { Prisma, type Queryable } from '../database/database.js'
import { inBatches } from '../database/pace.js'
import type { PageWanted } from '../page.js'
import type { Language } from '../language.js'
import type { MailFacts, MailKind } from './mail.js'

/** How long a worker has for a mail that it has claimed, in milliseconds: longer than any send. */
export const LEASE_MS = 90_000
/** For how long sent mails and failed ones are kept, in seconds. */
const SENT_RETENTION_SECONDS = 86_400
const FAILED_RETENTION_SECONDS = 14 * 86_400
/** The count of waiting mails stops at this number. */
const COUNTED = 10_000

/** A mail that a worker has claimed. */
export interface ClaimedMail {
  id: string
  kind: MailKind
  recipient: string
  userId: string | null
  proofId: string | null
  language: Language
  facts: MailFacts | null
  createdAt: Date
  expiresAt: Date
}

/** Mails that anybody may have an address sent, within a day, whatever limits there are besides. */
const MAX_ASKED_A_DAY = 100
/** Notices of one kind to one address within a day. */
const MAX_NOTICES_A_DAY = 20

/**
 * Whether a mail is one too many: the same one is waiting, or went out within the minute before it
 * was asked for; or its address was sent enough. The worker decides this, because the request takes
 * the same steps for every address, and mails to nobody leave no trace. Only mails that are older
 * count, so that of many at once the first are sent, by whatever workers.
 */
export async function isTooMany(db: Queryable, mail: ClaimedMail): Promise<boolean> {
  const { id, kind, recipient, userId, proofId, createdAt } = mail
  const isNotice = !askedKinds.includes(kind)
  const kinds = isNotice ? [kind] : askedKinds
  const max = isNotice ? MAX_NOTICES_A_DAY : MAX_ASKED_A_DAY
  // Asked for by "this was not me", or by an administrator: strangers cannot use it up.
  const isUncounted = userId !== null && (kind === 'reset' || kind === 'invitation')
  const [row] = await db.$queryRaw<{ isRepeated: boolean; today: number }[]>`
    SELECT ${!isNotice}::boolean AND EXISTS (SELECT 1 FROM "mail" WHERE "proofId" = ${proofId} AND "id" < ${id} AND "failedAt" IS NULL
        AND ("sentAt" IS NULL OR "sentAt" > ${createdAt}::timestamptz - interval '1 minute')) AS "isRepeated",
      (SELECT count(*)::int FROM "mail" WHERE "recipient" = ${recipient} AND "id" < ${id} AND "kind" = ANY(${kinds}::text[]) AND "failedAt" IS NULL
        AND "createdAt" > ${createdAt}::timestamptz - interval '1 day') AS "today"`
  return row !== undefined && (row.isRepeated || (!isUncounted && row.today >= max))
}

/** Kinds that are sent because somebody asks for them. The others tell what has happened. */
const askedKinds: readonly MailKind[] = [
  'verify',
  'reset',
  'invitation',
  'sign-in',
  'change-confirm',
  'change-verify'
]

/** A claimed mail, with what the worker itself needs. */
export interface Claim extends ClaimedMail {
  /** How often it was tried, this time included. */
  attempts: number
  /** Whether it is of no use any more. */
  isExpired: boolean
  claim: string
}

// Conditions and order are those of the index "mail_open_idx".
const open = Prisma.sql`"sentAt" IS NULL AND "failedAt" IS NULL`
const unclaimed = Prisma.sql`("claimedUntil" IS NULL OR "claimedUntil" <= statement_timestamp())`
const ended = Prisma.sql`"claim" = NULL, "claimedUntil" = NULL`
const inMilliseconds = (ms: number) =>
  Prisma.sql`clock_timestamp() + ${Math.round(ms)}::int * interval '1 millisecond'`

/**
 * Claims mails that are due, those that have waited for longest first. Workers skip each other's
 * rows. A claim that is not settled ends by itself.
 *
 * @param claim a random id
 */
export async function claimMails(db: Queryable, claim: string, count: number): Promise<Claim[]> {
  const rows = await db.$queryRaw<Claim[]>`
    UPDATE "mail" SET "claim" = ${claim}, "claimedUntil" = ${inMilliseconds(LEASE_MS)}, "attempts" = "attempts" + 1
    WHERE "id" = ANY(ARRAY(
      SELECT "id" FROM "mail" WHERE ${open} AND "nextAt" <= statement_timestamp() AND ${unclaimed}
      ORDER BY "nextAt" LIMIT ${count} FOR UPDATE SKIP LOCKED
    ))
    RETURNING "id", "kind", "recipient", "userId", "proofId", "language", "facts", "createdAt", "expiresAt", "attempts",
      "expiresAt" <= clock_timestamp() AS "isExpired", "claim"`
  return rows.toSorted((one, other) => one.createdAt.getTime() - other.createdAt.getTime())
}

/** The row of a claim. It is no longer found once the claim has ended and another worker has it. */
const held = ({ id, claim }: Claim) => Prisma.sql`"id" = ${id} AND "claim" = ${claim} AND ${open}`

/** @returns whether the claim still stood, as of all that settle one */
export async function noteSent(db: Queryable, claim: Claim): Promise<boolean> {
  return settle(db, claim, Prisma.sql`"sentAt" = clock_timestamp(), "failure" = NULL`)
}

/** Gives a mail up. */
export async function noteFailed(db: Queryable, claim: Claim, failure: string): Promise<boolean> {
  return settle(db, claim, Prisma.sql`"failedAt" = clock_timestamp(), "failure" = ${failure}`)
}

/**
 * Has a mail tried again after a while, or noted as expired at its end, whichever comes first.
 *
 * @param failure why it was not sent
 */
export async function postpone(
  db: Queryable,
  claim: Claim,
  afterMs: number,
  failure: string
): Promise<boolean> {
  return settle(
    db,
    claim,
    Prisma.sql`"nextAt" = LEAST(${inMilliseconds(afterMs)}, "expiresAt"), "failure" = ${failure}`
  )
}

/** Gives a claim back: any worker may try the mail at once. */
export async function release(db: Queryable, claim: Claim): Promise<boolean> {
  return settle(db, claim, Prisma.sql`"nextAt" = clock_timestamp()`)
}

/** Deletes a mail of which nothing is to be sent. */
export async function drop(db: Queryable, claim: Claim): Promise<boolean> {
  return (await db.$executeRaw`DELETE FROM "mail" WHERE ${held(claim)}`) === 1
}

async function settle(db: Queryable, claim: Claim, change: Prisma.Sql): Promise<boolean> {
  return (await db.$executeRaw`UPDATE "mail" SET ${change}, ${ended} WHERE ${held(claim)}`) === 1
}

/** Mails that wait, and for how long the oldest has. */
export interface MailBacklog {
  /** At most ten thousand are counted. */
  waiting: number
  /** 0 where none waits. */
  oldestSeconds: number
}

/** Counts the mails that are still to be sent. The count stops at ten thousand. */
export async function readBacklog(db: Queryable): Promise<MailBacklog> {
  const [row] = await db.$queryRaw<MailBacklog[]>`
    SELECT count(*)::int AS "waiting",
      COALESCE(GREATEST(extract(epoch FROM clock_timestamp() - min("createdAt")), 0), 0)::float8 AS "oldestSeconds"
    FROM (SELECT "createdAt" FROM "mail" WHERE ${open} ORDER BY "nextAt" LIMIT ${COUNTED}) "open"`
  return row ?? { waiting: 0, oldestSeconds: 0 }
}

/** What became of a mail so far. */
export const mailStates = ['waiting', 'failed', 'sent'] as const
export type MailState = (typeof mailStates)[number]

/** A mail as an operator sees it: without what its link and code derive from. */
export interface ListedMail {
  id: string
  kind: string
  recipient: string
  state: MailState
  attempts: number
  createdAt: Date
  expiresAt: Date
  /** When it is tried next. Null once it was sent or given up. */
  nextAt: Date | null
  sentAt: Date | null
  failedAt: Date | null
  failure: string | null
}

const statesSql = {
  waiting: open,
  failed: Prisma.sql`"failedAt" IS NOT NULL`,
  sent: Prisma.sql`"sentAt" IS NOT NULL`
} as const

/** Mails, newest first: ids are in the order of their creation. */
export async function listMails(
  db: Queryable,
  { state, limit, after }: PageWanted & { state?: MailState | undefined }
): Promise<ListedMail[]> {
  const from = after === undefined ? Prisma.empty : Prisma.sql`AND "id" < ${after}`
  const which = state === undefined ? Prisma.sql`TRUE` : statesSql[state]
  return db.$queryRaw<ListedMail[]>`
    SELECT "id", "kind", "recipient",
      CASE WHEN "sentAt" IS NOT NULL THEN 'sent' WHEN "failedAt" IS NOT NULL THEN 'failed' ELSE 'waiting' END AS "state",
      "attempts", "createdAt", "expiresAt", CASE WHEN ${open} THEN "nextAt" END AS "nextAt", "sentAt", "failedAt", "failure"
    FROM "mail" WHERE ${which} ${from} ORDER BY "id" DESC LIMIT ${limit}`
}

/**
 * Has one mail tried at once, waiting or failed, if it is not expired and no worker has it now.
 *
 * @returns its state before. Null where there is no such mail
 */
export async function retryMail(
  db: Queryable,
  id: string
): Promise<{ state: MailState | 'expired' | 'under way' } | null> {
  const rows = await db.$queryRaw<{ state: MailState | 'expired' | 'under way' }[]>`
    WITH "found" AS (
      SELECT "id", CASE WHEN "sentAt" IS NOT NULL THEN 'sent' WHEN "expiresAt" <= clock_timestamp() THEN 'expired'
        WHEN NOT ${unclaimed} THEN 'under way' WHEN "failedAt" IS NOT NULL THEN 'failed' ELSE 'waiting' END AS "state"
      FROM "mail" WHERE "id" = ${id} FOR UPDATE
    ), "tried" AS (
      UPDATE "mail" m SET "nextAt" = clock_timestamp(), "failedAt" = NULL, ${ended}
      FROM "found" f WHERE m."id" = f."id" AND f."state" IN ('failed', 'waiting')
    )
    SELECT "state" FROM "found"`
  return rows[0] ?? null
}

/**
 * Has failed mails tried at once that are not expired, those that failed last first.
 *
 * @returns how many
 */
export async function retryFailedMails(db: Queryable, limit: number): Promise<number> {
  return db.$executeRaw`
    UPDATE "mail" SET "nextAt" = clock_timestamp(), "failedAt" = NULL, ${ended}
    WHERE "id" = ANY(ARRAY(
      SELECT "id" FROM "mail" WHERE "failedAt" IS NOT NULL AND "expiresAt" > statement_timestamp()
      ORDER BY "failedAt" DESC LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ))`
}

const ago = (seconds: number) =>
  Prisma.sql`statement_timestamp() - ${seconds}::int * interval '1 second'`

/**
 * Removes mails that were sent more than a day ago, or given up more than 14 days ago, in batches.
 * Several nodes may run it at once.
 *
 * @param now monotonic milliseconds
 * @returns how many were removed
 */
export async function purgeMails(db: Queryable, now: () => number): Promise<number> {
  const remove = (which: Prisma.Sql) =>
    inBatches(
      now,
      (rows) => db.$executeRaw`
    DELETE FROM "mail" WHERE ctid = ANY(ARRAY(SELECT ctid FROM "mail" WHERE ${which} LIMIT ${rows} FOR UPDATE SKIP LOCKED))`
    )
  return (
    (await remove(Prisma.sql`"sentAt" < ${ago(SENT_RETENTION_SECONDS)}`)) +
    (await remove(Prisma.sql`"failedAt" < ${ago(FAILED_RETENTION_SECONDS)}`))
  )
}
