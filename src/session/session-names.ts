import { intoOutbox, type Change } from './outbox.js'
import type { PrismaClient, Queryable } from '../database/database.js'
import { judge, type ListedSession, type Session } from './session.js'
import { findSession, listSessions, live } from './store.js'

/** What a renaming did. */
export interface Renamed {
  /** Null when the user has no such active session. */
  session: ListedSession | null
  /**
   * Null when every cache shows the new name; else the time by which every copy with the old one
   * has ended.
   */
  effectiveBy: Date | null
}

/** Makes changes known to every cache. */
interface Confirms {
  /** @returns null when every cache knows; else when every older copy has ended */
  confirm(changes: readonly Change[]): Promise<Date | null>
}

/**
 * Names that people give to their sessions, to know their devices by. Copies show them, so that
 * caches are told of a change.
 */
export class SessionNames {
  readonly #prisma: PrismaClient
  readonly #confirmation: Confirms

  constructor(prisma: PrismaClient, confirmation: Confirms) {
    this.#prisma = prisma
    this.#confirmation = confirmation
  }

  /**
   * Names an active session of a user.
   *
   * @param name null takes the name away
   * @param authority the user's session on whose authority
   * @returns null when the authorising session has ended
   */
  async rename(
    sessionId: string,
    name: string | null,
    actingSession: Pick<Session, 'id' | 'userId'>
  ): Promise<Renamed | null> {
    const changes = await renameSession(this.#prisma, sessionId, name, actingSession)
    if (changes.length === 0) {
      const record = await findSession(this.#prisma, actingSession.id)
      if (!record || !judge(record).active) return null
    }
    const effectiveBy = await this.#confirmation.confirm(changes)
    const [session = null] = await listSessions(
      this.#prisma,
      { userId: actingSession.userId, sessionIds: [sessionId] },
      { limit: 1 }
    )
    return { session, effectiveBy }
  }
}

/**
 * In one statement, under the locks of both sessions. A session that has that name already is left
 * alone.
 */
async function renameSession(
  db: Queryable,
  sessionId: string,
  name: string | null,
  { id: actingSessionId, userId }: Pick<Session, 'id' | 'userId'>
): Promise<Change[]> {
  return db.$queryRaw<Change[]>`
    WITH locked AS (
      SELECT "id", "userId", "name" FROM "session" WHERE "id" IN (${sessionId}, ${actingSessionId}) AND ${live} ORDER BY "id" FOR UPDATE
    ), renamed AS (
      UPDATE "session" s SET "name" = ${name}, "version" = s."version" + 1, "updatedAt" = clock_timestamp()
      FROM locked WHERE s."id" = locked."id" AND locked."id" = ${sessionId} AND locked."userId" = ${userId} AND locked."name" IS DISTINCT FROM ${name}
        AND EXISTS (SELECT 1 FROM locked WHERE "id" = ${actingSessionId})
      RETURNING s."id", s."userId", s."version"
    ), outbox_rows AS (${intoOutbox('renamed', null)})
    SELECT "id" AS "sessionId", "version", NULL AS "reason" FROM renamed`
}
