import { intoOutbox, type Change } from './outbox.js'
import { Prisma, type Queryable } from '../database/database.js'
import { secondFactorLockout } from '../limits.js'
import { live } from './store.js'

/*
 * Sensitive changes need a credential that was verified in this very session lately. A session that
 * was left open, or whose cookie was copied, is not enough to take over the account. The time is on
 * the row, by the database's clock. A session keeps its id and token when its user signs in again:
 * a new token in an answer that is lost would sign the user out.
 */

/** For how long a verified credential counts as recent, in seconds. */
const RECENT_SECONDS = 600

const recently = (column: Prisma.Sql) =>
  Prisma.sql`${column} > clock_timestamp() - ${RECENT_SECONDS}::int * interval '1 second'`

/**
 * Whether a credential was verified in a session lately, with the second factor where its user has
 * one now. A user who signed in with a trusted device, or before the second factor was turned on,
 * has not passed it. Without a password, the sign-in is renewed in another way.
 */
export async function findRecentSignIn(
  db: Queryable,
  sessionId: string
): Promise<{ recent: boolean; secondFactor: boolean; password: boolean }> {
  const [row] = await db.$queryRaw<
    { recent: boolean | null; secondFactor: boolean; password: boolean }[]
  >`
    SELECT ${recently(Prisma.sql`s."reauthAt"`)} AND (NOT COALESCE(u."twoFactorEnabled", false) OR 'mfa' = ANY(s."amr")) AS "recent",
      COALESCE(u."twoFactorEnabled", false) AS "secondFactor",
      EXISTS (SELECT 1 FROM "account" a WHERE a."userId" = u."id" AND a."password" IS NOT NULL) AS "password"
    FROM "session" s JOIN "user" u ON u."id" = s."userId" WHERE s."id" = ${sessionId}`
  return {
    recent: row?.recent ?? false,
    secondFactor: row?.secondFactor ?? false,
    password: row?.password ?? false
  }
}

/**
 * Notes that the user's password was verified in a session. Without a second factor the session is
 * recent from now on. With one, the factor must follow. An impersonation never becomes recent. Call
 * it in a transaction: it locks the user.
 *
 * @param password the stored hash that was verified; if the user has another one by now, nothing is
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
 * password was verified in the same session lately.
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

/** Marks all other sessions of a user as not recent, because the requirement has changed. */
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
 * Counts an attempt at a user's second factor before it is verified. Locks the factor after too
 * many wrong ones in a row. A right one resets the count.
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

/** Resets the count of attempts, after a right one. */
export async function giveBackFactorAttempts(db: Queryable, userId: string): Promise<void> {
  await db.$executeRaw`UPDATE "two_factor" SET "failedVerificationCount" = 0, "lockedUntil" = NULL WHERE "userId" = ${userId}`
}
