import { Prisma, type Queryable } from '../database/database.js'
import type { PageWanted } from '../page.js'
import type { AccountEvent } from './account-event.js'

/** Conditions on events. All must hold. */
export interface EventFilter {
  /**
   * Events of this account. With `nameHashes` also attempts at its name that were refused before
   * the account was looked up.
   */
  userId?: string | undefined
  nameHashes?: readonly string[] | undefined
  /** Events that this administrator caused. */
  actorId?: string | undefined
  kind?: string | undefined
  since?: Date | undefined
}

const columns = Prisma.raw(
  `"id", "at", "userId", "kind", "cause", "actor", "actorId", "sessionId", "ipAddress", "userAgent", "detail", "nameHash", "count", "lastAt"`
)

/**
 * A page of events, newest first. Each part is read from an index in the order of the page, so the
 * cost does not grow with the number of events.
 */
export async function listAccountEvents(
  db: Queryable,
  { userId, nameHashes, actorId, kind, since }: EventFilter,
  { limit, after }: PageWanted
): Promise<AccountEvent[]> {
  const bounds = Prisma.join(
    [
      Prisma.sql`true`,
      ...(kind === undefined ? [] : [Prisma.sql`"kind" = ${kind}`]),
      ...(actorId === undefined ? [] : [Prisma.sql`"actorId" = ${actorId}`]),
      ...(after === undefined ? [] : [Prisma.sql`"id" < ${after}`]),
      ...(since === undefined ? [] : [Prisma.sql`"id" >= ${firstIdAt(since)}`])
    ],
    ' AND '
  )
  const page = (which: Prisma.Sql) =>
    Prisma.sql`(SELECT ${columns} FROM "account_event" WHERE ${which} AND ${bounds} ORDER BY "id" DESC LIMIT ${limit})`
  if (userId === undefined && nameHashes === undefined)
    return db.$queryRaw<AccountEvent[]>`${page(Prisma.sql`true`)}`
  // An event about a name belongs to its present owner only if it names no other user: users change
  // their addresses, and others take them.
  const parts = [
    ...(userId === undefined ? [] : [page(Prisma.sql`"userId" = ${userId}`)]),
    ...(nameHashes ?? []).map((hash) =>
      page(
        userId === undefined
          ? Prisma.sql`"nameHash" = ${hash}`
          : Prisma.sql`"nameHash" = ${hash} AND "userId" IS NULL`
      )
    )
  ]
  return db.$queryRaw<
    AccountEvent[]
  >`SELECT * FROM (${Prisma.join(parts, ' UNION ALL ')}) found ORDER BY "id" DESC LIMIT ${limit}`
}

/** The smallest id of an event at a time, because ids begin with the time (RFC 9562, version 7). */
function firstIdAt(time: Date): string {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-0000-0000-000000000000`
}

/**
 * An event as its user sees it: acts of administrators are shown, but not who they were or their
 * addresses.
 */
export function asSeenByPerson(
  event: AccountEvent
): Omit<AccountEvent, 'userId' | 'nameHash' | 'actorId'> {
  const { id, at, kind, cause, actor, sessionId, ipAddress, userAgent, detail, count, lastAt } =
    event
  const isTheirs = actor === 'person' || actor === 'unknown'
  const { administrator: _administrator, ...shown } = detail ?? {}
  const isAboutTheirSession = kind === 'sessions_revoked' || kind.startsWith('impersonation_')
  return {
    id,
    at,
    kind,
    cause,
    actor,
    sessionId: isTheirs || isAboutTheirSession ? sessionId : null,
    ipAddress: isTheirs ? ipAddress : null,
    userAgent: isTheirs ? userAgent : null,
    detail: Object.keys(shown).length > 0 ? shown : null,
    count,
    lastAt
  }
}
