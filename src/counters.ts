import type { BreakerState } from './redis/breaker.js'

/**
 * The source of a check's answer: this process, Redis, the store; or none, because the credential
 * itself was invalid.
 */
export type Layer = 'local' | 'shared' | 'store' | 'none'

/**
 * The result of a check. `refused`: the session has expired, its user may not act, or the secret is
 * wrong.
 */
export type CheckResult = 'active' | 'refused' | 'revoked' | 'unknown' | 'unavailable'

type Row = Record<CheckResult, number>

const row = (): Row => ({ active: 0, refused: 0, revoked: 0, unknown: 0, unavailable: 0 })

/**
 * The counters of this process since its start, as plain numbers: counting adds one to a number, so
 * that it costs a request almost nothing. Durations go to a callback.
 */
export class Counters {
  readonly checks: Record<Layer, Row> = { local: row(), shared: row(), store: row(), none: row() }
  /**
   * Refused copies in Redis: written by no node of this store, older than a copy may be, or in
   * another version's encoding.
   */
  readonly copiesRefused = { forged: 0, old: 0, form: 0 }
  /** Revocations by reason. */
  readonly revocations = new Map<string, number>()
  /** Refreshes by outcome. */
  readonly refreshes = new Map<string, number>()
  /** Sign-ins by outcome. */
  readonly signIns = new Map<string, number>()
  /** Attempts at second factors, by factor and outcome. */
  readonly factors = new Map<string, Map<string, number>>()
  /** Mails, by kind and outcome. */
  readonly mails = new Map<string, Map<string, number>>()
  /**
   * Called with the time from the commit of a change to its confirmation (`confirmed`), or to its
   * failure (`pending`).
   */
  onConfirmed: (ms: number, outcome: 'confirmed' | 'pending') => void = () => {}

  revoked(reason: string): void {
    add(this.revocations, reason)
  }

  signedIn(outcome: string): void {
    add(this.signIns, outcome)
  }

  /** @param outcome how an attempt ended: sent, retried, refused, … */
  mailed(kind: string, outcome: string): void {
    const outcomes = this.mails.get(kind) ?? new Map<string, number>()
    this.mails.set(kind, outcomes)
    add(outcomes, outcome)
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

/** What this process holds now. */
export interface Stats {
  local: { entries: number; bytes: number } | null
  /** Whether this process holds its cache lease. Null where it has no cache. */
  leaseHeld: boolean | null
  /** The breaker before Redis. Null without Redis. */
  breaker: BreakerState | null
  pool: { total: number; idle: number; waiting: number } | null
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}
