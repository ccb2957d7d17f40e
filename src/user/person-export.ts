import { Prisma, type Queryable } from '../database/database.js'
import type { PageWanted } from '../page.js'
import { parseRoles } from '../roles.js'

/*
 * Exports everything stored of a person, in pages, so that neither a statement nor an answer grows
 * with the amount. It contains no hash, secret or token, and nothing that names another person:
 * neither which administrator acted, nor from where.
 */

/** The kinds of records, in the order of the export. */
export const recordKinds = [
  'user',
  'accounts',
  'secondFactors',
  'pendingProofs',
  'mailProofs',
  'mails',
  'sessions',
  'sessionEvents',
  'accountEvents'
] as const

export type RecordKind = (typeof recordKinds)[number]

/** One record of a person. */
export interface PersonRecord {
  kind: RecordKind
  record: Record<string, unknown>
}

export interface ExportPage {
  records: PersonRecord[]
  /** The cursor for `after`. Null at the end. */
  next: string | null
}

/** A part of one kind. */
interface Part {
  records: Record<string, unknown>[]
  /** The key after which the kind continues. Null at its end. */
  next: string | null
}

type ReadPart = (
  db: Queryable,
  userId: string,
  page: PageWanted & { after: string }
) => Promise<Part>

/** Sessions whose events one statement looks for. */
const SESSIONS = 200
/** Sorts after all keys of events. */
const END = '~'

/** A cursor: a kind, and the key in it after which the export continues. */
const CURSOR = new RegExp(`^(${recordKinds.join('|')}):([\\w./~-]*)$`)

/** Whether a text is a cursor. */
export function isExportCursor(text: string): boolean {
  return CURSOR.test(text)
}

/** A page of what is stored of a person, whose account may have been deleted. */
export async function exportPerson(
  db: Queryable,
  userId: string,
  { limit, after = '' }: PageWanted
): Promise<ExportPage> {
  const [, begun, behind = ''] = CURSOR.exec(after) ?? []
  const records: PersonRecord[] = []
  let key = behind
  for (const kind of recordKinds.slice(Math.max(0, recordKinds.indexOf(begun as RecordKind)))) {
    const { records: found, next } = await parts[kind](db, userId, {
      limit: limit - records.length,
      after: key
    })
    records.push(...found.map((record) => ({ kind, record })))
    if (next !== null) return { records, next: `${kind}:${next}` }
    if (records.length === limit) return { records, next: followerFrom(kind) }
    key = ''
  }
  return { records, next: null }
}

function followerFrom(kind: RecordKind): string | null {
  const follower = recordKinds[recordKinds.indexOf(kind) + 1]
  return follower === undefined ? null : `${follower}:`
}

/**
 * A part of rows that were read in the order of their ids. It is the last one if it is not full.
 */
function partFrom(records: Record<string, unknown>[], limit: number): Part {
  const last = records.at(-1)?.['id']
  return { records, next: records.length === limit && typeof last === 'string' ? last : null }
}

