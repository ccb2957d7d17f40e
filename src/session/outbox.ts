import { Prisma, type Queryable } from '../database/database.js'
import { inBatches } from '../database/pace.js'
import { chunk } from '../chunk.js'

/** A committed change of a session. Cached copies must not outlive it. */
export interface Change {
  sessionId: string
  version: number
  /** Why the session was revoked. Null where only what a check shows has changed. */
  reason: string | null
}

/** A change in the outbox. */
export interface OutboxRow extends Change {
  id: string
}

type Paged = OutboxRow & { transactionId: bigint }

/** Rows that one statement of the tail or the clean-up takes at most. */
const PAGE = 5_000
/** Changes that one statement looks for, releases or confirms at most. */
const CHANGES = 1_000
/** The count of open changes stops at this number. */
const COUNTED = 100_000

/** The writer of a row has this long to confirm it. After that any node may. */
const CLAIM_MS = 3_000

/**
 * The part of a statement that writes outbox rows for the sessions that its step `changed` returned
 * (columns id, userId, version). It belongs in the statement of the change itself, so that both
 * commit together.
 *
 * @param reason why they were revoked: one for all, or a column of that step; null where they were
 *   not
 */
export function intoOutbox(changed: string, reason: string | Prisma.Sql | null): Prisma.Sql {
  return Prisma.sql`
    INSERT INTO "outbox" ("sessionId", "userId", "version", "reason", "transactionId", "claimedUntil")
    SELECT "id", "userId", "version", ${reason}, pg_current_xact_id()::text::bigint, clock_timestamp() + ${CLAIM_MS}::int * interval '1 millisecond'
    FROM ${Prisma.raw(`"${changed}"`)}`
}

/**
 * Claims unconfirmed rows whose writer has had its time. The claim lasts a while and holds no
 * transaction.
 */
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
  for (const piece of chunk(changes, CHANGES)) {
    await db.$executeRaw`
      UPDATE "outbox" SET "claimedUntil" = NULL WHERE "sessionId" = ANY(${piece.map((change) => change.sessionId)}::text[]) AND "doneAt" IS NULL`
  }
}

/** Notes that every cache has applied these changes. */
export async function confirmChanges(db: Queryable, changes: readonly Change[]): Promise<void> {
  for (const piece of chunk(changes, CHANGES)) {
    await db.$executeRaw`
      UPDATE "outbox" o SET "doneAt" = clock_timestamp()
      FROM unnest(${piece.map((change) => change.sessionId)}::text[], ${piece.map((change) => change.version)}::int[]) AS c ("sessionId", "version")
      WHERE o."sessionId" = c."sessionId" AND o."version" <= c."version" AND o."doneAt" IS NULL`
  }
}

