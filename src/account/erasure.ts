import { Prisma, type PrismaClient, type Queryable } from '../database/database.js'
import { inBatches } from '../database/pace.js'
import { eraseAccountEvents } from './store.js'

/*
 * Erases a user: once the end of all sessions is confirmed everywhere, nothing that names the
 * person is kept. Events stay, under ids.
 *
 * - The row in `erasure` is written in the transaction that deletes the user. From then on the
 *   erasure cannot be lost: the job of any node finishes what a process leaves undone, and the
 *   command can be repeated.
 * - The work is many small statements, each committed, so no lock is held for long, however much
 *   there is. Each may be repeated.
 * - Work that was under way when the user was deleted (a failed sign-in that a node has yet to
 *   write, a replayed refresh) may leave an address after the first pass. So there is a second pass
 *   a little later.
 */

/** Sessions that one step takes. */
const SESSIONS = 200

/**
 * When work that was under way at the deletion has been written, in seconds: notes of failed
 * attempts wait for 2 s, and statements have their time limit.
 */
const SETTLED_SECONDS = 30
/** Erasures that one round of the job works on. */
const ROUND = 20
/**
 * The longest window of the counters under an account's key (limits.ts), in seconds: that of the
 * mails to its address. Older counters have expired.
 */
const COUNTS_SECONDS = 86_400

/**
 * Deletes the counters of guesses at an account.
 *
 * @throws Error when they cannot be reached
 */
export type ForgetCounts = (counts: { account: string; userId: string }) => Promise<void>

export interface ErasuresOptions {
  prisma: PrismaClient
  /** The hashes under which events keep a name, one for each configured secret. */
  hashesOf: (name: string) => string[]
  /** The account's key in the counters of guesses. */
  accountKey: (email: string) => string
  forgetCounts: ForgetCounts
  /** Removes the mails and proofs of a user, in the transaction that deletes the user. */
  eraseMail: (db: Queryable, user: { userId: string; email: string | null }) => Promise<void>
  /** A monotonic clock, in milliseconds. */
  now: () => number
}

export interface FinishOptions {
  /** After this time it stops between two steps, and leaves the rest to the job. */
  maxMs?: number
  /** Called after each step with the number of sessions done, and of all. */
  onProgress?: (done: number, total: number) => void
}

interface OpenErasure {
  userId: string
  nameHashes: string[]
  countKey: string | null
  countsMayStand: boolean
}

export class Erasures {
  readonly #options: ErasuresOptions

  constructor(options: ErasuresOptions) {
    this.#options = options
  }

  /**
   * Notes that a user is to be erased. Call it in the transaction that deletes the user, while it
   * holds the row; or for a user who has already been deleted.
   */
  async request(db: Queryable, userId: string): Promise<void> {
    const { hashesOf, accountKey, eraseMail } = this.#options
    const email =
      (await db.user.findUnique({ where: { id: userId }, select: { email: true } }))?.email ?? null
    // Failed attempts at an earlier address of the account are about the same person.
    const nameHashes = [
      ...(email === null ? [] : hashesOf(email)),
      ...(await earlierNames(db, userId))
    ]
    await db.$executeRaw`
      INSERT INTO "erasure" ("userId", "nameHashes", "countKey") VALUES (${userId}, ${nameHashes}::text[], ${email === null ? null : accountKey(email)})
      ON CONFLICT ("userId") DO UPDATE SET "requestedAt" = clock_timestamp(), "doneAt" = NULL, "sweptAt" = NULL`
    await eraseMail(db, { userId, email })
  }

