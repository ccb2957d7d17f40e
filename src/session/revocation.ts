import { intoImpersonationsEnded } from '../account/store.js'
import { intoOutbox, withDerived, type Change, type Ended } from './outbox.js'
import { Prisma, type Queryable } from '../database/database.js'
import type { RevocationReason } from './session.js'
import { endable, selectOldest, ONE_STATEMENT } from './store.js'

/** Which sessions of a user to end. */
export interface BulkRevocation {
  userId: string
  exceptSessionId?: string | null
  reason: RevocationReason
}

/**
 * Revokes the named sessions in one statement. Safe to repeat: only the first call finds them
 * unrevoked.
 *
 * @param userId the user whose sessions they must be; null where the caller may revoke any user's
 * @param actingSessionId the session that authorises it; nothing is revoked when it has ended by
 *   then. It is locked with the others, in one order, so that two sessions that revoke each other
 *   do not deadlock
 * @returns what this call ended
 */
export async function revokeSessions(
  db: Queryable,
  sessionIds: readonly string[],
  userId: string | null,
  reason: RevocationReason,
  actingSessionId: string | null = null
): Promise<Change[]> {
  const locked = actingSessionId === null ? sessionIds : [...sessionIds, actingSessionId]
  // Derived sessions are locked here as well, in the same order: the trigger would lock them out of
  // order.
  return end(
    db,
    Prisma.sql`"id" = ANY(${locked}::text[]) OR ("sourceSessionId" = ANY(${sessionIds}::text[]) AND ${endable})`,
    reason,
    {
      chosen: Prisma.sql`"id" = ANY(${sessionIds}::text[]) AND (${userId}::text IS NULL OR "userId" = ${userId})
      AND ${actingSessionLives(actingSessionId)}`
    }
  )
}

/**
 * Whether the changes of `revokeSessions` include all named sessions. They also contain sessions
 * that ended through the named ones.
 */
export function endsAll(changes: readonly Change[], sessionIds: readonly string[]): boolean {
  const ended = new Set(changes.map(({ sessionId }) => sessionId))
  return sessionIds.every((id) => ended.has(id))
}

/**
 * Locks the user's row and bumps `credentialEpoch`, so that a sign-in under way cannot add a
 * session after the revocation. It must be a statement of its own before the revocation: only a
 * statement that begins after the lock was granted sees the sessions of the sign-ins that it waited
 * for.
 *
 * @returns the new epoch; null when there is no such user
 */
export async function advanceCredentialEpoch(
  db: Queryable,
  userId: string
): Promise<number | null> {
  const [row] = await db.$queryRaw<{ credentialEpoch: number }[]>`
    UPDATE "user" SET "credentialEpoch" = "credentialEpoch" + 1 WHERE "id" = ${userId} RETURNING "credentialEpoch"`
  return row?.credentialEpoch ?? null
}

/**
 * Deletes the user's challenges and trusted devices: a sign-in that began before a change of the
 * account must not be finished after it.
 */
export async function dropPendingFactors(db: Queryable, userId: string): Promise<void> {
  await db.$executeRaw`DELETE FROM "verification" WHERE "value" = ${userId}`
}

/**
 * Locks a user's credential until the caller's transaction ends. What the caller writes then
 * commits before the next change of the credential, which ends it.
 *
 * @returns whether the credential is still the one that the caller read
 */
export async function holdCredential(
  db: Queryable,
  userId: string,
  epoch: number
): Promise<boolean> {
  const held = await db.$queryRaw<
    unknown[]
  >`SELECT 1 FROM "user" WHERE "id" = ${userId} AND "credentialEpoch" = ${epoch} FOR SHARE`
  return held.length > 0
}

/** How many challenges, and how many trusted devices, a user may have at once. */
const MAX_PENDING_FACTORS = 50
/**
 * Tells challenges from trusted devices: challenges live for minutes, trusted devices for weeks.
 */
const TRUST_MIN_MS = 86_400_000

/**
 * Makes room for a new challenge or trusted device by deleting the oldest of that kind. This bounds
 * what `dropPendingFactors` has to delete.
 *
 * @param livesMs how long the new one lives, which tells its kind
 */
export async function dropOldestPendingFactors(
  db: Queryable,
  userId: string,
  livesMs: number
): Promise<void> {
  const isTrust = livesMs > TRUST_MIN_MS
  await db.$executeRaw`
    DELETE FROM "verification" WHERE "id" IN (
      SELECT "id" FROM "verification" WHERE "value" = ${userId} AND ("expiresAt" > "createdAt" + interval '1 day') = ${isTrust}
      ORDER BY "createdAt" DESC OFFSET ${MAX_PENDING_FACTORS - 1} FOR UPDATE SKIP LOCKED)`
}

/**
 * Revokes all sessions of a user, or all but one. Sessions in which the user impersonates others
 * end too: a user who loses an account must not go on acting as another user. One statement, unless
 * `Thinning` has left more than that reaches. Call it after `advanceCredentialEpoch`, in the same
 * transaction.
 *
 * @returns what this call ended
 */
export async function revokeUserSessions(
  db: Queryable,
  { userId, exceptSessionId = null, reason }: BulkRevocation
): Promise<Change[]> {
  const spared = Prisma.sql`(${exceptSessionId}::text IS NULL OR "id" <> ${exceptSessionId})`
  const theirs = Prisma.sql`"id" = ANY(ARRAY(
    (${selectOldest(Prisma.sql`"userId" = ${userId} AND ${spared}`)}) UNION ALL (${selectOldest(Prisma.sql`"impersonatedBy" = ${userId} AND ${spared}`)})))`
  return untilFew(() => end(db, theirs, reason, { because: becauseFrom(userId, reason) }))
}

