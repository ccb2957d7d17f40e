import { intoImpersonationsEnded } from '../account/store.js'
import { intoOutbox, withDerived, type Change } from './outbox.js'
import { Prisma, type Queryable } from '../database/database.js'
import { toNetwork } from '../network.js'
import type { PageWanted } from '../page.js'
import { userAgentFrom } from '../user-agent.js'
import type {
  ListedSession,
  PastSession,
  RevocationReason,
  SessionEvent,
  SessionRecord,
  SessionRow,
  UserRow
} from './session.js'

/**
 * The life of an impersonation: an hour. At the cap, an administrator may wait that long for one to
 * end.
 */
const LONGEST_IMPERSONATION_SECONDS = 3_600

/** The data of a new session. Durations are in seconds and are counted on the database's clock. */
export interface NewSession {
  id: string
  hash: string
  userId: string
  idleTtlSeconds: number
  absoluteTtlSeconds: number
  ipAddress: string | null
  userAgent: string | null
  /**
   * The device's name. Where it is null, the name of the session that this one replaces, if that is
   * the same user's.
   */
  name: string | null
  amr: string[]
  impersonatedBy: string | null
  /**
   * The administrator who impersonates, as read when that was authorised: epoch, and role where it
   * counts.
   */
  impersonator: { epoch: number | null; role: string | null } | null
  /**
   * The user's epoch as read before the credential was verified. Null where no credential was
   * verified.
   */
  credentialEpoch: number | null
  /** The session that authorises this one. It must still be active. */
  actingSessionId: string | null
  /** The session of this browser that the new one replaces (ASVS 7.2.4), and why. */
  replaces: { sessionId: string; hash: string; reason: RevocationReason } | null
  /**
   * The session from which this one derives, by a one-time token or as an impersonation. It must
   * still be active. The new session never lives longer, and ends with that session; in a chain,
   * with the first one. Where the first one is the session that it replaces, the new one takes its
   * place. From a source of the same user it takes over the time of authentication, because the
   * user has not authenticated again.
   */
  sourceSessionId: string | null
  /** When a credential was verified in it: now, as in the session that it continues, or never. */
  reauth: 'now' | 'none' | { asIn: string }
  /**
   * The first refresh token's hash, and the id of the pepper that made it. Null where no refresh
   * family begins.
   */
  refresh: { hash: string; pepperId: string } | null
}

/**
 * The result of `insertSession`. `changed`: the user is gone, banned or changed. `full`: there is
 * no room for the session. `role`: the user's role when it began.
 */
export type Inserted =
  | { outcome: 'inserted'; row: SessionRow; role: string | null; replaced: Change[] }
  | { outcome: 'changed' }
  | { outcome: 'full'; retryAfterSeconds: number }

/**
 * The columns of a session `s` and of its user `u` that make a `SessionRecord` (`toSessionRecord`).
 */
export const sessionColumns =
  Prisma.raw(`s."id", s."token", s."userId", s."issuedAt", s."updatedAt", s."expiresAt", s."absoluteExpiresAt",
  s."revokedAt", s."revokedReason", s."version", s."ipAddress", s."userAgent", s."name", s."lastSeenAt", s."amr", s."authTime", s."impersonatedBy", s."clientId"`)

export const userColumns =
  Prisma.raw(`u."id" AS "u_id", u."name" AS "u_name", u."email" AS "u_email", u."emailVerified" AS "u_emailVerified",
  u."image" AS "u_image", u."role" AS "u_role", u."banned" AS "u_banned", u."banReason" AS "u_banReason", u."banExpires" AS "u_banExpires",
  u."twoFactorEnabled" AS "u_twoFactorEnabled", u."credentialEpoch" AS "u_credentialEpoch", u."createdAt" AS "u_createdAt", u."updatedAt" AS "u_updatedAt"`)

