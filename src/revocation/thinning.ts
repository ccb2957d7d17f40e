import type { Confirmation } from './confirmation.js'
import type { Change } from '../session/outbox.js'
import type { PrismaClient } from '../database/database.js'
import { Pace } from '../database/pace.js'
import { thinOutUserSessions, type BulkRevocation } from '../session/revocation.js'
import { ONE_STATEMENT } from '../session/store.js'

const BATCH = { first: 100, min: 20, max: ONE_STATEMENT / 2 }

/** What of a user's sessions is to end, and on whose authority. */
export interface ThinningOut {
  bulk: Pick<BulkRevocation, 'userId' | 'reason'>
  /**
   * Are not ended here, whatever becomes of them later: the session that authorises the change, and
   * those that it spares.
   */
  spared: readonly string[]
  /** Nothing ends once this session has ended; null for an operator. */
  actingSessionId: string | null
}

/** What was ended beforehand. */
export interface ThinnedOut {
  count: number
  /** Sessions whose end could not be confirmed: to be settled together with the change. */
  unconfirmed: string[]
}

/**
 * Ends sessions ahead of a change that ends all of a user's, where there are more than one
 * statement should end: older versions had no cap, an import has none, and a cap may be lowered.
 * Each batch is committed with its outbox rows, the longest idle first. If the process dies in
 * between, some sessions have ended that were to end, and nothing else has changed. A batch is as
 * large as the store ends in a fraction of the time that a statement has; what is left to the
 * change itself is no more than two of them, so that it has the time as well.
 */
export class Thinning {
  readonly #prisma: PrismaClient
  readonly #confirmation: Confirmation

  constructor(prisma: PrismaClient, confirmation: Confirmation) {
    this.#prisma = prisma
    this.#confirmation = confirmation
  }

  /**
   * Call it outside of transactions, before the one that makes the change. Where there are few
   * sessions it does nothing, at the cost of a query.
   */
  async thinOut({ bulk, spared, actingSessionId }: ThinningOut): Promise<ThinnedOut> {
    const unconfirmed: string[] = []
    let count = 0
    let confirming = Promise.resolve()
    const pace = new Pace(BATCH)
    let few = ONE_STATEMENT
    for (;;) {
      const { result: changes } = await pace.keep((size) =>
        thinOutUserSessions(this.#prisma, bulk, { size, few, spared, actingSessionId })
      )
      few = 2 * pace.size
      // One batch is confirmed while the next one ends, and no more: Redis is not given more than
      // it can take.
      await confirming
      if (changes.length === 0) return { count, unconfirmed }
      count += changes.length
      // Where one could not be confirmed the others would wait as long, each for itself.
      confirming =
        unconfirmed.length === 0
          ? this.#confirm(changes, unconfirmed)
          : this.#leave(changes, unconfirmed)
      confirming.catch(() => {}) // thrown when it is waited for
    }
  }

  async #confirm(changes: readonly Change[], unconfirmed: string[]): Promise<void> {
    if ((await this.#confirmation.confirm(changes)) !== null)
      await this.#leave(changes, unconfirmed)
  }

  async #leave(changes: readonly Change[], unconfirmed: string[]): Promise<void> {
    this.#confirmation.forget(changes)
    unconfirmed.push(...changes.map(({ sessionId }) => sessionId))
  }
}