/**
 * Ends the sessions in which a user impersonates others, because the right to do so has changed.
 */
export async function endImpersonationsBy(db: Queryable, userId: string): Promise<Change[]> {
  return untilFew(() =>
    end(
      db,
      Prisma.sql`"id" = ANY(ARRAY(${selectOldest(Prisma.sql`"impersonatedBy" = ${userId}`)}))`,
      'impersonation_ended'
    )
  )
}

/** One batch of `thinOutUserSessions`. */
export interface Batch {
  /** How many sessions it ends. */
  size: number
  /** Where there are no more than this many, it ends none. At most `ONE_STATEMENT`. */
  few: number
  /** Sessions that are not ended. */
  spared: readonly string[]
  /** As in `revokeSessions`. */
  actingSessionId: string | null
}

/**
 * Ends a batch of the sessions that `revokeUserSessions` ends, the longest idle first, where there
 * are more than `few`.
 *
 * @returns what this call ended; nothing when few are left, or the acting session has ended
 */
export async function thinOutUserSessions(
  db: Queryable,
  { userId, reason }: Pick<BulkRevocation, 'userId' | 'reason'>,
  { size, few, spared, actingSessionId }: Batch
): Promise<Change[]> {
  const oldest = (whose: 'userId' | 'impersonatedBy') => Prisma.sql`
    SELECT "id", "expiresAt" FROM "session" WHERE ${Prisma.raw(`"${whose}"`)} = ${userId} AND "id" <> ALL(${spared}::text[]) AND ${endable}
    ORDER BY "expiresAt" LIMIT ${few + 1}`
  const batch = Prisma.sql`ARRAY(
    SELECT "id" FROM (
      SELECT "id", row_number() OVER (ORDER BY "expiresAt", "id") AS "place", count(*) OVER () AS "all"
      FROM ((${oldest('userId')}) UNION (${oldest('impersonatedBy')})) theirs
    ) placed WHERE "all" > ${few} AND "place" <= ${size})`
  return end(db, Prisma.sql`"id" = ${actingSessionId} OR "id" = ANY(${batch})`, reason, {
    because: becauseFrom(userId, reason),
    chosen: Prisma.sql`"id" IS DISTINCT FROM ${actingSessionId} AND ${actingSessionLives(actingSessionId)}`
  })
}

/** The reason with which a row `s` ends when all sessions of a user end. */
const becauseFrom = (userId: string, reason: RevocationReason) =>
  Prisma.sql`CASE WHEN s."userId" = ${userId} THEN ${reason} ELSE 'impersonation_ended' END`

/** Whether the acting session is among the rows that `end` has locked, and has not expired. */
const actingSessionLives = (
  actingSessionId: string | null
) => Prisma.sql`(${actingSessionId}::text IS NULL OR EXISTS (
  SELECT 1 FROM locked WHERE "id" = ${actingSessionId} AND "expiresAt" > clock_timestamp() AND "absoluteExpiresAt" > clock_timestamp()))`

async function untilFew(endBatch: () => Promise<Change[]>): Promise<Change[]> {
  const ended: Change[] = []
  for (;;) {
    const batch = await endBatch()
    ended.push(...batch)
    // Sessions that ended through others count as well, so there may be one statement more than
    // needed.
    if (batch.length < ONE_STATEMENT) return ended
  }
}

/**
 * Ends the sessions that `which` selects and that have not ended: rows, versions, events and outbox
 * in one statement. Rows are locked in the order of their ids, as in every statement, so that two
 * revocations cannot deadlock. A session that began by a one-time token of an ended session ends
 * with it.
 *
 * @param chosen which of the locked rows are ended; all by default
 * @param because the reason that a row `s` keeps, where it is not the same for all
 */
async function end(
  db: Queryable,
  which: Prisma.Sql,
  reason: RevocationReason,
  { chosen = Prisma.sql`true`, because = Prisma.sql`${reason}` } = {}
): Promise<Change[]> {
  const ended = await db.$queryRaw<Ended[]>`
    WITH locked AS (
      SELECT "id", "userId", "expiresAt", "absoluteExpiresAt" FROM "session" WHERE (${which}) AND "revokedAt" IS NULL ORDER BY "id" FOR UPDATE
    ), chosen AS (
      SELECT "id" FROM locked WHERE ${chosen}
    ), ended AS (
      UPDATE "session" s SET "revokedAt" = clock_timestamp(), "revokedReason" = ${because}, "version" = s."version" + 1, "updatedAt" = clock_timestamp()
      FROM chosen WHERE s."id" = chosen."id" AND s."revokedAt" IS NULL
      RETURNING s."id", s."userId", s."version", s."revokedReason", s."hasDerived", s."impersonatedBy"
    ), outbox_rows AS (${intoOutbox('ended', Prisma.sql`"revokedReason"`)}), events AS (
      INSERT INTO "session_event" ("sessionId", "userId", "type", "cause") SELECT "id", "userId", 'revoked', "revokedReason" FROM ended
    ), impersonations AS (${intoImpersonationsEnded('ended', Prisma.sql`"revokedReason"`)})
    SELECT "id" AS "sessionId", "version", "revokedReason" AS "reason", "hasDerived" FROM ended`
  return withDerived(db, ended)
}
