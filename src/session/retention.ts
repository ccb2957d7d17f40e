import type { Queryable } from '../database/database.js'

/** Rows a statement removes at most, so that no lock is held for long. */
const BATCH = 1_000

/** How many sessions `purgeEnded` would remove now. */
export async function countEnded(db: Queryable, retentionSeconds: number): Promise<number> {
  const [row] = await db.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS "count" FROM "session"
    WHERE "revokedAt" < clock_timestamp() - ${retentionSeconds}::int * interval '1 second' OR "expiresAt" < clock_timestamp() - ${retentionSeconds}::int * interval '1 second'`
  return row?.count ?? 0
}

/**
 * Removes sessions that ended longer ago than `retentionSeconds`, with their events, and proofs and retired signing keys that have expired. Several
 * nodes may run it at once: each skips the rows that another holds.
 *
 * @param onRemoved told after each batch how many sessions have been removed so far
 * @returns how many sessions were removed
 */
export async function purgeEnded(db: Queryable, retentionSeconds: number, onRemoved: (removed: number) => void = () => {}): Promise<number> {
  let removed = 0
  for (;;) {
    const [{ count } = { count: 0 }] = await db.$queryRaw<{ count: number }[]>`
      WITH revoked AS (
        SELECT "id" FROM "session" WHERE "revokedAt" < clock_timestamp() - ${retentionSeconds}::int * interval '1 second' LIMIT ${BATCH} FOR UPDATE SKIP LOCKED
      ), expired AS (
        SELECT "id" FROM "session" WHERE "expiresAt" < clock_timestamp() - ${retentionSeconds}::int * interval '1 second' LIMIT ${BATCH} FOR UPDATE SKIP LOCKED
      ), ended AS (
        SELECT "id" FROM revoked UNION SELECT "id" FROM expired
      ), events AS (
        DELETE FROM "session_event" WHERE "sessionId" IN (SELECT "id" FROM ended)
      ), sessions AS (
        DELETE FROM "session" WHERE "id" IN (SELECT "id" FROM ended) RETURNING "id"
      )
      SELECT count(*)::int AS "count" FROM sessions`
    removed += count
    onRemoved(removed)
    if (count === 0) break
  }
  await db.$executeRaw`DELETE FROM "verification" WHERE "expiresAt" < clock_timestamp()`
  await db.$executeRaw`DELETE FROM "signing_key" WHERE "expiresAt" < clock_timestamp()`
  return removed
}
