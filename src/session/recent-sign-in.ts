import { intoOutbox, type Change } from './outbox.js'
import { Prisma, type Queryable } from '../database/database.js'
import { secondFactorLockout } from '../limits.js'
import { live } from './store.js'

/*
 * Grave changes want a credential shown in this very session lately: a session that somebody left
 * open, or whose cookie was copied, is not enough to take the account away. The time is on the row,
 * by the database's clock. A session keeps its id and token when its user shows a credential again:
 * another token in an answer that is lost would sign the user out.
 */

/** For how long a credential that was shown counts, in seconds. */
const RECENT_SECONDS = 600

const recently = (column: Prisma.Sql) =>
  Prisma.sql`${column} > clock_timestamp() - ${RECENT_SECONDS}::int * interval '1 second'`

/**
 * Whether a credential was shown in a session lately, with the second factor where its user has one
 * now: who came in by a trusted device, or before there was a factor, has not shown it.
 */
export async function findRecentSignIn(
  db: Queryable,
  sessionId: string
): Promise<{ recent: boolean; secondFactor: boolean }> {
  const [row] = await db.$queryRaw<{ recent: boolean | null; secondFactor: boolean }[]>`
    SELECT ${recently(Prisma.sql`s."reauthAt"`)} AND (NOT COALESCE(u."twoFactorEnabled", false) OR 'mfa' = ANY(s."amr")) AS "recent",
      COALESCE(u."twoFactorEnabled", false) AS "secondFactor"
    FROM "session" s JOIN "user" u ON u."id" = s."userId" WHERE s."id" = ${sessionId}`
  return { recent: row?.recent ?? false, secondFactor: row?.secondFactor ?? false }
}

/**
 * Notes that the user's password was shown in a session. Where there is no second factor the
 * session is recent from now on; else the factor must follow. An impersonation never becomes
 * recent. Call it in a transaction: it locks the user.
 *
 * @param password as it was stored when it was verified: one that is no longer the user's is not
 *   noted
 * @returns what has changed of what a check shows
 */
export async function notePassword(
  db: Queryable,
  sessionId: string,
  password: string | null
): Promise<Change[]> {
  await db.$queryRaw`SELECT 1 FROM "user" WHERE "id" = (SELECT "userId" FROM "session" WHERE "id" = ${sessionId}) FOR SHARE`
  return db.$queryRaw<Change[]>`
    WITH noted AS (
      UPDATE "session" s SET "passwordAt" = clock_timestamp(), "updatedAt" = clock_timestamp(),
        "reauthAt" = CASE WHEN u."factor" THEN s."reauthAt" ELSE clock_timestamp() END,
        "authTime" = CASE WHEN u."factor" THEN s."authTime" ELSE clock_timestamp() END,
        "version" = s."version" + CASE WHEN u."factor" THEN 0 ELSE 1 END
      FROM (SELECT "id", COALESCE("twoFactorEnabled", false) AS "factor" FROM "user") u
      WHERE s."id" = ${sessionId} AND u."id" = s."userId" AND s."impersonatedBy" IS NULL AND ${live}
        AND EXISTS (SELECT 1 FROM "account" a WHERE a."userId" = s."userId" AND a."password" = ${password})
      RETURNING s."id", s."userId", s."version", u."factor"
    ), renewed AS (
      SELECT "id", "userId", "version" FROM noted WHERE NOT "factor"
    ), ${andSay}`
}

/**
 * As `notePassword`, for the second factor of a user who has turned one on. It counts where the
 * password was shown in the same session lately.
 */
export async function noteFactor(db: Queryable, sessionId: string): Promise<Change[]> {
  return db.$queryRaw<Change[]>`
    WITH renewed AS (
      UPDATE "session" s SET "passwordAt" = NULL, "reauthAt" = clock_timestamp(), "authTime" = clock_timestamp(), "updatedAt" = clock_timestamp(),
        "amr" = CASE WHEN 'mfa' = ANY(s."amr") THEN s."amr" ELSE s."amr" || ARRAY['otp', 'mfa'] END, "version" = s."version" + 1
      WHERE s."id" = ${sessionId} AND s."impersonatedBy" IS NULL AND ${recently(Prisma.sql`s."passwordAt"`)} AND ${live}
        AND EXISTS (SELECT 1 FROM "user" u WHERE u."id" = s."userId" AND u."twoFactorEnabled")
      RETURNING s."id", s."userId", s."version"
    ), ${andSay}`
}

const andSay = Prisma.sql`outbox_rows AS (${intoOutbox('renewed', null)}), events AS (
      INSERT INTO "session_event" ("sessionId", "userId", "type") SELECT "id", "userId", 'reauthenticated' FROM renewed
    )
    SELECT "id" AS "sessionId", "version", NULL AS "reason" FROM renewed`

/** Has no other session of a user be recent: what it takes to be so has changed. */
export async function forgetRecentSignIns(
  db: Queryable,
  userId: string,
  exceptSessionId: string | null
): Promise<void> {
  await db.$executeRaw`
    UPDATE "session" SET "reauthAt" = NULL, "passwordAt" = NULL
    WHERE "userId" = ${userId} AND ("reauthAt" IS NOT NULL OR "passwordAt" IS NOT NULL) AND "revokedAt" IS NULL AND (${exceptSessionId}::text IS NULL OR "id" <> ${exceptSessionId})`
}

/**
 * Counts a guess at a user's second factor before it is looked at, and locks the factor when there
 * were too many in a row. A right one sets the count back.
 *
 * @returns false while the factor is locked
 */
export async function takeFactorAttempt(db: Queryable, userId: string): Promise<boolean> {
  const count = Prisma.sql`CASE WHEN "lockedUntil" IS NULL THEN COALESCE("failedVerificationCount", 0) + 1 ELSE 1 END`
  const taken = await db.$executeRaw`
    UPDATE "two_factor" SET "failedVerificationCount" = ${count},
      "lockedUntil" = CASE WHEN ${count} >= ${secondFactorLockout.maxFailedAttempts}::int THEN clock_timestamp() + ${secondFactorLockout.durationSeconds}::int * interval '1 second' END
    WHERE "userId" = ${userId} AND ("lockedUntil" IS NULL OR "lockedUntil" <= clock_timestamp())`
  return taken > 0
}

/** Sets the count of guesses back: the last one was right. */
export async function giveBackFactorAttempts(db: Queryable, userId: string): Promise<void> {
  await db.$executeRaw`UPDATE "two_factor" SET "failedVerificationCount" = 0, "lockedUntil" = NULL WHERE "userId" = ${userId}`
}