/**
 * Conditions on a row of `session`, of `user`: the session has not ended, the user may sign in. The
 * time of the statement lets an index find the rows; `clock_timestamp()` may differ from row to row
 * and cannot. It is compared as well, because the statement may have waited for a lock.
 */
export const live = Prisma.raw(`"revokedAt" IS NULL AND "expiresAt" > statement_timestamp()
  AND "expiresAt" > clock_timestamp() AND "absoluteExpiresAt" > clock_timestamp()`)

/**
 * Conditions on rows that a revocation ends: live sessions, and those that would live again if the
 * database's clock were set back by less than an hour. Sessions that expired longer ago are
 * skipped, because there may be very many.
 */
export const endable = Prisma.raw(
  `"revokedAt" IS NULL AND "expiresAt" > statement_timestamp() - interval '1 hour'`
)

export const notBanned = Prisma.raw(
  `NOT (COALESCE("banned", false) AND ("banExpires" IS NULL OR "banExpires" > clock_timestamp()))`
)

/**
 * `sessionColumns` and `userColumns` with the database's clock. The user's columns are null where
 * the user has been deleted.
 */
export type JoinedRow = SessionRow & { [Name in keyof UserRow as `u_${Name}`]: UserRow[Name] } & {
  now: Date
}

/**
 * Inserts a session with its first event, and revokes the one it replaces, in one statement.
 *
 * The user's row is locked and must still have the epoch under which the credential was verified. A
 * change of password or a ban locks the same row first, so a sign-in with the old password cannot
 * outlive it. Sessions are locked after the user, as there. The lock puts the sign-ins of one user
 * in sequence, so each counts those before it. Impersonations take no exclusive lock and are
 * counted per administrator: those that begin at the same moment may exceed the cap.
 *
 * A session that derives from another locks that one and the first one of the chain. The first is
 * marked: a statement that ends it gets its row only after this statement, and so ends the new
 * session with it.
 *
 * @param cap how many sessions may live, with this one and without the one it replaces; null where
 *   room has been made
 * @returns the session, with the changes of the replaced one
 */
