import { AsyncLocalStorage } from 'node:async_hooks'
import { disableWhenIdle } from '../async-local-storage-node20.js'

/** Who did something to an account: `unknown` is whoever failed to sign in. */
export type ActorKind = 'person' | 'administrator' | 'operator' | 'system' | 'unknown'

/** Who did something, and from where. */
export interface Origin {
  actor: ActorKind
  /** The user id of an administrator. */
  actorId: string | null
  /** The session in which it was done. */
  sessionId: string | null
  ipAddress: string | null
  /** As it was sent: it is cut where it is written. */
  userAgent: string | null
}

const nowhere = { actorId: null, sessionId: null, ipAddress: null, userAgent: null } as const

/** What the server does by itself: a ban that ended, a retention. */
export const systemOrigin: Origin = { actor: 'system', ...nowhere }

/**
 * Whoever runs the command line on the server's machine: the operating system knows who that is.
 */
export const operatorOrigin: Origin = { actor: 'operator', ...nowhere }

const operations = disableWhenIdle(new AsyncLocalStorage<Origin>())

/** Runs an operation of the command line: whatever it changes is the operator's doing. */
export function actingAsOperator<T>(work: () => Promise<T>): Promise<T> {
  return operations.run(operatorOrigin, work)
}

/** Who acts outside of any request: the operator, or the server itself. */
export function originOutsideRequests(): Origin {
  return operations.getStore() ?? systemOrigin
}
