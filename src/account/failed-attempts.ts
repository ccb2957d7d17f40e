import type { PrismaClient, Queryable } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import { toNetwork } from '../network.js'
import { userAgentFrom } from '../user-agent.js'

/*
 * Failed sign-in attempts, summed up: one row of `account_event` for a name, network, cause and
 * quarter of an hour, with a count.
 *
 * - They are noted in memory and written after the answer, those of some seconds at once. So an
 *   attempt at an existing name takes as long as any other. A store that cannot take them does not
 *   change a 401: they are kept and tried again, and the log says so. A process that dies loses
 *   what it has noted within the last `ATTEMPTS_FLUSH_MS`; its metrics are lost too, but the log's
 *   lines stay.
 * - A flood cannot fill memory or the table. In each quarter of an hour the table takes a limited
 *   number of rows for names with an account, for names without, and for networks. What is beyond
 *   is counted by name, then by network, then in total. The bound holds for all nodes together.
 */

/** How often the noted attempts are written, in milliseconds. */
export const ATTEMPTS_FLUSH_MS = 2_000

/** How long one row sums up, in seconds. */
const WINDOW_SECONDS = 900

/** The rows of one window: for names with an account, for names without one, for networks. */
export const ROWS_OF_WINDOW = { known: 200, unknown: 200, network: 100 } as const
/** The number of networks that are kept apart for one name. */
const NETWORKS_OF_NAME = 10
/** The number of attempts that memory keeps apart until they are written. */
const PENDING = 2_000

/** A failed attempt. The name is hashed as soon as it is read, and never kept here. */
export interface FailedAttempt {
  kind: 'sign_in_failed' | 'reauthentication_failed'
  cause: string
  /** The user whose account was tried. Null where there is no such account. */
  userId: string | null
  nameHash: string | null
  sessionId: string | null
  ipAddress: string | null
  userAgent: string | null
}

/** Attempts of one kind, summed up. Times are on the clock of this process, in milliseconds. */
interface Pending extends FailedAttempt {
  network: string | null
  count: number
  firstAt: number
  lastAt: number
}

/** A sum as it is written. */
interface SumRow extends Pending {
  sumKey: string
}

export interface FailedAttemptsOptions {
  prisma: PrismaClient
  /** A monotonic clock, in milliseconds. */
  now: () => number
}

/** Collects failed attempts, and writes them. */
export class FailedAttempts {
  readonly #options: FailedAttemptsOptions
  #pending = new Map<string, Pending>()

  constructor(options: FailedAttemptsOptions) {
    this.#options = options
  }

