import type { Check, Credential } from './session/session.js'

/**
 * What an application sees of the Holdfast that it has registered. `holdfast.ts` adds the rest, for
 * Holdfast's own code: in the types of the package it would bring those of better-auth and Prisma,
 * which take a compiler a minute to read.
 */
export interface Holdfast {
  readonly reader: SessionChecks
  /** Whether the store has been found fit; until then nothing is known about any session. */
  ready(): boolean
  /** Resolves when `ready` is true, and never where the store turns out to be unfit. */
  readonly prepared: Promise<void>
  /**
   * From now on this process does not want requests, and serves those that come. `watched`:
   * somebody has lately asked whether it does.
   */
  drain(): { watched: boolean }
  readonly draining: boolean
}

/** Decides whether a session is valid. */
export interface SessionChecks {
  /**
   * Whether a credential stands for an active session, and whose.
   *
   * @throws StoreUnavailable when nobody knows
   */
  check(credential: Credential): Promise<Check>
}
