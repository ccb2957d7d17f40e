import type { Check, Credential } from './session/session.js'

/**
 * The part of Holdfast that an application sees. `holdfast.ts` adds the rest, for Holdfast's own
 * code: in the package's types it would include those of better-auth and Prisma, which take a
 * compiler a minute to read.
 */
export interface Holdfast {
  readonly reader: SessionChecks
  /** Whether the store has been found compatible. Until then no session can be checked. */
  ready(): boolean
  /** Resolves when `ready` is true. Never resolves where the store is not compatible. */
  readonly prepared: Promise<void>
  /**
   * Makes this process not ready, while it still serves requests that arrive. `watched`: readiness
   * was asked for lately.
   */
  drain(): { watched: boolean }
  readonly draining: boolean
}

/** Decides whether a session is valid. */
export interface SessionChecks {
  /**
   * Whether a credential belongs to an active session, and to which.
   *
   * @throws StoreUnavailable when the store does not answer
   */
  check(credential: Credential): Promise<Check>
}