  note(attempt: FailedAttempt): void {
    const now = this.#options.now()
    this.#add({
      ...attempt,
      network: toNetwork(attempt.ipAddress),
      count: 1,
      firstAt: now,
      lastAt: now
    })
  }

  /**
   * Writes the noted attempts.
   *
   * @throws StoreUnavailable when the store does not answer; the notes are kept for the next call.
   *   Where it is not known whether the store has taken them, they may be counted twice.
   */
  async flush(): Promise<void> {
    if (this.#pending.size === 0) return
    const taken = [...this.#pending.values()]
    this.#pending = new Map()
    try {
      await withTransaction(this.#options.prisma, async (transaction) =>
        this.#write(await transaction.forWrite(), taken)
      )
    } catch (error) {
      for (const pending of taken) this.#add(pending)
      throw error
    }
  }

  /**
   * Adds an attempt to its sum. Past the bound it is counted by network only, and then by cause
   * only.
   */
  #add(pending: Pending): void {
    const forms = [pending, withoutName(pending), withoutNetwork(withoutName(pending))]
    const form =
      forms.find((each) => this.#pending.has(toKey(each))) ??
      forms.find((_, index) => this.#pending.size < PENDING + index * ROWS_OF_WINDOW.network)
    const chosen = form ?? withoutNetwork(withoutName(pending))
    this.#pending.set(toKey(chosen), sum(this.#pending.get(toKey(chosen)), chosen))
  }

  async #write(db: Queryable, pending: readonly Pending[]): Promise<void> {
    // Counting rows and then adding some must not run concurrently.
    await db.$queryRaw`SELECT pg_advisory_xact_lock(hashtextextended('holdfast failed attempts', 0))::text`
    // Locks users against deletion: an erasure either finds what is written here, or has deleted
    // the user before.
    const userIds = [...new Set(pending.flatMap(({ userId }) => userId ?? []))]
    const users = await db.$queryRaw<
      { id: string }[]
    >`SELECT "id" FROM "user" WHERE "id" = ANY(${userIds}::text[]) ORDER BY "id" FOR KEY SHARE`
    const present = await db.$queryRaw<{ window: string; sumKey: string | null }[]>`
      WITH now AS (SELECT floor(extract(epoch FROM clock_timestamp()) / ${WINDOW_SECONDS}::int)::bigint::text AS "window")
      SELECT "window", "sumKey" FROM now LEFT JOIN "account_event" ON "sumKey" >= "window" || ':' AND "sumKey" < "window" || ';'`
    const window = present[0]?.window ?? ''
    const isThere = new Set(users.map(({ id }) => id))
    const rows = new Window(
      window,
      present.flatMap(({ sumKey }) => sumKey ?? [])
    ).place(
      pending.map((each) =>
        each.userId === null || isThere.has(each.userId) ? each : withoutTraces(each)
      )
    )
    await upsert(db, rows, this.#options.now())
  }
}

/** The rows of a quarter of an hour, and where further attempts are counted. */
class Window {
  readonly #name: string
  readonly #keys: Set<string>
  /** Row counts by class and by name. */
  readonly #counts = new Map<string, number>()

  constructor(name: string, keys: readonly string[]) {
    this.#name = name
    this.#keys = new Set(keys)
    for (const key of keys) this.#count(key)
  }

  /**
   * The rows in which attempts are counted, in the order of their keys, so that concurrent writes
   * do not deadlock.
   */
  place(attempts: readonly Pending[]): SumRow[] {
    const rows = new Map<string, SumRow>()
    for (const attempt of attempts) {
      const { key, form } = this.#placeOf(attempt)
      rows.set(key, { ...sum(rows.get(key), form), sumKey: key })
    }
    return [...rows.values()].toSorted((one, other) => (one.sumKey < other.sumKey ? -1 : 1))
  }

  #placeOf(attempt: Pending): { key: string; form: Pending } {
    const { kind, cause, network, userId } = attempt
    const what = `${kind}:${cause}`
    const subject = subjectFrom(attempt)
    if (subject !== null) {
      const place = userId === null ? 'unknown' : 'known'
      const name = `${place}:${subject}`
      if (this.#take(`${name}:${what}:${network}`, place, name))
        return { key: this.#keyOf(`${name}:${what}:${network}`), form: attempt }
      if (this.#take(`${name}:${what}:`, place))
        return { key: this.#keyOf(`${name}:${what}:`), form: withoutNetwork(attempt) }
    }
    if (this.#take(`network:${what}:${network}`, 'network'))
      return {
        key: this.#keyOf(`network:${what}:${network}`),
        form: { ...withoutName(attempt), ipAddress: network }
      }
    return { key: this.#keyOf(`all:${what}`), form: withoutNetwork(withoutName(attempt)) }
  }

  /**
   * Whether a row may be used: it exists, or there is room for it in its class and among those of
   * its name.
   */
  #take(row: string, place: keyof typeof ROWS_OF_WINDOW, name?: string): boolean {
    const key = this.#keyOf(row)
    if (this.#keys.has(key)) return true
    if ((this.#counts.get(place) ?? 0) >= ROWS_OF_WINDOW[place]) return false
    if (name !== undefined && (this.#counts.get(name) ?? 0) >= NETWORKS_OF_NAME) return false
    this.#keys.add(key)
    this.#count(key)
    return true
  }

  #count(key: string): void {
    const [, place = '', subject = ''] = key.split(':', 3)
    for (const name of [place, `${place}:${subject}`])
      this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  #keyOf(row: string): string {
    return `${this.#name}:${row}`
  }
}

async function upsert(db: Queryable, rows: readonly SumRow[], now: number): Promise<void> {
  const column = <Name extends keyof SumRow>(name: Name) => rows.map((row) => row[name])
  const ago = (at: number) => Math.round(now - at)
  await db.$executeRaw`
    INSERT INTO "account_event" ("kind", "cause", "actor", "userId", "nameHash", "sessionId", "ipAddress", "userAgent", "count", "at", "lastAt", "sumKey")
    SELECT "kind", "cause", 'unknown', "userId", "nameHash", "sessionId", "ipAddress", "userAgent", "count",
      clock_timestamp() - "firstAgo" * interval '1 millisecond', clock_timestamp() - "lastAgo" * interval '1 millisecond', "sumKey"
    FROM unnest(${column('kind')}::text[], ${column('cause')}::text[], ${column('userId')}::text[], ${column('nameHash')}::text[], ${column('sessionId')}::text[],
      ${column('ipAddress')}::text[], ${rows.map(({ userAgent }) => userAgentFrom(userAgent))}::text[], ${column('count')}::int[],
      ${rows.map(({ firstAt }) => ago(firstAt))}::int[], ${rows.map(({ lastAt }) => ago(lastAt))}::int[], ${column('sumKey')}::text[])
      AS sums ("kind", "cause", "userId", "nameHash", "sessionId", "ipAddress", "userAgent", "count", "firstAgo", "lastAgo", "sumKey")
    ON CONFLICT ("sumKey") DO UPDATE SET
      "count" = LEAST("account_event"."count"::bigint + EXCLUDED."count", 2147483647)::int,
      "lastAt" = GREATEST("account_event"."lastAt", EXCLUDED."lastAt"),
      "ipAddress" = EXCLUDED."ipAddress", "userAgent" = EXCLUDED."userAgent", "sessionId" = EXCLUDED."sessionId"`
}

function toKey({ kind, cause, userId, nameHash, network }: Pending): string {
  return [kind, cause, nameHash, userId, network].join(':')
}

/** The subject of an attempt in a key. Null where there is none. */
function subjectFrom({ userId, nameHash }: FailedAttempt): string | null {
  if (nameHash !== null) return `n${nameHash}`
  return userId === null ? null : `i${userId}`
}

function sum(before: Pending | undefined, attempt: Pending): Pending {
  if (!before) return attempt
  return {
    ...attempt,
    count: before.count + attempt.count,
    firstAt: Math.min(before.firstAt, attempt.firstAt),
    lastAt: Math.max(before.lastAt, attempt.lastAt)
  }
}

function withoutName(attempt: Pending): Pending {
  return { ...attempt, userId: null, nameHash: null, sessionId: null, userAgent: null }
}

function withoutNetwork(attempt: Pending): Pending {
  return { ...attempt, network: null, ipAddress: null, userAgent: null, sessionId: null }
}

/** For a deleted account: keeps the user id, and removes what names the person. */
function withoutTraces(attempt: Pending): Pending {
  return {
    ...attempt,
    nameHash: null,
    sessionId: null,
    ipAddress: null,
    userAgent: null,
    network: null
  }
}
