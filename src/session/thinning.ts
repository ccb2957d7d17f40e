import type { Confirmation } from '../cache/confirmation.js'
import type { PrismaClient } from '../database/database.js'
import { thinOutSessionsOf, type BulkRevocation } from './revocation.js'

/** What of a user's sessions is to end, and on whose authority. */
export interface ThinningOut {
  bulk: Pick<BulkRevocation, 'userId' | 'reason'>
  /** Are not ended here, whatever becomes of them later: the session that authorises the change, and those that it spares. */
  spared: readonly string[]
  /** Nothing ends once this session has ended; null for an operator. */
  authorityId: string | null
}

/** What was ended beforehand. */
export interface ThinnedOut {
  count: number
  /** As in `Revoked`. */
  effectiveBy: Date | null
}

/**
 * Ends sessions ahead of a change that ends all of a user's, where there are more than one statement should end: older versions had no cap,
 * an import has none, and a cap may be lowered. Each batch is committed with its outbox rows, the longest idle first. If the process dies in
 * between, some sessions have ended that were to end, and nothing else has changed.
 */
export class Thinning {
  readonly #prisma: PrismaClient
  readonly #confirmation: Confirmation

  constructor(prisma: PrismaClient, confirmation: Confirmation) {
    this.#prisma = prisma
    this.#confirmation = confirmation
  }

  /** Call it outside of transactions, before the one that makes the change. Where there are few sessions it does nothing, at the cost of a query. */
  async thinOut({ bulk, spared, authorityId }: ThinningOut): Promise<ThinnedOut> {
    const confirmations: Promise<Date | null>[] = []
    let count = 0
    for (;;) {
      const changes = await thinOutSessionsOf(this.#prisma, bulk, spared, authorityId)
      if (changes.length === 0) break
      count += changes.length
      // Not one after the other: a node that does not answer is waited for once, and not once for each batch.
      const confirmed = this.#confirmation.confirm(changes)
      confirmed.catch(() => {}) // told below, unless the next batch fails
      confirmations.push(confirmed)
    }
    return { count, effectiveBy: latest(await Promise.all(confirmations)) }
  }
}

/** The latest of several times by which changes are effective; null when all of them are. */
export function latest(times: readonly (Date | null)[]): Date | null {
  return times.reduce((last, time) => (time && (!last || last < time) ? time : last), null)
}
