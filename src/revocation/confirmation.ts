import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.js'
import type { Queryable } from '../database/database.js'
import type { DatabaseClock } from '../cluster/database-clock.js'
import type { NodeLease } from '../cluster/node-lease.js'
import {
  claimUnconfirmed,
  confirmChanges,
  findUnconfirmed,
  releaseClaims,
  tailOutbox,
  type Change
} from '../session/outbox.js'
import { chunk } from '../chunk.js'
import type { SessionCache } from '../cache/session-cache.js'
import type { SharedCache } from '../cache/shared-cache.js'
import type { Counters } from '../counters.js'

/** How long a caller waits for another node to confirm what this one could not, in milliseconds. */
const RELAY_WAIT_MS = 2_000
const RELAY_POLL_MS = 50
/** Changes written to Redis at once. Redis would not answer more within a command's time limit. */
const BATCH = 500
/** Changes announced in one message: a larger one could break a subscriber's output buffer. */
const ANNOUNCED = 5_000
/**
 * The margin of a time bound: 2 s for clocks that differ, and 2 s, the length of a fill lease,
 * because a copy may reach Redis late.
 */
const MARGIN_MS = 4_000

export interface ConfirmationOptions {
  db: Queryable
  cache: SessionCache
  /** Null where only one process has caches. */
  shared: SharedCache | null
  lease: NodeLease | null
  ttlMs: number
  /** Whether the store can have no other process than this one. */
  alone: boolean
  /**
   * Whether every node that may hold copies receives this node's changes. Called after the changes
   * were spread.
   */
  mayConfirm: () => Promise<boolean>
  counters: Counters
  /**
   * Takes note of the database's time with each round of the tail. Copies in Redis are aged by it.
   */
  databaseClock: DatabaseClock
  clock: Clock
}

/**
 * What a call has changed, and the sessions and users whose changes by other calls it must wait
 * for.
 */
export interface Unconfirmed {
  changes?: readonly Change[]
  sessionIds?: readonly string[]
  userIds?: readonly string[]
}

/** Makes committed changes known to every cache before the call that made them is answered. */
export class Confirmation {
  readonly #options: ConfirmationOptions
  /**
   * 0 makes the first round read every row that is kept: this node may have joined a Redis that
   * never received them.
   */
  #tailFrom = 0n
  readonly #tailed = new Map<string, number>()
  /**
   * Whether every row that is kept has been applied once. Before that, a copy in Redis may be older
   * than a change made by a node without Redis.
   */
  caughtUp = false

  constructor(options: ConfirmationOptions) {
    this.#options = options
  }

  /**
   * Waits until no cache can answer with a copy from before these changes. Call it after their
   * commit.
   *
   * @returns null when that is so; else the time by which every such copy has ended
   */
  async confirm(changes: readonly Change[]): Promise<Date | null> {
    return this.#timed(changes, [])
  }

