import { originOutsideRequests } from '../account/origin.js'
import { writeRevokedSessions } from '../account/store.js'
import type { Confirmation } from './confirmation.js'
import type { Change } from '../session/outbox.js'
import type { PrismaClient, Queryable } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import {
  advanceCredentialEpoch,
  endsAll,
  revokeSessions,
  revokeUserSessions,
  type BulkRevocation
} from '../session/revocation.js'
import { judge, type RevocationReason } from '../session/session.js'
import { findSession, holdUserSessions } from '../session/store.js'
import type { Thinning } from './thinning.js'

/** The result of a revocation. */
export interface Revoked {
  /** How many sessions this call ended. Where sessions were named, only named ones count. */
  count: number
  /** Null when it is final everywhere; else the time by which every cached copy has ended. */
  effectiveBy: Date | null
}

/** Revokes sessions, and waits until no cache still answers that they are active. */
export class Revoker {
  readonly #prisma: PrismaClient
  readonly #confirmation: Confirmation
  readonly #thinning: Thinning

  constructor(prisma: PrismaClient, confirmation: Confirmation, thinning: Thinning) {
    this.#prisma = prisma
    this.#confirmation = confirmation
    this.#thinning = thinning
  }

  /**
   * Revokes the named sessions of a user, or of any user where `userId` is null.
   *
   * @param actingSessionId the session that authorises it, where it is not one of the named
   * @returns null when that session has itself ended
   */
  async revoke(
    sessionIds: readonly string[],
    userId: string | null,
    reason: RevocationReason,
    actingSessionId: string | null = null
  ): Promise<Revoked | null> {
    const changes =
      reason === 'revoked_by_operator'
        ? await withTransaction(this.#prisma, async (transaction) => {
            const db = await transaction.forWrite()
            return tellOperators(
              db,
              await revokeSessions(db, sessionIds, userId, reason, actingSessionId)
            )
          })
        : await revokeSessions(this.#prisma, sessionIds, userId, reason, actingSessionId)
    if (changes.length === 0 && actingSessionId !== null) {
      const actingSession = await findSession(this.#prisma, actingSessionId)
      if (!actingSession || !judge(actingSession).active) return null
    }
    // Another call may have ended them without being confirmed yet. This answer must be as final as
    // that call's.
    const effectiveBy = await (endsAll(changes, sessionIds)
      ? this.#confirmation.confirm(changes)
      : this.#confirmation.settle({ changes, sessionIds }))
    return {
      count: changes.filter(({ sessionId }) => sessionIds.includes(sessionId)).length,
      effectiveBy
    }
  }

  /**
   * Revokes all sessions of a user, or all but one. One of that user's sessions authorises it, or
   * an operator (null). Where there are very many, some may have ended even if this fails.
   *
   * @returns null when the acting session has itself ended
   */
  async revokeAll(
    actingSession: { sessionId: string } | null,
    bulk: BulkRevocation
  ): Promise<Revoked | null> {
    const spared = [actingSession?.sessionId, bulk.exceptSessionId].filter(
      (id) => id !== undefined && id !== null
    )
    const thinned = await this.#thinning.thinOut({
      bulk,
      spared,
      actingSessionId: actingSession?.sessionId ?? null
    })
    const changes = await withTransaction<Change[] | null>(this.#prisma, async (transaction) => {
      const db = await transaction.forWrite()
      await advanceCredentialEpoch(db, bulk.userId)
      if (actingSession) {
        const record = await holdUserSessions(db, bulk.userId, actingSession.sessionId, {
          impersonations: true
        })
        if (!record || !judge(record).active) return null
      }
      return tellOperators(db, await revokeUserSessions(db, bulk))
    })
    if (!changes) return null
    const effectiveBy = await this.#confirmation.settle({
      changes,
      sessionIds: thinned.unconfirmed,
      userIds: [bulk.userId]
    })
    return { count: thinned.count + changes.length, effectiveBy }
  }
}

/**
 * Writes account events for the sessions that an operator has ended, in the transaction that ended
 * them. For all others the session events are enough.
 *
 * @returns the changes
 */
async function tellOperators(db: Queryable, changes: Change[]): Promise<Change[]> {
  const theirs = changes
    .filter(({ reason }) => reason === 'revoked_by_operator')
    .map(({ sessionId }) => sessionId)
  await writeRevokedSessions(db, originOutsideRequests(), theirs, 'revoked_by_operator')
  return changes
}
