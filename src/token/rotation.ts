import { Prisma, type Queryable } from '../database/database.js'
import { toNetwork } from '../network.js'
import { judge, type SessionRecord } from '../session/session.js'
import {
  live,
  notBanned,
  onPrimary,
  toSessionRecord,
  sessionColumns,
  userColumns,
  type JoinedRow
} from '../session/store.js'
import type { ErrorCode } from '../errors.js'
import type { RefreshToken } from './refresh-token.js'

/** The refresh state of a session: one family, one row, one lock. */
export interface RefreshState {
  refreshGeneration: number
  refreshHash: string | null
  previousRefreshHash: string | null
  rotatedAt: Date | null
  rotationSalt: string | null
  rotationPepper: string | null
  idempotencyHash: string | null
}

/** A session with its user and its refresh state, at one time of the database's clock. */
export interface RefreshRecord extends SessionRecord {
  refresh: RefreshState
}

/** A refresh token, with what was sent beside it. */
export interface RefreshAttempt {
  token: RefreshToken
  clientId: string | null
  idempotencyHash: string | null
}

/**
 * The verdict: rotate, give the same answer again, end the session, or refuse and change nothing.
 */
export type Verdict = 'rotate' | 'replay' | 'reuse' | { refuse: ErrorCode }

/**
 * Decides on a refresh attempt by the row at one time. A generation never comes back, so a token
 * that is reused now stays reused. A used token is answered with the same successor only while that
 * cannot hide a theft: for a fixed time, or for a client that knows the idempotency key while the
 * successor has not been used. The window never moves.
 */
export function judgeRefresh(
  record: RefreshRecord,
  { token, clientId, idempotencyHash }: RefreshAttempt,
  graceSeconds: number
): Verdict {
  const check = judge(record)
  // A client that comes after a detected reuse gets that as the code, and not merely that the
  // session has ended.
  if (!check.active)
    return {
      refuse: record.session.revokedReason === 'refresh_reused' ? 'refresh_reused' : check.cause
    }
  const { refreshGeneration, refreshHash, previousRefreshHash, rotatedAt } = record.refresh
  if (refreshHash === null || token.generation > refreshGeneration)
    return { refuse: 'refresh_unknown' }
  if (clientId !== null && clientId !== record.session.clientId)
    return { refuse: 'client_mismatch' }
  if (token.generation === refreshGeneration)
    return token.hash === refreshHash ? 'rotate' : { refuse: 'refresh_unknown' }
  if (token.generation < refreshGeneration - 1 || token.hash !== previousRefreshHash || !rotatedAt)
    return 'reuse'
  const isRecent = record.now.getTime() - rotatedAt.getTime() <= graceSeconds * 1000
  return isRecent ||
    (idempotencyHash !== null && idempotencyHash === record.refresh.idempotencyHash)
    ? 'replay'
    : 'reuse'
}

/** The data that a rotation writes. */
export interface Rotation extends RefreshAttempt {
  /** The successor's hash. */
  hash: string
  salt: string
  pepperId: string
  idleTtlSeconds: number
  ipAddress: string | null
}

/**
 * How many of a session's last events are searched for a network, and how many networks a day are
 * noted at most.
 */
const RECENT_EVENTS = 50

/**
 * Rotates the refresh token of a session in one statement, if `token` is the current one of a
 * session that has not ended. This is the common case. A revocation takes the same row's lock, so
 * one of the two comes first. The idle expiry moves, the absolute one never. The idle expiry of a
 * derived session never moves past that of its source. The row counts refreshes. An event is
 * written only for a network that none of the last events names.
 *
 * @returns the session after it; null when the statement changed nothing and the row must be read.
 *   `waited`: another transaction changed the session while the statement waited for its row, and
 *   perhaps also the user, who is returned as before
 */
