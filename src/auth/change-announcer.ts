import { afterCommit, currentTransaction } from '../database/transaction.js'
import type { Confirmation, Unconfirmed } from '../revocation/confirmation.js'
import type { Thinning } from '../revocation/thinning.js'
import type { Change } from '../session/outbox.js'
import type { BulkRevocation } from '../session/revocation.js'
import { confirmBeforeAnswer, currentCall } from './call-context.js'

/**
 * Makes what a call of better-auth changes known to every cache: after the commit, and before the
 * call answers.
 */
export class ChangeAnnouncer {
  readonly #confirmation: Confirmation
  readonly #thinning: Thinning

  constructor(confirmation: Confirmation, thinning: Thinning) {
    this.#confirmation = confirmation
    this.#thinning = thinning
  }

  /** Announces changes of this call. */
  async changed(changes: readonly Change[]): Promise<void> {
    if (changes.length > 0) await this.#announce({ changes })
  }

  /**
   * As `changed`, for a user whose sessions were all ended. Includes those that other calls have
   * ended.
   */
  ended(userId: string, changes: readonly Change[]): Promise<void> {
    return this.#announce({ changes, userIds: [userId] })
  }

  /** Waits until revocations of these sessions by other calls are known to every cache. */
  settle(sessionIds: readonly string[]): Promise<void> {
    return this.#announce({ sessionIds })
  }

  /**
   * Ends sessions before a transaction that ends all of a user's, where there are more than one
   * statement should end. In a transaction that already holds locks it does nothing: there the
   * statements that end the sessions run in batches.
   */
  async thinOut(bulk: Pick<BulkRevocation, 'userId' | 'reason'>): Promise<void> {
    if (currentTransaction()?.isOpen) return
    const actingSessionId = currentCall().actor?.session.id ?? null
    const spared = actingSessionId === null ? [] : [actingSessionId]
    const { unconfirmed } = await this.#thinning.thinOut({ bulk, spared, actingSessionId })
    if (unconfirmed.length > 0) await this.settle(unconfirmed)
  }

  #announce(unconfirmed: Unconfirmed): Promise<void> {
    const { endedHere } = currentCall()
    for (const { sessionId, reason } of unconfirmed.changes ?? [])
      if (reason !== null) endedHere.add(sessionId)
    return afterCommit(() => confirmBeforeAnswer(this.#confirmation, unconfirmed))
  }
}