export async function insertSession(
  db: Queryable,
  session: NewSession,
  cap: number | null
): Promise<Inserted> {
  const userAgent = userAgentFrom(session.userAgent)
  const { replaces } = session
  const continued = typeof session.reauth === 'object' ? session.reauth.asIn : null
  const [row] = await db.$queryRaw<
    (SessionRow & {
      replacedId: string | null
      replacedVersion: number | null
      replacedHasDerived: boolean | null
      free: boolean | null
      role: string | null
    })[]
  >`
    WITH clock AS (
      SELECT clock_timestamp() AS now
    ), owner AS (
      SELECT "id", "role" FROM "user"
      WHERE "id" = ${session.userId}
        AND (${session.credentialEpoch}::int IS NULL OR "credentialEpoch" = ${session.credentialEpoch}::int)
        AND ${notBanned}
      ${Prisma.raw(session.impersonatedBy === null ? 'FOR NO KEY UPDATE' : 'FOR SHARE')}
    ), room AS MATERIALIZED (
      SELECT ${cap}::int IS NULL OR "holdfast_live_sessions"("id", ${session.impersonatedBy}, ${replaces?.sessionId ?? null}, ${cap}::int) < ${cap}::int AS "free" FROM owner
    ), impersonator AS (
      SELECT "id" FROM "user"
      WHERE "id" = ${session.impersonatedBy} AND EXISTS (SELECT 1 FROM owner)
        AND (${session.impersonator?.epoch ?? null}::int IS NULL OR "credentialEpoch" = ${session.impersonator?.epoch ?? null}::int)
        AND (${session.impersonator?.role ?? null}::text IS NULL OR "role" = ${session.impersonator?.role ?? null})
        AND ${notBanned}
      FOR SHARE
    ), lineage AS (
      SELECT "id", "sourceSessionId", "expiresAt", "absoluteExpiresAt", CASE WHEN "userId" = ${session.userId} THEN "authTime" END AS "authTime",
        "id" = ${replaces?.sessionId ?? null} AND "token" = ${replaces?.hash ?? null} AS "replaced"
      FROM "session"
      WHERE "id" IN (${session.sourceSessionId}, (SELECT "sourceSessionId" FROM "session" WHERE "id" = ${session.sourceSessionId}))
        AND "userId" IN (${session.userId}, ${session.impersonatedBy}) AND ${live} AND EXISTS (SELECT 1 FROM owner) ORDER BY "id" FOR NO KEY UPDATE
    ), source AS (
      SELECT source."id", source."authTime", source."absoluteExpiresAt", CASE WHEN first."replaced" THEN NULL ELSE first."id" END AS "endsWith",
        CASE WHEN first."replaced" THEN NULL ELSE first."expiresAt" END AS "idleNotAfter"
      FROM lineage source JOIN lineage first ON first."id" = COALESCE(source."sourceSessionId", source."id")
      WHERE source."id" = ${session.sourceSessionId}
    ), authority AS (
      SELECT "id" FROM "session" WHERE "id" = ${session.actingSessionId} AND ${live} AND EXISTS (SELECT 1 FROM owner) FOR SHARE
    ), allowed AS (
      SELECT owner."id", source."authTime", source."absoluteExpiresAt" AS "notAfter", source."endsWith", source."idleNotAfter" FROM owner LEFT JOIN source ON true
      WHERE (SELECT "free" FROM room) AND (${session.sourceSessionId}::text IS NULL OR source."id" IS NOT NULL)
        AND (${session.impersonatedBy}::text IS NULL OR EXISTS (SELECT 1 FROM impersonator))
        AND (${session.actingSessionId}::text IS NULL OR EXISTS (SELECT 1 FROM authority))
    ), marked AS (
      UPDATE "session" SET "hasDerived" = true WHERE "id" = (SELECT "endsWith" FROM allowed) AND NOT "hasDerived"
    ), replaced AS (
      UPDATE "session" SET "revokedAt" = clock_timestamp(), "revokedReason" = ${replaces?.reason ?? null}, "version" = "version" + 1, "updatedAt" = clock_timestamp()
      WHERE "id" = ${replaces?.sessionId ?? null} AND "token" = ${replaces?.hash ?? null} AND "revokedAt" IS NULL
        AND EXISTS (SELECT 1 FROM allowed)
      RETURNING "id", "userId", "version", "hasDerived", "impersonatedBy"
    ), s AS (
      INSERT INTO "session" ("id", "token", "userId", "issuedAt", "updatedAt", "lastSeenAt", "authTime", "expiresAt", "absoluteExpiresAt",
        "ipAddress", "network", "userAgent", "name", "amr", "impersonatedBy", "reauthAt", "refreshHash", "rotationPepper", "sourceSessionId")
      SELECT ${session.id}, ${session.hash}, allowed."id", now, now, now, COALESCE(allowed."authTime", now),
        LEAST(now + LEAST(${session.idleTtlSeconds}::int, ${session.absoluteTtlSeconds}::int) * interval '1 second', allowed."notAfter", allowed."idleNotAfter"),
        LEAST(now + ${session.absoluteTtlSeconds}::int * interval '1 second', allowed."notAfter"),
        ${session.ipAddress}, ${toNetwork(session.ipAddress)}, ${userAgent},
        COALESCE(${session.name}, (SELECT "name" FROM "session" WHERE "id" = ${replaces?.sessionId ?? null} AND "token" = ${replaces?.hash ?? null} AND "userId" = allowed."id")),
        ${session.amr}::text[], ${session.impersonatedBy},
        CASE WHEN ${session.reauth === 'now'}::boolean THEN now ELSE (SELECT "reauthAt" FROM "session" WHERE "id" = ${continued}) END,
        ${session.refresh?.hash ?? null}, ${session.refresh?.pepperId ?? null}, allowed."endsWith"
      FROM allowed, clock
      RETURNING *
    ), events AS (
      INSERT INTO "session_event" ("sessionId", "userId", "type", "cause", "ipAddress")
      SELECT "id", "userId", 'created', array_to_string("amr", ' '), "ipAddress" FROM s
      UNION ALL
      SELECT "id", "userId", 'revoked', ${replaces?.reason ?? null}, ${session.ipAddress} FROM replaced
    ), outbox_rows AS (${intoOutbox('replaced', replaces?.reason ?? null)}), impersonations AS (${intoImpersonationsEnded('replaced', replaces?.reason ?? null)})
    SELECT ${sessionColumns}, replaced."id" AS "replacedId", replaced."version" AS "replacedVersion", replaced."hasDerived" AS "replacedHasDerived", room."free",
      (SELECT "role" FROM owner) AS "role"
    FROM (SELECT 1) "once" LEFT JOIN room ON true LEFT JOIN s ON true LEFT JOIN replaced ON true`
  if (!row?.id)
    return row?.free === false
      ? { outcome: 'full', retryAfterSeconds: LONGEST_IMPERSONATION_SECONDS }
      : { outcome: 'changed' }
  const { replacedId, replacedVersion, replacedHasDerived, free: _free, role, ...created } = row
  if (replacedId === null) return { outcome: 'inserted', row: created, role, replaced: [] }
  const ended = {
    sessionId: replacedId,
    version: replacedVersion ?? 0,
    reason: replaces?.reason ?? null,
    hasDerived: replacedHasDerived === true
  }
  return { outcome: 'inserted', row: created, role, replaced: await withDerived(db, [ended]) }
}

