import type { BreakerState } from './redis/breaker.js'

/**
 * Where an answer to a check came from: this process, Redis, the store; or nowhere, because the
 * credential itself was no good.
 */
export type Layer = 'local' | 'shared' | 'store' | 'none'

/**
 * What a check found. `refused`: a session that has expired, whose user may not act, or whose
 * secret is another.
 */
export type CheckResult = 'active' | 'refused' | 'revoked' | 'unknown' | 'unavailable'

type Row = Record<CheckResult, number>

const row = (): Row => ({ active: 0, refused: 0, revoked: 0, unknown: 0, unavailable: 0 })

/**
 * What this process has done since it began, in plain numbers: whoever counts on the way of a
 * request adds one and nothing else, and whoever wants to show them reads them. Times are given to
 * whoever listens.
 */
export class Counters {
  readonly checks: Record<Layer, Row> = { local: row(), shared: row(), store: row(), none: row() }
  /**
   * Copies in Redis that did not count: of no node of this store, older than a copy may be, or of
   * another version's form.
   */
  readonly copiesRefused = { forged: 0, old: 0, form: 0 }
  /** Revocations by reason. */
  readonly revocations = new Map<string, number>()
  /** Refreshes by outcome. */
  readonly refreshes = new Map<string, number>()
  /** Sign-ins by outcome. */
  readonly signIns = new Map<string, number>()
  /** Second factors that were shown, by factor and outcome. */
  readonly factors = new Map<string, Map<string, number>>()
  /** Told how long after its commit a change was known everywhere, or was not (`pending`). */
  onConfirmed: (ms: number, outcome: 'confirmed' | 'pending') => void = () => {}

  revoked(reason: string): void {
    add(this.revocations, reason)
  }

  signedIn(outcome: string): void {
    add(this.signIns, outcome)
  }

  factorShown(factor: string, outcome: string): void {
    const outcomes = this.factors.get(factor) ?? new Map<string, number>()
    this.factors.set(factor, outcomes)
    add(outcomes, outcome)
  }

  /** @param outcome what the client was told: rotated, replayed, reused, … */
  refreshed(outcome: string): void {
    add(this.refreshes, outcome)
  }
}

/** What this process holds at this moment. */
export interface Stats {
  local: { entries: number; bytes: number } | null
  /** Whether this process may answer from its caches; null where it has none. */
  leaseHeld: boolean | null
  /** Whether commands are sent to Redis; null without it. */
  breaker: BreakerState | null
  pool: { total: number; idle: number; waiting: number } | null
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}