  /** Whether anything is kept under the id of a user who does not exist (any more). */
  async isKnown(userId: string): Promise<boolean> {
    const [row] = await this.#options.prisma.$queryRaw<{ known: boolean }[]>`
      SELECT EXISTS (SELECT 1 FROM "erasure" WHERE "userId" = ${userId}) OR EXISTS (SELECT 1 FROM "session" WHERE "userId" = ${userId})
        OR EXISTS (SELECT 1 FROM "account_event" WHERE "userId" = ${userId}) OR EXISTS (SELECT 1 FROM "account_event" WHERE "actorId" = ${userId}) AS "known"`
    return row?.known ?? false
  }

  /**
   * Erases a user whose erasure was requested. It may be repeated, also concurrently.
   *
   * @returns whether all is done; false where the time was over, or Redis does not answer: the job
   *   does the rest
   */
  async finish(
    userId: string,
    { maxMs = Infinity, onProgress }: FinishOptions = {}
  ): Promise<boolean> {
    const [erasure] = await this.#find(Prisma.sql`"userId" = ${userId}`)
    return erasure ? this.#erase(erasure, this.#options.now() + maxMs, onProgress) : true
  }

  /** Continues unfinished erasures, and does the second pass of finished ones. For a job. */
  async resume(): Promise<void> {
    const settled = Prisma.sql`clock_timestamp() - ${SETTLED_SECONDS}::int * interval '1 second'`
    for (const erasure of await this.#find(
      Prisma.sql`"sweptAt" IS NULL AND COALESCE("doneAt", "requestedAt") < ${settled}`
    )) {
      const { userId } = erasure
      if (!(await this.#erase(erasure, Infinity))) continue
      await this.#options.prisma.$executeRaw`
        UPDATE "erasure" SET "sweptAt" = clock_timestamp(), "nameHashes" = '{}', "countKey" = NULL WHERE "userId" = ${userId} AND "requestedAt" < ${settled}`
    }
  }

  async #find(which: Prisma.Sql): Promise<OpenErasure[]> {
    return this.#options.prisma.$queryRaw<OpenErasure[]>`
      SELECT "userId", "nameHashes", "countKey", "requestedAt" > clock_timestamp() - ${COUNTS_SECONDS}::int * interval '1 second' AS "countsMayStand"
      FROM "erasure" WHERE ${which} ORDER BY "requestedAt" LIMIT ${ROUND}`
  }

  async #erase(
    { userId, nameHashes, countKey, countsMayStand }: OpenErasure,
    until: number,
    onProgress: FinishOptions['onProgress'] = () => {}
  ): Promise<boolean> {
    const { prisma, now, forgetCounts } = this.#options
    const total = await countSessions(prisma, userId)
    let done = 0
    onProgress(0, total)
    // The user's own sessions, and those in which the user impersonated others: there the device is
    // the user's as well.
    for (const whose of [
      Prisma.sql`"userId" = ${userId}`,
      Prisma.sql`"impersonatedBy" = ${userId}`
    ]) {
      for (
        let ids = await findSessionIds(prisma, whose, '');
        ids.length > 0;
        ids = await findSessionIds(prisma, whose, ids.at(-1) ?? '')
      ) {
        if (now() > until) return false
        await eraseSessions(prisma, ids, now)
        done += ids.length
        onProgress(Math.min(done, total), total)
      }
    }
    await eraseAccountEvents(prisma, userId, nameHashes, now)
    if (
      countKey !== null &&
      countsMayStand &&
      !(await isForgotten(forgetCounts({ account: countKey, userId })))
    )
      return false
    await prisma.$executeRaw`UPDATE "erasure" SET "doneAt" = COALESCE("doneAt", clock_timestamp()) WHERE "userId" = ${userId}`
    return true
  }
}

/**
 * If Redis does not answer, the erasure stays open and the job tries again. The counters expire
 * within a day.
 */
function isForgotten(forgetting: Promise<void>): Promise<boolean> {
  return forgetting.then(
    () => true,
    () => false
  )
}

/** The total for a progress bar. It stops at a hundred thousand. */
async function countSessions(db: Queryable, userId: string): Promise<number> {
  const [row] = await db.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS "count" FROM (SELECT 1 FROM "session" WHERE "userId" = ${userId} LIMIT 100000) counted`
  return row?.count ?? 0
}

async function findSessionIds(db: Queryable, whose: Prisma.Sql, after: string): Promise<string[]> {
  const rows = await db.$queryRaw<
    { id: string }[]
  >`SELECT "id" FROM "session" WHERE ${whose} AND "id" > ${after} ORDER BY "id" LIMIT ${SESSIONS}`
  return rows.map(({ id }) => id)
}

/**
 * Removes addresses and devices from sessions and their events. The network of a refresh is the
 * `cause` of its event.
 */
async function eraseSessions(
  db: Queryable,
  ids: readonly string[],
  now: () => number
): Promise<void> {
  await inBatches(
    now,
    (rows) => db.$executeRaw`
    UPDATE "session_event" SET "ipAddress" = NULL, "cause" = CASE WHEN "type" = 'new_network' THEN NULL ELSE "cause" END
    WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM "session_event" WHERE "sessionId" = ANY(${ids}::text[]) AND ("ipAddress" IS NOT NULL OR ("type" = 'new_network' AND "cause" IS NOT NULL))
      LIMIT ${rows} FOR UPDATE))`
  )
  // In the order of their ids, as every statement locks them.
  await db.$executeRaw`
    UPDATE "session" s SET "ipAddress" = NULL, "userAgent" = NULL, "name" = NULL, "network" = NULL, "firstRefreshAddress" = NULL, "lastRefreshAddress" = NULL
    FROM (SELECT "id" FROM "session" WHERE "id" = ANY(${ids}::text[]) AND COALESCE("ipAddress", "userAgent", "name", "network", "firstRefreshAddress", "lastRefreshAddress") IS NOT NULL
      ORDER BY "id" FOR UPDATE) found
    WHERE s."id" = found."id"`
}

/** The hashes of the account's earlier addresses. */
async function earlierNames(db: Queryable, userId: string): Promise<string[]> {
  const rows = await db.accountEvent.findMany({
    where: { userId, kind: 'email_changed', nameHash: { not: null } },
    select: { nameHash: true },
    orderBy: { id: 'desc' },
    take: 100
  })
  return rows.flatMap(({ nameHash }) => nameHash ?? [])
}