/**
 * Fails on a standby, even where no rows match, because a standby may not yet have received a
 * revocation. Checking a connection when it opens is not enough: behind a pooler each statement may
 * reach another server. PostgreSQL evaluates it once for a statement.
 */
export const onPrimary = Prisma.sql`(SELECT CASE WHEN pg_is_in_recovery() THEN pg_current_wal_lsn() END) IS NULL`

/** Reads one session with its user and the database's clock: the input of a check. */
export async function findSession(db: Queryable, sessionId: string): Promise<SessionRecord | null> {
  const [row] = await db.$queryRaw<JoinedRow[]>`
    SELECT ${sessionColumns}, ${userColumns}, clock_timestamp() AS "now"
    FROM "session" s LEFT JOIN "user" u ON u."id" = s."userId" WHERE ${onPrimary} AND s."id" = ${sessionId}`
  return row ? toSessionRecord(row) : null
}

/**
 * Reads sessions as `findSession` does, any number in one statement. Missing sessions are left out.
 */
export async function findSessions(
  db: Queryable,
  sessionIds: readonly string[]
): Promise<Map<string, SessionRecord>> {
  const rows = await db.$queryRaw<JoinedRow[]>`
    SELECT ${sessionColumns}, ${userColumns}, clock_timestamp() AS "now"
    FROM "session" s LEFT JOIN "user" u ON u."id" = s."userId" WHERE ${onPrimary} AND s."id" = ANY(${sessionIds}::text[])`
  return new Map(rows.map((row) => [row.id, toSessionRecord(row)]))
}

/**
 * Reads one session inside a transaction, and keeps it from being revoked until that transaction
 * ends: a write that a session authorises must not commit after the session's revocation.
 */
export async function holdSession(db: Queryable, sessionId: string): Promise<SessionRecord | null> {
  await db.$queryRaw`SELECT 1 FROM "session" WHERE "id" = ${sessionId} FOR SHARE`
  return findSession(db, sessionId)
}

/**
 * Sessions that one statement ends, locks or bumps at most. No cap is higher, so in the end one
 * statement reaches all sessions of a user.
 */