/** Counts the changes that no node has confirmed yet. The count stops at a hundred thousand. */
export async function countUnconfirmed(db: Queryable): Promise<number> {
  const [row] = await db.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS "count" FROM (SELECT 1 FROM "outbox" WHERE "doneAt" IS NULL LIMIT ${COUNTED}) open`
  return row?.count ?? 0
}

/**
 * The unconfirmed changes of these sessions, of the sessions that ended with them, and of all
 * sessions of these users.
 */
export async function findUnconfirmed(
  db: Queryable,
  sessionIds: readonly string[],
  userIds: readonly string[] = []
): Promise<Change[]> {
  const found: Change[] = []
  for (const piece of chunk(sessionIds, CHANGES)) {
    found.push(
      ...(await db.$queryRaw<Change[]>`
      SELECT "sessionId", "version", "reason" FROM "outbox"
      WHERE ("sessionId" = ANY(${piece}::text[]) OR "sourceSessionId" = ANY(${piece}::text[])) AND "doneAt" IS NULL`)
    )
  }
  if (userIds.length > 0) found.push(...(await findUnconfirmedChanges(db, userIds)))
  return found
}

/**
 * A session that a statement has ended. `hasDerived`: sessions that began by its one-time tokens
 * may have ended with it.
 */
export type Ended = Change & { hasDerived: boolean }

/**
 * The sessions that a statement has ended, with those that ended through them
 * (`holdfast_source_ended` in the migrations). Call it before the transaction commits, or right
 * after it. A change that is missing then has been confirmed by another node.
 */
export async function withDerived(db: Queryable, ended: readonly Ended[]): Promise<Change[]> {
  const changes = ended.map(({ sessionId, version, reason }): Change => ({
    sessionId,
    version,
    reason
  }))
  const sources = ended.flatMap(({ sessionId, hasDerived }) => (hasDerived ? [sessionId] : []))
  for (const piece of chunk(sources, CHANGES)) {
    changes.push(
      ...(await db.$queryRaw<Change[]>`
      SELECT "sessionId", "version", "reason" FROM "outbox" WHERE "sourceSessionId" = ANY(${piece}::text[]) AND "doneAt" IS NULL`)
    )
  }
  return changes
}

/** Reads in pages. Rows of nodes from before `userId` was kept are found by their session. */
async function findUnconfirmedChanges(
  db: Queryable,
  userIds: readonly string[]
): Promise<Change[]> {
  const found: Change[] = []
  let after: string | undefined = ''
  while (after !== undefined) {
    const page: OutboxRow[] = await db.$queryRaw<OutboxRow[]>`
      (SELECT "id", "sessionId", "version", "reason" FROM "outbox"
        WHERE "userId" = ANY(${userIds}::text[]) AND "doneAt" IS NULL AND "id" > ${after} ORDER BY "id" LIMIT ${CHANGES})
      UNION ALL
      (SELECT o."id", o."sessionId", o."version", o."reason" FROM "outbox" o JOIN "session" s ON s."id" = o."sessionId"
        WHERE o."userId" IS NULL AND o."doneAt" IS NULL AND o."id" > ${after} AND s."userId" = ANY(${userIds}::text[]) ORDER BY o."id" LIMIT ${CHANGES})
      ORDER BY "id" LIMIT ${CHANGES}`
    found.push(...page.map(({ sessionId, version, reason }) => ({ sessionId, version, reason })))
    after = page.length === CHANGES ? page.at(-1)?.id : undefined
  }
  return found
}

/**
 * Reads what was committed since the last call, confirmed or not. It pages by transaction ids from
 * the last snapshot's xmin, never by "id greater than the last seen": ids are given before commit,
 * so a late committer would be skipped. Rows may come twice.
 *
 * @param since the `next` of the last call; 0 reads all that is kept
 * @param apply called with one page after the other, so that a revocation of a hundred thousand
 *   sessions is never in memory as a whole
 * @returns also what the database's clock showed when the read began
 */
export async function tailOutbox(
  db: Queryable,
  since: bigint,
  apply: (rows: OutboxRow[]) => Promise<void>
): Promise<{ next: bigint; now: Date | null }> {
  // The snapshot's edge is read first: a change that commits between the two statements is read
  // twice instead of never.
  const [edge] = await db.$queryRaw<{ xmin: bigint; now: Date }[]>`
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS "xmin", clock_timestamp() AS "now"`
  let last: Paged | undefined
  do {
    const page: Paged[] = await db.$queryRaw<Paged[]>`
      SELECT "id", "sessionId", "version", "reason", "transactionId" FROM "outbox"
      WHERE "transactionId" >= ${since}::bigint AND ("transactionId", "id") > (${last?.transactionId ?? -1n}::bigint, ${last?.id ?? ''})
      ORDER BY "transactionId", "id" LIMIT ${PAGE}`
    await apply(page)
    last = page.length === PAGE ? page.at(-1) : undefined
  } while (last)
  return { next: edge?.xmin ?? since, now: edge?.now ?? null }
}

/**
 * Removes rows that are older than any copy from before them can be.
 *
 * @param confirmed whether only confirmed rows may go; false for a process that is alone on its
 *   store
 * @param now monotonic milliseconds, for the size of batches
 */
export async function purgeOutbox(
  db: Queryable,
  keepMs: number,
  now: () => number,
  { confirmed }: { confirmed: boolean }
): Promise<void> {
  const old = Prisma.sql`statement_timestamp() - ${keepMs}::int * interval '1 millisecond'`
  // Each by the index on "doneAt", "createdAt". A row is never confirmed before it was created, so
  // the second condition loses none.
  await purgeWhere(db, now, Prisma.sql`"doneAt" < ${old} AND "createdAt" < ${old}`)
  if (!confirmed) await purgeWhere(db, now, Prisma.sql`"doneAt" IS NULL AND "createdAt" < ${old}`)
}

async function purgeWhere(db: Queryable, now: () => number, removable: Prisma.Sql): Promise<void> {
  await inBatches(
    now,
    (rows) => db.$executeRaw`
      DELETE FROM "outbox" WHERE ctid = ANY(ARRAY(SELECT ctid FROM "outbox" WHERE ${removable} LIMIT ${rows} FOR UPDATE SKIP LOCKED))`
  )
}
