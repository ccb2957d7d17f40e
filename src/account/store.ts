import { Prisma, type Queryable } from '../database/database.js'
import { inBatches } from '../database/pace.js'
import { userAgentFrom } from '../user-agent.js'
import type { NewAccountEvent } from './account-event.js'
import type { Origin } from './origin.js'

/**
 * Writes events in the transaction of the change that they record: one statement, however many
 * there are.
 *
 * @param db the transaction of the change
 */
export async function writeAccountEvents(
  db: Queryable,
  origin: Origin,
  events: readonly NewAccountEvent[]
): Promise<void> {
  if (events.length === 0) return
  const { actor, actorId, ipAddress } = origin
  const userAgent = userAgentFrom(origin.userAgent)
  await db.accountEvent.createMany({
    data: events.map(
      ({ userId, kind, cause = null, sessionId = origin.sessionId, nameHash = null, detail }) => ({
        userId,
        kind,
        cause,
        actor,
        actorId,
        sessionId,
        ipAddress,
        userAgent,
        nameHash,
        detail: detail === undefined ? Prisma.DbNull : { ...detail }
      })
    )
  })
}

/**
 * Writes events for sessions that an administrator or operator has ended, in the transaction that
 * ended them: one for each user, with the number. A single session is named.
 *
 * @param cause the reason that the sessions keep
 */
export async function writeRevokedSessions(
  db: Queryable,
  origin: Origin,
  sessionIds: readonly string[],
  cause: string
): Promise<void> {
  if (sessionIds.length === 0) return
  await db.$executeRaw`
    INSERT INTO "account_event" ("userId", "kind", "cause", "actor", "actorId", "sessionId", "ipAddress", "userAgent", "detail")
    SELECT "userId", 'sessions_revoked', ${cause}::text, ${origin.actor}::text, ${origin.actorId}::text, CASE WHEN count(*) = 1 THEN min("id") END,
      ${origin.ipAddress}::text, ${userAgentFrom(origin.userAgent)}::text, jsonb_build_object('sessions', count(*))
    FROM "session" WHERE "id" = ANY(${sessionIds}::text[]) GROUP BY "userId"`
}

/**
 * The part of a statement that writes events for the impersonations among the sessions that its
 * step `ended` has ended (columns id, userId, impersonatedBy).
 *
 * @param cause why they ended: one for all, or a column of that step
 */
export function intoImpersonationsEnded(
  ended: string,
  cause: string | Prisma.Sql | null
): Prisma.Sql {
  return Prisma.sql`
    INSERT INTO "account_event" ("userId", "kind", "cause", "actor", "actorId", "sessionId", "detail")
    SELECT "userId", 'impersonation_ended', "cause", CASE WHEN "byThem" THEN 'administrator' ELSE 'system' END,
      CASE WHEN "byThem" THEN "impersonatedBy" END, "id", jsonb_build_object('administrator', "impersonatedBy")
    FROM (SELECT *, ${cause}::text AS "cause", ${cause}::text IN ('impersonation_ended', 'signed_out', 'signed_in_again') AS "byThem" FROM ${Prisma.raw(`"${ended}"`)}) "ends"
    WHERE "impersonatedBy" IS NOT NULL`
}

/**
 * Erases what names a person from the events of their account: address, user agent, hash of the
 * name, and detail. It also erases the address and device from their acts on others' accounts. The
 * kind, time and actor stay, and so does an administrator's address. Each statement has a bound,
 * and it may be repeated. Call it in the transaction that erases the user, or after it.
 *
 * @param nameHashes of the addresses that the person has or had, under every configured key: for
 *   attempts at a name from before there was an account
 * @param now monotonic milliseconds
 * @returns how many events were changed
 */
export async function eraseAccountEvents(
  db: Queryable,
  userId: string,
  nameHashes: readonly string[],
  now: () => number
): Promise<number> {
  // Rows with sums are locked in the order in which attempts are added to them.
  const erase = (which: Prisma.Sql, naming: Prisma.Sql, change: Prisma.Sql) =>
    inBatches(
      now,
      (rows) => db.$executeRaw`
    UPDATE "account_event" SET ${change}
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM "account_event" WHERE ${which} AND ${naming} ORDER BY "sumKey" LIMIT ${rows} FOR UPDATE))`
    )
  const whatTheySay = Prisma.sql`"nameHash" = NULL, "detail" = NULL, "sumKey" = NULL`
  const fromWhere = Prisma.sql`"ipAddress" = NULL, "userAgent" = NULL`
  const saysSomething = Prisma.sql`("nameHash" IS NOT NULL OR "detail" IS NOT NULL OR "sumKey" IS NOT NULL)`
  const saysFromWhere = Prisma.sql`("ipAddress" IS NOT NULL OR "userAgent" IS NOT NULL)`
  // An event about a name counts as this person's only if it names no other user: users change
  // their addresses, and others take them.
  const theirs = Prisma.sql`("userId" = ${userId} OR ("nameHash" = ANY(${nameHashes}::text[]) AND "userId" IS NULL)) AND COALESCE("actorId", ${userId}) = ${userId}`
  return (
    (await erase(
      theirs,
      Prisma.sql`(${saysSomething} OR ${saysFromWhere})`,
      Prisma.sql`${whatTheySay}, ${fromWhere}`
    )) +
    (await erase(Prisma.sql`"userId" = ${userId}`, saysSomething, whatTheySay)) +
    (await erase(Prisma.sql`"actorId" = ${userId}`, saysFromWhere, fromWhere))
  )
}

/**
 * Removes events that are older than `retentionSeconds`, in batches. Several nodes may run it at
 * once: each skips the rows that another holds.
 *
 * @param now monotonic milliseconds
 * @returns how many were removed
 */
export async function purgeAccountEvents(
  db: Queryable,
  retentionSeconds: number,
  now: () => number
): Promise<number> {
  return inBatches(
    now,
    (rows) => db.$executeRaw`
    DELETE FROM "account_event" WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM "account_event" WHERE "at" < statement_timestamp() - ${retentionSeconds}::int * interval '1 second'
      ORDER BY "at" LIMIT ${rows} FOR UPDATE SKIP LOCKED))`
  )
}