export const ONE_STATEMENT = 1_000
/**
 * Sessions that one statement bumps for a user who has more than any cap allows. The statement has
 * to read all of them first.
 */
const FEW_OF_A_PILE = 250

/**
 * The ids of the sessions that `which` selects, the longest idle first, as many as one statement
 * ends. They are ordered by the index column only: with more columns, a planner that expects few
 * rows reads and sorts them all.
 */
export function selectOldest(which: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`SELECT "id" FROM "session" WHERE ${which} AND ${endable} ORDER BY "expiresAt" LIMIT ${ONE_STATEMENT}`
}

/**
 * As `holdSession`, for a transaction that goes on to change the sessions of a user. It locks the
 * acting session and all of those at once, in the order of their ids, as revocations do. Locking
 * the acting session first and the rest later could deadlock with a revocation.
 *
 * @param impersonations whether the sessions in which the user impersonates others are changed, too
 */
export async function holdUserSessions(
  db: Queryable,
  userId: string,
  sessionId: string,
  { impersonations }: { impersonations: boolean }
): Promise<SessionRecord | null> {
  const impersonated = Prisma.sql`UNION ALL (${selectOldest(Prisma.sql`"impersonatedBy" = ${userId}`)})`
  await db.$queryRaw`
    SELECT 1 FROM "session" WHERE "id" = ${sessionId} OR "id" = ANY(ARRAY(
      (${selectOldest(Prisma.sql`"userId" = ${userId}`)}) ${impersonations ? impersonated : Prisma.empty}
    )) ORDER BY "id" FOR UPDATE`
  return findSession(db, sessionId)
}

/** The further columns that a list shows of a session `s`. */
const countColumns =
  Prisma.raw(`s."refreshGeneration" AS "refreshCount", s."firstRefreshAt", s."firstRefreshAddress", s."rotatedAt" AS "lastRefreshAt",
  s."lastRefreshAddress", s."replayCount"`)

/** The columns of a session `s` that make a `PastSession`. */
const pastColumns = Prisma.sql`${sessionColumns}, ${countColumns},
  CASE WHEN "revokedAt" IS NOT NULL THEN 'revoked' WHEN LEAST("expiresAt", "absoluteExpiresAt") <= statement_timestamp() THEN 'expired' ELSE 'active' END AS "state",
  CASE WHEN "revokedAt" IS NOT NULL THEN "revokedAt" WHEN LEAST("expiresAt", "absoluteExpiresAt") <= statement_timestamp() THEN LEAST("expiresAt", "absoluteExpiresAt") END AS "endedAt"`

/** A page of the active sessions of a user, or of those among `sessionIds`; newest first. */
export async function listSessions(
  db: Queryable,
  filter: { userId?: string; sessionIds?: string[] },
  { limit, after }: PageWanted
): Promise<ListedSession[]> {
  const conditions = [Prisma.sql`${live}`]
  if (filter.userId !== undefined) conditions.push(Prisma.sql`"userId" = ${filter.userId}`)
  if (filter.sessionIds !== undefined)
    conditions.push(Prisma.sql`"id" = ANY(${filter.sessionIds}::text[])`)
  if (after !== undefined) conditions.push(Prisma.sql`"id" < ${after}`)
  // Found by the index of live sessions and then sorted. A scan in the order of ids would read all
  // ended sessions as well.
  return db.$queryRaw<ListedSession[]>`
    WITH found AS MATERIALIZED (SELECT "id" FROM "session" WHERE ${Prisma.join(conditions, ' AND ')}), page AS (
      SELECT "id" FROM found ORDER BY "id" DESC LIMIT ${limit}
    )
    SELECT ${sessionColumns}, ${countColumns} FROM "session" s JOIN page ON page."id" = s."id" ORDER BY s."id" DESC`
}

/**
 * A page of all sessions of a user, ended ones included, newest first. Retention removes them
 * later. The user may be gone.
 */