export async function rotate(
  db: Queryable,
  rotation: Rotation
): Promise<{ record: SessionRecord; waited: boolean } | null> {
  const { token, clientId, idempotencyHash, hash, salt, pepperId, idleTtlSeconds, ipAddress } =
    rotation
  const network = toNetwork(ipAddress)
  const [row] = await db.$queryRaw<(JoinedRow & { versionBefore: number })[]>`
    WITH rotated AS (
      UPDATE "session" s SET "previousRefreshHash" = s."refreshHash", "refreshHash" = ${hash}, "refreshGeneration" = s."refreshGeneration" + 1,
        "rotatedAt" = clock_timestamp(), "rotationSalt" = ${salt}, "rotationPepper" = ${pepperId}, "idempotencyHash" = ${idempotencyHash},
        "firstRefreshAt" = CASE WHEN s."refreshGeneration" = 0 THEN clock_timestamp() ELSE s."firstRefreshAt" END,
        "firstRefreshAddress" = CASE WHEN s."refreshGeneration" = 0 THEN ${ipAddress} ELSE s."firstRefreshAddress" END,
        "lastRefreshAddress" = ${ipAddress}, "network" = COALESCE(${network}, s."network"), "generationReplays" = 0,
        "expiresAt" = GREATEST(s."expiresAt", LEAST(clock_timestamp() + ${idleTtlSeconds}::int * interval '1 second', s."absoluteExpiresAt",
          (SELECT origin."expiresAt" FROM "session" origin WHERE origin."id" = s."sourceSessionId"))),
        "lastSeenAt" = GREATEST(s."lastSeenAt", clock_timestamp()), "updatedAt" = clock_timestamp(), "version" = s."version" + 1
      FROM (SELECT * FROM "user" WHERE ${notBanned}) u, (SELECT "id", "version" AS "versionBefore", "network" AS "networkBefore" FROM "session") seen
      WHERE s."id" = ${token.sessionId} AND seen."id" = s."id" AND u."id" = s."userId" AND s."refreshGeneration" = ${token.generation}::int AND s."refreshHash" = ${token.hash}
        AND (${clientId}::text IS NULL OR s."clientId" = ${clientId}) AND ${live}
      RETURNING ${sessionColumns}, ${userColumns}, seen."versionBefore", seen."networkBefore"
    ), moved AS (
      SELECT "id", "userId" FROM rotated WHERE "networkBefore" <> ${network}
    ), recent AS (
      SELECT "type", "cause", "at" FROM "session_event" WHERE "sessionId" = (SELECT "id" FROM moved) ORDER BY "id" DESC LIMIT ${RECENT_EVENTS}
    ), events AS (
      INSERT INTO "session_event" ("sessionId", "userId", "type", "cause", "ipAddress")
      SELECT "id", "userId", 'new_network', ${network}, ${ipAddress} FROM moved
      WHERE NOT EXISTS (SELECT 1 FROM recent WHERE "type" = 'new_network' AND "cause" = ${network})
        AND (SELECT count(*) FROM recent WHERE "type" = 'new_network' AND "at" > statement_timestamp() - interval '1 day') < ${RECENT_EVENTS}
    )
    SELECT *, clock_timestamp() AS "now" FROM rotated`
  if (!row) return null
  // PostgreSQL re-reads only the row that it waited for. The user is still as the statement first
  // saw them.
  return { record: toSessionRecord(row), waited: row.version !== row.versionBefore + 1 }
}

/**
 * Reads a session with its refresh state in one statement, so that the verdict is based on one
 * time.
 */
export async function findFamily(db: Queryable, sessionId: string): Promise<RefreshRecord | null> {
  const [row] = await db.$queryRaw<(JoinedRow & RefreshState)[]>`
    SELECT ${sessionColumns}, ${userColumns}, ${refreshColumns}, clock_timestamp() AS "now"
    FROM "session" s LEFT JOIN "user" u ON u."id" = s."userId" WHERE ${onPrimary} AND s."id" = ${sessionId}`
  if (!row) return null
  const {
    refreshGeneration,
    refreshHash,
    previousRefreshHash,
    rotatedAt,
    rotationSalt,
    rotationPepper,
    idempotencyHash
  } = row
  const refresh = {
    refreshGeneration,
    refreshHash,
    previousRefreshHash,
    rotatedAt,
    rotationSalt,
    rotationPepper,
    idempotencyHash
  }
  return { ...toSessionRecord(row), refresh }
}

const refreshColumns = Prisma.raw(
  [
    'refreshGeneration',
    'refreshHash',
    'previousRefreshHash',
    'rotatedAt',
    'rotationSalt',
    'rotationPepper',
    'idempotencyHash'
  ]
    .map((name) => `s."${name}"`)
    .join(', ')
)

/**
 * Counts that an answer was given again. Only the first time in each generation writes an event, so
 * a client that loops leaves no more.
 */
export async function noteReplay(
  db: Queryable,
  { session: { id } }: SessionRecord,
  ipAddress: string | null
): Promise<void> {
  await db.$executeRaw`
    WITH noted AS (
      UPDATE "session" SET "replayCount" = "replayCount" + 1, "generationReplays" = "generationReplays" + 1
      WHERE "id" = ${id} RETURNING "id", "userId", "generationReplays"
    )
    INSERT INTO "session_event" ("sessionId", "userId", "type", "ipAddress")
    SELECT "id", "userId", 'refresh_replayed', ${ipAddress} FROM noted WHERE "generationReplays" = 1`
}

/**
 * Notes a reused token in the events of a session that has not ended, and locks the session, which
 * is about to end.
 */
export async function noteReuse(
  db: Queryable,
  sessionId: string,
  ipAddress: string | null
): Promise<void> {
  await db.$executeRaw`
    INSERT INTO "session_event" ("sessionId", "userId", "type", "ipAddress")
    SELECT "id", "userId", 'refresh_reused', ${ipAddress} FROM "session" WHERE "id" = ${sessionId} AND "revokedAt" IS NULL FOR UPDATE`
}

/** Ends a refresh family but not its session: none of its refresh tokens is valid any more. */
export async function endFamily(db: Queryable, sessionId: string): Promise<void> {
  await db.$executeRaw`UPDATE "session" SET "refreshHash" = NULL, "previousRefreshHash" = NULL, "idempotencyHash" = NULL WHERE "id" = ${sessionId}`
}