const parts: Record<RecordKind, ReadPart> = {
  async user(db, userId) {
    const user = await db.user.findUnique({
      where: { id: userId },
      omit: { credentialEpoch: true, signUpHandle: true }
    })
    if (!user) return { records: [], next: null }
    const { role, ...shown } = user
    return { records: [{ ...shown, roles: parseRoles(role) }], next: null }
  },
  async accounts(db, userId, { limit, after }) {
    const select = {
      id: true,
      providerId: true,
      accountId: true,
      scope: true,
      createdAt: true,
      updatedAt: true
    } as const
    return partFrom(
      await db.account.findMany({
        where: { userId, id: { gt: after } },
        select,
        orderBy: { id: 'asc' },
        take: limit
      }),
      limit
    )
  },
  async secondFactors(db, userId, { limit, after }) {
    const select = {
      id: true,
      verified: true,
      failedVerificationCount: true,
      lockedUntil: true
    } as const
    return partFrom(
      await db.twoFactor.findMany({
        where: { userId, id: { gt: after } },
        select,
        orderBy: { id: 'asc' },
        take: limit
      }),
      limit
    )
  },
  async pendingProofs(db, userId, { limit, after }) {
    const select = { id: true, createdAt: true, expiresAt: true } as const
    return partFrom(
      await db.verification.findMany({
        where: { value: userId, id: { gt: after } },
        select,
        orderBy: { id: 'asc' },
        take: limit
      }),
      limit
    )
  },
  async mailProofs(db, userId, { limit, after }) {
    const rows = await db.$queryRaw<(Record<string, unknown> & { id: string })[]>`
      SELECT "id", "purpose", "createdAt", "expiresAt", "usedAt" FROM "proof"
      WHERE ${toThem('email', userId)} AND "id" > ${after} ORDER BY "id" LIMIT ${limit}`
    return partFrom(rows, limit)
  },
  async mails(db, userId, { limit, after }) {
    const rows = await db.$queryRaw<(Record<string, unknown> & { id: string })[]>`
      SELECT "id", "kind", "createdAt", "expiresAt", "sentAt", "failedAt" FROM "mail"
      WHERE ${toThem('recipient', userId)} AND "id" > ${after} ORDER BY "id" LIMIT ${limit}`
    return partFrom(rows, limit)
  },
  async sessions(db, userId, { limit, after }) {
    const rows = await db.$queryRaw<(Record<string, unknown> & { id: string })[]>`
      SELECT "id", "issuedAt", "lastSeenAt", "expiresAt", "absoluteExpiresAt", "revokedAt", "revokedReason", "clientId", "amr", "authTime", "reauthAt",
        ${theirs('name')}, ${theirs('ipAddress')}, ${theirs('network')}, ${theirs('userAgent')}, "impersonatedBy" IS NOT NULL AS "impersonation",
        "refreshGeneration" AS "refreshCount", "firstRefreshAt", "firstRefreshAddress", "rotatedAt" AS "lastRefreshAt", "lastRefreshAddress", "replayCount"
      FROM "session" WHERE "userId" = ${userId} AND "id" > ${after} ORDER BY "id" LIMIT ${limit}`
    return partFrom(rows, limit)
  },
  async sessionEvents(db, userId, { limit, after }) {
    const [afterSession = '', afterEvent = ''] = after.split('/')
    const rows = await db.$queryRaw<
      (Record<string, unknown> & { id: string | null; sessionId: string })[]
    >`
      WITH sessions AS MATERIALIZED (
        SELECT "id", "impersonatedBy" FROM "session" WHERE "userId" = ${userId} AND "id" >= ${afterSession} ORDER BY "id" LIMIT ${SESSIONS}
      ), events AS (
        SELECT e."id", s."id" AS "sessionId", e."type", e."at", CASE WHEN s."impersonatedBy" IS NULL OR e."type" <> 'new_network' THEN e."cause" END AS "cause",
          CASE WHEN s."impersonatedBy" IS NULL THEN e."ipAddress" END AS "ipAddress"
        FROM sessions s CROSS JOIN LATERAL (
          SELECT * FROM "session_event" WHERE "sessionId" = s."id" AND (s."id" > ${afterSession} OR "id" > ${afterEvent}) ORDER BY "id" LIMIT ${limit}
        ) e ORDER BY s."id", e."id" LIMIT ${limit}
      )
      SELECT last."id" AS "lastSession", last."count" AS "sessions", events.* FROM (SELECT max("id") AS "id", count(*)::int AS "count" FROM sessions) last LEFT JOIN events ON true
      WHERE last."count" > 0 ORDER BY events."sessionId", events."id"`
    const records = rows
      .filter(({ id }) => id !== null)
      .map(({ lastSession: _lastSession, sessions: _sessions, ...record }) => record)
    const [first] = rows
    if (!first) return { records, next: null }
    const last = records.at(-1)
    if (last && records.length === limit) return { records, next: `${last.sessionId}/${last.id}` }
    // All events of these sessions were read, but there may be more sessions.
    return {
      records,
      next: first['sessions'] === SESSIONS ? `${String(first['lastSession'])}/${END}` : null
    }
  },
  async accountEvents(db, userId, { limit, after }) {
    const rows = await db.$queryRaw<(Record<string, unknown> & { id: string })[]>`
      SELECT "id", "at", "kind", "cause", "actor", "count", "lastAt", "detail" - 'administrator' AS "detail",
        CASE WHEN ${own} THEN "sessionId" END AS "sessionId", CASE WHEN ${own} THEN "ipAddress" END AS "ipAddress", CASE WHEN ${own} THEN "userAgent" END AS "userAgent"
      FROM "account_event" WHERE "userId" = ${userId} AND "id" > ${after} ORDER BY "id" LIMIT ${limit}`
    return partFrom(rows, limit)
  }
}

/**
 * What is about the account, or went to its address: a request for a mail does not look whether there
 * is an account.
 */
const toThem = (column: 'email' | 'recipient', userId: string) =>
  Prisma.sql`("userId" = ${userId} OR ${Prisma.raw(`"${column}"`)} = (SELECT "email" FROM "user" WHERE "id" = ${userId}))`

/** In an impersonation the device is the administrator's. */
const theirs = (column: string) =>
  Prisma.raw(`CASE WHEN "impersonatedBy" IS NULL THEN "${column}" END AS "${column}"`)
/** The address of another user's act is not the person's data. */
const own = Prisma.raw(`("actorId" IS NULL OR "actorId" = "userId")`)