export async function listSessionHistory(
  db: Queryable,
  userId: string,
  { limit, after }: PageWanted,
  { endedOnly = false }: { endedOnly?: boolean } = {}
): Promise<PastSession[]> {
  const ended = endedOnly
    ? Prisma.raw(
        `AND ("revokedAt" IS NOT NULL OR LEAST("expiresAt", "absoluteExpiresAt") <= statement_timestamp())`
      )
    : Prisma.empty
  const behind = after === undefined ? Prisma.empty : Prisma.sql`AND s."id" < ${after}`
  return db.$queryRaw<PastSession[]>`
    SELECT ${pastColumns} FROM "session" s
    WHERE s."userId" = ${userId} ${ended} ${behind} ORDER BY s."id" DESC LIMIT ${limit}`
}

/** One session of a user, which may have ended. Null where the user has no such session. */
export async function findPastSession(
  db: Queryable,
  sessionId: string,
  userId: string
): Promise<PastSession | null> {
  const [found] = await db.$queryRaw<PastSession[]>`
    SELECT ${pastColumns} FROM "session" s WHERE s."id" = ${sessionId} AND s."userId" = ${userId}`
  return found ?? null
}

/**
 * A page of the events of one session, oldest first. Empty when there is no such session.
 *
 * @param userId the user whose session it must be; null where the caller may see any
 */
export async function listEvents(
  db: Queryable,
  sessionId: string,
  userId: string | null,
  { limit, after = '' }: PageWanted
): Promise<SessionEvent[]> {
  const whose = userId === null ? Prisma.empty : Prisma.sql`AND "userId" = ${userId}`
  return db.$queryRaw<SessionEvent[]>`
    SELECT "id", "type", "cause", "at", "ipAddress" FROM "session_event"
    WHERE "sessionId" = ${sessionId} ${whose} AND "id" > ${after} ORDER BY "id" LIMIT ${limit}`
}

/**
 * Notes when sessions were last used, and moves their idle expiry where that is due, in one
 * statement for all. Locked rows are skipped: a note of use is not worth waiting for, and the next
 * one says the same. Only a moved expiry bumps the version, because only it could show in a cached
 * copy. The expiry of a derived session never moves past that of its source, which its use does not
 * move.
 */
export async function touchSessions(
  db: Queryable,
  uses: ReadonlyMap<string, number>,
  idleTtlSeconds: number,
  stepSeconds: number
): Promise<void> {
  const ids = [...uses.keys()]
  const agesMs = [...uses.values()]
  await db.$executeRaw`
    WITH uses AS (
      SELECT "id", clock_timestamp() - "ageMs" * interval '1 millisecond' AS "at"
      FROM unnest(${ids}::text[], ${agesMs}::int[]) AS used ("id", "ageMs")
    ), free AS (
      SELECT s."id", uses."at", bound."at" AS "notAfter",
        s."expiresAt" < uses."at" + (${idleTtlSeconds}::int - ${stepSeconds}::int) * interval '1 second' AND s."expiresAt" < bound."at" AS "moves"
      FROM "session" s JOIN uses ON uses."id" = s."id"
        CROSS JOIN LATERAL (SELECT LEAST(s."absoluteExpiresAt", (SELECT origin."expiresAt" FROM "session" origin WHERE origin."id" = s."sourceSessionId")) AS "at") bound
      WHERE ${live} ORDER BY s."id" FOR UPDATE OF s SKIP LOCKED
    )
    UPDATE "session" s SET
      "lastSeenAt" = GREATEST(s."lastSeenAt", free."at"),
      "expiresAt" = CASE WHEN free."moves" THEN LEAST(free."at" + ${idleTtlSeconds}::int * interval '1 second', free."notAfter") ELSE s."expiresAt" END,
      "version" = s."version" + CASE WHEN free."moves" THEN 1 ELSE 0 END
    FROM free WHERE s."id" = free."id"`
}

