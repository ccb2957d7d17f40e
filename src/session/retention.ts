import { Prisma, type Queryable } from '../database/database.js'
import { inBatches, Pace, ROWS } from '../database/pace.js'

/**
 * Sessions, and rows of other tables, that one statement removes at most, so that none takes long
 * or holds a lock for long.
 */
const SESSIONS = 500
const SESSION_BATCH = { first: 50, min: 10, max: SESSIONS }
/** The count of ended sessions stops at this number. */
const COUNTED = 100_000

/*
 * Times are compared with the statement's time: clock_timestamp() may differ from row to row, so
 * PostgreSQL would read whole tables for it. Rows are removed by ctid, under the locks of the
 * batch: joined by id, a plan could read the table once more.
 */
const cutoff = (seconds: number) =>
  Prisma.sql`statement_timestamp() - ${seconds}::int * interval '1 second'`

/**
 * Counts the sessions that `purgeEnded` would remove now. The count stops at a hundred thousand.
 */
export async function countEnded(db: Queryable, retentionSeconds: number): Promise<number> {
  const [row] = await db.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS "count" FROM (
      SELECT "id" FROM (SELECT "id" FROM "session" WHERE "revokedAt" < ${cutoff(retentionSeconds)} LIMIT ${COUNTED}) revoked
      UNION
      SELECT "id" FROM (SELECT "id" FROM "session" WHERE "expiresAt" < ${cutoff(retentionSeconds)} LIMIT ${COUNTED}) expired
      LIMIT ${COUNTED}
    ) ended`
  return row?.count ?? 0
}

export interface PurgeOptions {
  /** A monotonic clock, in milliseconds. */
  now: () => number
  /** Called after each batch with the number of sessions removed so far. */
  onRemoved?: (removed: number) => void
}

/**
 * Removes what is older than `retentionSeconds`: ended sessions, each after its events; events of
 * live sessions, except their first; and challenges and retired signing keys that have expired.
 * Every statement has a bound, however much there is. Several nodes may run it at once: each skips
 * the rows that another holds.
 *
 * @returns how many sessions were removed
 */
export async function purgeEnded(
  db: Queryable,
  retentionSeconds: number,
  { now, onRemoved = () => {} }: PurgeOptions
): Promise<number> {
  const pace = new Pace(ROWS, now)
  const sessionPace = new Pace(SESSION_BATCH, now)
  let removed = 0
  for (;;) {
    const ids = await findEnded(db, retentionSeconds)
    if (ids.length === 0) break
    const events = await purgeSessionEvents(db, ids, pace)
    const sessions = await purgeSessions(db, ids, sessionPace)
    removed += sessions
    onRemoved(removed)
    if (events + sessions === 0) break // another node holds them
  }
  await purgeRoutineEvents(db, retentionSeconds, now)
  await inBatches(
    now,
    (rows) => db.$executeRaw`
    DELETE FROM "verification" WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM "verification" WHERE "expiresAt" < statement_timestamp() ORDER BY "expiresAt" LIMIT ${rows} FOR UPDATE SKIP LOCKED))`
  )
  await db.$executeRaw`DELETE FROM "signing_key" WHERE "expiresAt" < statement_timestamp()`
  return removed
}

async function findEnded(db: Queryable, retentionSeconds: number): Promise<string[]> {
  const rows = await db.$queryRaw<{ id: string }[]>`
    SELECT "id" FROM (SELECT "id" FROM "session" WHERE "revokedAt" < ${cutoff(retentionSeconds)} ORDER BY "revokedAt" LIMIT ${SESSIONS}) revoked
    UNION
    SELECT "id" FROM (SELECT "id" FROM "session" WHERE "expiresAt" < ${cutoff(retentionSeconds)} ORDER BY "expiresAt" LIMIT ${SESSIONS}) expired
    LIMIT ${SESSIONS}`
  return rows.map(({ id }) => id)
}

/**
 * Removes the events of these sessions, one session after the other, the oldest event first. A
 * batch begins where the last one ended: removed rows stay in the index for a while, and each batch
 * would read them again.
 */
async function purgeSessionEvents(
  db: Queryable,
  sessionIds: readonly string[],
  pace: Pace
): Promise<number> {
  let removed = 0
  let left = sessionIds
  let after = ''
  while (left.length > 0) {
    const {
      result: [last],
      size
    } = await pace.keep(
      (limit) => db.$queryRaw<{ removed: number; place: number; eventId: string }[]>`
      WITH picked AS MATERIALIZED (
        SELECT event.ctid AS "row", event."id", ended."place"
        FROM unnest(${left}::text[]) WITH ORDINALITY ended("id", "place") CROSS JOIN LATERAL (
          SELECT ctid, "id" FROM "session_event" WHERE "sessionId" = ended."id" AND "id" > CASE WHEN ended."place" = 1 THEN ${after} ELSE '' END
          ORDER BY "id" LIMIT ${limit} FOR UPDATE SKIP LOCKED
        ) event LIMIT ${limit}
      ), removed AS (
        DELETE FROM "session_event" WHERE ctid = ANY(ARRAY(SELECT "row" FROM picked)) RETURNING 1
      )
      SELECT (SELECT count(*)::int FROM removed) AS "removed", "place"::int, "id" AS "eventId"
      FROM picked ORDER BY "place" DESC, "id" DESC LIMIT 1`
    )
    if (!last) return removed
    removed += last.removed
    if (last.removed < size) return removed
    left = left.slice(last.place - 1)
    after = last.eventId
  }
  return removed
}

/**
 * A session that still has events stays for the next round: without it the events could not be
 * found.
 */
async function purgeSessions(
  db: Queryable,
  sessionIds: readonly string[],
  pace: Pace
): Promise<number> {
  let removed = 0
  for (let left = sessionIds; left.length > 0;) {
    const { result, size } = await pace.keep(
      (most) => db.$executeRaw`
      DELETE FROM "session" WHERE ctid = ANY(ARRAY(
        SELECT s.ctid FROM "session" s WHERE s."id" = ANY(${left.slice(0, most)}::text[])
          AND NOT EXISTS (SELECT 1 FROM "session_event" e WHERE e."sessionId" = s."id") FOR UPDATE SKIP LOCKED))`
    )
    removed += result
    left = left.slice(size)
  }
  return removed
}

/**
 * Removes old events of live sessions. Events of the type `refreshed`, which older versions wrote
 * at each refresh, go at any age. The types are literals and not parameters, so that PostgreSQL can
 * use its partial index of such events.
 */
async function purgeRoutineEvents(
  db: Queryable,
  retentionSeconds: number,
  now: () => number
): Promise<void> {
  for (const type of ['refresh_replayed', 'refresh_reused', 'new_network']) {
    const routine = Prisma.sql`"type" = ${Prisma.raw(`'${type}'`)} AND "at" < ${cutoff(retentionSeconds)}`
    await inBatches(now, (rows) => purgeEvents(db, routine, rows))
  }
  await inBatches(now, (rows) => purgeEvents(db, Prisma.sql`"type" = 'refreshed'`, rows))
}

/**
 * Ordered as the index: otherwise a planner that expects many such events reads the whole table.
 */
function purgeEvents(db: Queryable, which: Prisma.Sql, rows: number): Promise<number> {
  return db.$executeRaw`
    DELETE FROM "session_event" WHERE ctid = ANY(ARRAY(SELECT ctid FROM "session_event" WHERE ${which} ORDER BY "type", "at" LIMIT ${rows} FOR UPDATE SKIP LOCKED))`
}
