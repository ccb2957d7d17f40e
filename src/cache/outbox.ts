import { Prisma, type Queryable } from '../database/database.js'

/** A change of a session that is committed, and that cached copies must not outlive. */
export interface Change {
  sessionId: string
  version: number
  /** Why it was revoked; null where only what it shows has changed. */
  reason: string | null
}

/** A change in the outbox. */
export interface OutboxRow extends Change {
  id: string
}

type Paged = OutboxRow & { transactionId: bigint }

/** Rows that one statement of the tail reads at most. */
const PAGE = 5_000

/** The writer of a row confirms it itself for this long; then any node may. */
const CLAIM_MS = 3_000

/**
 * The part of a statement that writes outbox rows for the sessions that its step `changed` returned (columns id, userId, version).
 * It stands in the statement of the change itself: whoever commits the one commits the other.
 */
export function intoOutbox(changed: string, reason: string | null): Prisma.Sql {
  return Prisma.sql`
    INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId", "claimedUntil")
    SELECT "id", "userId", "version", ${reason}, pg_current_xact_id()::text::bigint, clock_timestamp() + ${CLAIM_MS}::int * interval '1 millisecond'
    FROM ${Prisma.raw(`"${changed}"`)}`
}

/** Takes rows that nobody has confirmed and whose writer has had its time, for a while and without holding a transaction. */
export async function claimUnconfirmed(db: Queryable): Promise<OutboxRow[]> {
  return db.$queryRaw<OutboxRow[]>`
    UPDATE "outbox" SET "claimedUntil" = clock_timestamp() + ${CLAIM_MS}::int * interval '1 millisecond'
    WHERE "id" IN (
      SELECT "id" FROM "outbox" WHERE "doneAt" IS NULL AND ("claimedUntil" IS NULL OR "claimedUntil" < clock_timestamp())
      ORDER BY "createdAt" LIMIT 500 FOR UPDATE SKIP LOCKED
    )
    RETURNING "id", "sessionId", "version", "reason"`
}

/** Lets any node confirm these changes at once. */
export async function releaseClaims(db: Queryable, changes: readonly Change[]): Promise<void> {
  await db.$executeRaw`
    UPDATE "outbox" SET "claimedUntil" = NULL WHERE "sessionId" = ANY(${changes.map((change) => change.sessionId)}::text[]) AND "doneAt" IS NULL`
}

/** Notes that every cache has heard of these changes. */
export async function confirmChanges(db: Queryable, changes: readonly Change[]): Promise<void> {
  await db.$executeRaw`
    UPDATE "outbox" o SET "doneAt" = clock_timestamp()
    FROM unnest(${changes.map((change) => change.sessionId)}::text[], ${changes.map((change) => change.version)}::int[]) AS c ("sessionId", "version")
    WHERE o."sessionId" = c."sessionId" AND o."version" <= c."version" AND o."doneAt" IS NULL`
}

/** How many changes no node has confirmed yet. */
export async function countUnconfirmed(db: Queryable): Promise<number> {
  const [row] = await db.$queryRaw<{ count: number }[]>`SELECT count(*)::int AS "count" FROM "outbox" WHERE "doneAt" IS NULL`
  return row?.count ?? 0
}

/** The changes of these sessions, and of all sessions of these users, that no node has confirmed yet. */
export async function findUnconfirmed(db: Queryable, sessionIds: readonly string[], userIds: readonly string[] = []): Promise<Change[]> {
  return db.$queryRaw<Change[]>`
    SELECT "sessionId", "version", "reason" FROM "outbox" WHERE "sessionId" = ANY(${sessionIds}::text[]) AND "doneAt" IS NULL
    UNION
    SELECT o."sessionId", o."version", o."reason" FROM "outbox" o JOIN "session" s ON s."id" = o."sessionId"
    WHERE s."userId" = ANY(${userIds}::text[]) AND o."doneAt" IS NULL`
}

/**
 * Reads what was committed since the last call, confirmed or not. It goes by transaction ids from the last snapshot's xmin, never by "id
 * greater than the last seen": ids are given before commit, and a late committer would be skipped. Rows may come twice.
 *
 * @param since the `next` of the last call; 0 reads all that is kept
 */
export async function tailOutbox(db: Queryable, since: bigint): Promise<{ rows: OutboxRow[], next: bigint }> {
  // The snapshot's edge is read first: what commits between the two statements is read twice, not never.
  const [edge] = await db.$queryRaw<{ xmin: bigint }[]>`SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS "xmin"`
  const next = edge?.xmin ?? since
  const rows: OutboxRow[] = []
  let last: Paged | undefined
  do {
    // By pages: what ends a hundred thousand sessions at once would else not be read within a statement's time.
    const page: Paged[] = await db.$queryRaw<Paged[]>`
      SELECT "id", "sessionId", "version", "reason", "transactionId" FROM "outbox"
      WHERE "transactionId" >= ${since}::bigint AND ("transactionId", "id") > (${last?.transactionId ?? -1n}::bigint, ${last?.id ?? ''})
      ORDER BY "transactionId", "id" LIMIT ${PAGE}`
    rows.push(...page)
    last = page.length === PAGE ? page.at(-1) : undefined
  } while (last)
  return { rows, next }
}

/**
 * Removes rows that are older than any copy of their time can be.
 *
 * @param confirmed whether only confirmed rows may go; a lone process has nobody to confirm to
 */
export async function purgeOutbox(db: Queryable, keepMs: number, { confirmed }: { confirmed: boolean }): Promise<void> {
  const old = Prisma.sql`statement_timestamp() - ${keepMs}::int * interval '1 millisecond'`
  // Each by the index on "doneAt", "createdAt". A row is never confirmed before it is made.
  await purgeWhere(db, Prisma.sql`"doneAt" < ${old} AND "createdAt" < ${old}`)
  if (!confirmed) await purgeWhere(db, Prisma.sql`"doneAt" IS NULL AND "createdAt" < ${old}`)
}

async function purgeWhere(db: Queryable, removable: Prisma.Sql): Promise<void> {
  for (;;) {
    const removed = await db.$executeRaw`
      DELETE FROM "outbox" WHERE ctid = ANY(ARRAY(SELECT ctid FROM "outbox" WHERE ${removable} LIMIT ${PAGE} FOR UPDATE SKIP LOCKED))`
    if (removed < PAGE) return
  }
}