/** The result of one statement of a change that reaches all sessions of a user. */
export interface BumpedPage {
  changes: Change[]
  /** The smallest id of the page. The next page ends before it. Null where nothing is left. */
  lastId: string | null
}

/**
 * Bumps the version of a user's active sessions, because what a check shows of the user has
 * changed. In the change's transaction it bumps the newest ones: as many as a cap allows, or fewer
 * where there are more, to keep within the statement's time limit. Call it after the commit for the
 * others.
 *
 * @param older the remaining sessions: those with a smaller id than `before`, at most this many
 */
export async function bumpUserSessions(
  db: Queryable,
  userId: string,
  older: { before: string; rows: number } | null = null
): Promise<BumpedPage> {
  const newest = Prisma.sql`CASE WHEN (SELECT count(*) FROM found) > ${ONE_STATEMENT}::int THEN ${FEW_OF_A_PILE}::int ELSE ${ONE_STATEMENT}::int END`
  const page = await db.$queryRaw<{ sessionId: string; version: number | null; isMore: boolean }[]>`
    WITH found AS MATERIALIZED (
      SELECT "id" FROM "session" WHERE "userId" = ${userId} AND ${live}
    ), page AS MATERIALIZED (
      SELECT "id" FROM found ${older ? Prisma.sql`WHERE "id" < ${older.before}` : Prisma.empty}
      ORDER BY "id" DESC LIMIT ${older ? Prisma.sql`${older.rows}::int` : newest}
    ), bumped AS (
      UPDATE "session" s SET "version" = s."version" + 1, "updatedAt" = clock_timestamp()
      FROM (SELECT "id" FROM "session" WHERE "id" IN (SELECT "id" FROM page) AND ${live} ORDER BY "id" FOR UPDATE) mine
      WHERE s."id" = mine."id" RETURNING s."id", s."userId", s."version"
    ), outbox_rows AS (${intoOutbox('bumped', null)})
    SELECT page."id" AS "sessionId", bumped."version", EXISTS (SELECT 1 FROM found WHERE "id" < (SELECT min("id") FROM page)) AS "isMore"
    FROM page LEFT JOIN bumped ON bumped."id" = page."id" ORDER BY page."id"`
  const changes = page.flatMap(({ sessionId, version }) =>
    version === null ? [] : [{ sessionId, version, reason: null }]
  )
  const [last] = page
  return { changes, lastId: last?.isMore ? last.sessionId : null }
}

/**
 * Splits the joined columns into session and user. They are named one by one, because a loop over
 * the names takes several times as long for each row.
 */
export function toSessionRecord(row: JoinedRow): SessionRecord {
  const session: SessionRow = {
    id: row.id,
    token: row.token,
    userId: row.userId,
    issuedAt: row.issuedAt,
    updatedAt: row.updatedAt,
    expiresAt: row.expiresAt,
    absoluteExpiresAt: row.absoluteExpiresAt,
    revokedAt: row.revokedAt,
    revokedReason: row.revokedReason,
    version: row.version,
    ipAddress: row.ipAddress,
    userAgent: row.userAgent,
    name: row.name,
    lastSeenAt: row.lastSeenAt,
    amr: row.amr,
    authTime: row.authTime,
    impersonatedBy: row.impersonatedBy,
    clientId: row.clientId
  }
  const user: UserRow | null =
    (row.u_id as string | null) === null
      ? null
      : {
          id: row.u_id,
          name: row.u_name,
          email: row.u_email,
          emailVerified: row.u_emailVerified,
          image: row.u_image,
          role: row.u_role,
          banned: row.u_banned,
          banReason: row.u_banReason,
          banExpires: row.u_banExpires,
          twoFactorEnabled: row.u_twoFactorEnabled,
          credentialEpoch: row.u_credentialEpoch,
          createdAt: row.u_createdAt,
          updatedAt: row.u_updatedAt
        }
  return { session, user, now: row.now }
}
