import type { Confirmation } from './confirmation.js'
import type { Change } from '../session/outbox.js'
import type { PrismaClient } from '../database/database.js'
import { Pace } from '../database/pace.js'
import { thinOutUserSessions, type BulkRevocation } from '../session/revocation.js'
import { ONE_STATEMENT } from '../session/store.js'

const BATCH = { first: 100, min: 20, max: ONE_STATEMENT / 2 }

/** Which sessions of a user are to end, and which session authorises it. */
export interface ThinningOut {
  bulk: Pick<BulkRevocation, 'userId' | 'reason'>
  /**
   * Not ended here: the acting session, and those that the change spares. The change decides about
   * them later.
   */
  spared: readonly string[]
  /** The acting session: nothing ends once it has ended. Null for an operator. */
  actingSessionId: string | null
}

/** What was ended before the change. */
export interface ThinnedOut {
  count: number
  /** Sessions whose end could not be confirmed. Settle them together with the change. */
  unconfirmed: string[]
}

/**
 * Ends sessions before a change that ends all sessions of a user, where there are more than one
 * statement should end: older versions had no cap, an import has none, and a cap may be lowered.
 * Each batch is committed with its outbox rows, the longest idle first. If the process dies in
 * between, some of the sessions have ended, and nothing else has changed.
 *
 * A batch is as large as the store ends in a fraction of a statement's time limit. At most two
 * batches are left to the change itself, so that it also keeps within the limit.
 */
export class Thinning {
  readonly #prisma: PrismaClient
  readonly #confirmation: Confirmation
  readonly #now: () => number

  /** @param now monotonic milliseconds */
  constructor(prisma: PrismaClient, confirmation: Confirmation, now: () => number) {
    this.#prisma = prisma
    this.#confirmation = confirmation
    this.#now = now
  }

  /**
   * Call it outside of transactions, before the transaction that makes the change. Where there are
   * few sessions it costs only a query.
   */
  async thinOut({ bulk, spared, actingSessionId }: ThinningOut): Promise<ThinnedOut> {
    const unconfirmed: string[] = []
    let count = 0
    let confirming = Promise.resolve()
    const pace = new Pace(BATCH, this.#now)
    let few = ONE_STATEMENT
    for (;;) {
      const { result: changes } = await pace.keep((size) =>
        thinOutUserSessions(this.#prisma, bulk, { size, few, spared, actingSessionId })
      )
      few = 2 * pace.size
      // One batch is confirmed while the next one ends, and no more, so as not to overload Redis.
      await confirming
      if (changes.length === 0) return { count, unconfirmed }
      count += changes.length
      // Once one confirmation has failed, each of the others would wait as long: leave them to the
      // change.
      confirming =
        unconfirmed.length === 0
          ? this.#confirm(changes, unconfirmed)
          : this.#leave(changes, unconfirmed)
      confirming.catch(() => {}) // the error is thrown by the `await` above
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