  /** @param others changes that other calls have made and counted */
  async #timed(own: readonly Change[], others: readonly Change[]): Promise<Date | null> {
    const changes = join(own, others)
    if (changes.length === 0) return null
    const { counters, clock } = this.#options
    for (const { reason } of own) if (reason !== null) counters.revoked(reason)
    const began = clock.monotonic()
    const effectiveBy = await this.#confirm(changes)
    counters.onConfirmed(clock.monotonic() - began, effectiveBy ? 'pending' : 'confirmed')
    return effectiveBy
  }

  async #confirm(changes: readonly Change[]): Promise<Date | null> {
    const { cache, alone, shared, ttlMs, db, clock } = this.#options
    const effectiveBy = new Date(clock.now() + ttlMs + MARGIN_MS)
    cache.invalidate(changes)
    if (alone) return null
    try {
      await this.#spread(changes)
    } catch {
      return (await this.#waitForRelay(changes)) ? null : effectiveBy
    }
    // The changes are confirmed even if this fails: a relay will then confirm them again.
    if (shared) await confirmChanges(db, changes).catch(() => {})
    return null
  }

  /**
   * Forgets copies of this node at once. Other nodes receive the changes when they are confirmed.
   */
  forget(changes: readonly Change[]): void {
    this.#options.cache.invalidate(changes)
  }

  /**
   * As `confirm`, but includes the unconfirmed changes that other calls made to these sessions: an
   * answer of "already done" must be as final as the first one. All changes are one announcement,
   * so a node that does not answer is waited for only once.
   */
  async settle({ changes = [], sessionIds = [], userIds = [] }: Unconfirmed): Promise<Date | null> {
    if (this.#options.alone || sessionIds.length + userIds.length === 0)
      return this.confirm(changes)
    return this.#timed(changes, await findUnconfirmed(this.#options.db, sessionIds, userIds))
  }

  /** Confirms what other nodes could not confirm. Every node that reaches both stores runs it. */
  async relay(): Promise<void> {
    const { db, cache } = this.#options
    const rows = await claimUnconfirmed(db)
    if (rows.length === 0) return
    cache.invalidate(rows)
    try {
      await this.#spread(rows)
    } catch (error) {
      await releaseClaims(db, rows).catch(() => {}) // the claims expire without it
      throw error
    }
    await confirmChanges(db, rows)
  }

  /**
   * Applies every committed change to this node's own cache, and through its own connection to the
   * shared one. So even with two Redis primaries at once, a revoked session is shown for at most
   * one round of the tail.
   */
  async tail(): Promise<void> {
    const { db, shared, cache, ttlMs, clock, databaseClock } = this.#options
    const now = clock.monotonic()
    const { next, now: time } = await tailOutbox(db, this.#tailFrom, async (rows) => {
      const fresh = rows.filter((row) => !this.#tailed.has(row.id))
      cache.invalidate(fresh)
      const invalidatedAt = clock.monotonic()
      if (shared) await this.#writeAll(fresh, shared)
      for (const row of fresh) this.#tailed.set(row.id, invalidatedAt)
    })
    if (time) databaseClock.note(time, now)
    this.caughtUp = true
    this.#tailFrom = next // only now: a change that could not be applied is read again
    for (const [id, at] of this.#tailed) {
      if (at > now - 2 * ttlMs) break
      this.#tailed.delete(id)
    }
  }

  async #spread(changes: readonly Change[]): Promise<void> {
    const { shared, lease, mayConfirm } = this.#options
    if (shared && lease) {
      await this.#writeAll(changes, shared)
      // All at once, so that a node that does not answer is waited for only once.
      await Promise.all(chunk(changes, ANNOUNCED).map((piece) => lease.announce(piece)))
    }
    // Checked last: a node that registers after this moment reads what was committed before it.
    if (!(await mayConfirm())) throw new Error('another node may hold copies, and has not heard')
  }

  async #writeAll(changes: readonly Change[], shared: SharedCache): Promise<void> {
    for (const piece of chunk(changes, BATCH))
      await Promise.all(piece.map((change) => this.#write(change, shared)))
  }

  async #write({ sessionId, version, reason }: Change, shared: SharedCache): Promise<void> {
    if (reason === null) await shared.drop(sessionId, version)
    else await shared.writeTombstone(sessionId, version, reason, 2 * this.#options.ttlMs)
  }

  async #waitForRelay(changes: readonly Change[]): Promise<boolean> {
    const { db, clock } = this.#options
    const deadline = clock.monotonic() + RELAY_WAIT_MS
    await releaseClaims(db, changes).catch(() => {}) // the claims expire without it
    while (clock.monotonic() < deadline) {
      await sleep(RELAY_POLL_MS)
      const open = await findUnconfirmed(
        db,
        changes.map((change) => change.sessionId)
      ).catch(() => null)
      if (open?.length === 0) return true
    }
    return false
  }
}

function join(own: readonly Change[], others: readonly Change[]): Change[] {
  const known = new Set(own.map(({ sessionId, version }) => `${sessionId} ${version}`))
  return [
    ...own,
    ...others.filter(({ sessionId, version }) => !known.has(`${sessionId} ${version}`))
  ]
}
