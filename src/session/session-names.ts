import { intoOutbox, type Change } from './outbox.js'
import type { PrismaClient, Queryable } from '../database/database.js'
import { judge, type ListedSession, type Session } from './session.js'
import { findSession, listSessions, live } from './store.js'

/** The result of a renaming. */
export interface Renamed {
  /** Null when the user has no such active session. */
  session: ListedSession | null
  /**
   * Null when every cache shows the new name; else the time by which every copy with the old one
   * has ended.
   */
  effectiveBy: Date | null
}

/** The part of `Confirmation` that a renaming needs. */
interface Confirms {
  /**
   * @returns null when every cache has applied the changes; else the time by which every older copy
   *   has ended
   */
  confirm(changes: readonly Change[]): Promise<Date | null>
}

/**
 * Names that users give to their sessions, to recognise their devices. Copies show them, so a new
 * name must reach the caches.
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
   * @param actingSession the user's session that authorises it
   * @returns null when the acting session has ended
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
 * One statement, under the locks of both sessions. A session that already has that name is left
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
