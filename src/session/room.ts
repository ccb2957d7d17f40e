import type { Change } from './outbox.js'
import { Prisma, type Queryable } from '../database/database.js'
import { toNetwork } from '../network.js'
import { revokeSessions } from './revocation.js'
import { userAgentFrom } from '../user-agent.js'
import { live, type NewSession } from './store.js'

/**
 * Sessions that one sign-in ends at most. A user with more above the cap loses this many at each
 * sign-in.
 */
const TAKEN = 500

/**
 * The result for a sign-in at the cap: the sessions that were ended for it, or how long it is until
 * one can be ended.
 */
export type Room = { taken: Change[] } | { retryAfterSeconds: number }

interface Candidates {
  ids: string[]
  /** How many live sessions the user has. */
  count: number
  retryAfterSeconds: number
}

/**
 * Makes room for a session of a user who has as many as the cap allows. Sessions of the same client
 * and network that were never used after they began go first, then those that were idle for
 * longest. A session that was used within a day is never ended here, nor is an impersonation. The
 * use of a derived session also counts as use of its source. The source of the session that is to
 * begin is not ended. Call it in the transaction that begins the session: it locks the user, so
 * that concurrent sign-ins find room one after the other.
 */
export async function makeRoom(db: Queryable, session: NewSession, cap: number): Promise<Room> {
  await db.$queryRaw`SELECT 1 FROM "user" WHERE "id" = ${session.userId} FOR NO KEY UPDATE`
  const { ids, count, retryAfterSeconds } = await findCandidates(db, session)
  const above = Math.min(count - cap + 1, TAKEN)
  if (ids.length < above) return { retryAfterSeconds }
  return {
    taken:
      above > 0 ? await revokeSessions(db, ids.slice(0, above), session.userId, 'session_cap') : []
  }
}

/**
 * The sessions that may be ended, the first ones first. It must be a statement of its own: only
 * then does it see what other transactions did before the lock was granted.
 */
async function findCandidates(
  db: Queryable,
  { userId, ipAddress, userAgent, replaces, sourceSessionId }: NewSession
): Promise<Candidates> {
  const day = Prisma.sql`interval '1 day'`
  const [row] = await db.$queryRaw<Candidates[]>`
    WITH theirs AS MATERIALIZED (
      SELECT "id", "expiresAt",
        CASE WHEN "hasDerived" THEN GREATEST("lastSeenAt", (
          SELECT max(begun."lastSeenAt") FROM "session" begun
          WHERE begun."sourceSessionId" = "session"."id" AND begun."revokedAt" IS NULL AND begun."expiresAt" > statement_timestamp()
        )) ELSE "lastSeenAt" END AS "lastSeenAt",
        NOT "hasDerived" AND "lastSeenAt" <= "issuedAt" AND "network" = ${toNetwork(ipAddress)} AND "userAgent" IS NOT DISTINCT FROM ${userAgentFrom(userAgent)} AS "unused"
      FROM "session" WHERE "userId" = ${userId} AND "impersonatedBy" IS NULL AND "id" IS DISTINCT FROM ${replaces?.sessionId ?? null} AND ${live}
    ), candidates AS (
      SELECT "id", "unused", "lastSeenAt" FROM theirs
      WHERE ("unused" OR "lastSeenAt" < statement_timestamp() - ${day}) AND "id" IS DISTINCT FROM ${sourceSessionId}
        AND "id" IS DISTINCT FROM (SELECT "sourceSessionId" FROM "session" WHERE "id" = ${sourceSessionId})
      ORDER BY "unused" DESC NULLS LAST, "lastSeenAt", "id" LIMIT ${TAKEN}
    )
    SELECT ARRAY(SELECT "id" FROM candidates ORDER BY "unused" DESC NULLS LAST, "lastSeenAt", "id") AS "ids",
      (SELECT count(*)::int FROM theirs) AS "count",
      (SELECT GREATEST(1, ceil(extract(epoch FROM min(LEAST("lastSeenAt" + ${day}, "expiresAt")) - statement_timestamp())))::int FROM theirs) AS "retryAfterSeconds"`
  return row ?? { ids: [], count: 0, retryAfterSeconds: 1 }
}
