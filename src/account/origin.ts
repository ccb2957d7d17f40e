import { AsyncLocalStorage } from 'node:async_hooks'
import { disableWhenIdle } from '../async-local-storage-node20.js'

/** The kind of actor. `unknown`: a client that failed to sign in. */
export type ActorKind = 'person' | 'administrator' | 'operator' | 'system' | 'unknown'

/** The actor, and the address and device. */
export interface Origin {
  actor: ActorKind
  /** The user id of an administrator. */
  actorId: string | null
  /** The session in which it was done. */
  sessionId: string | null
  ipAddress: string | null
  /** As it was sent. It is cut when it is written. */
  userAgent: string | null
}

const nowhere = { actorId: null, sessionId: null, ipAddress: null, userAgent: null } as const

/** For what the server does by itself: the end of a ban, retention. */
export const systemOrigin: Origin = { actor: 'system', ...nowhere }

/**
 * The user of the command line on the server's machine. The operating system's own records say who
 * that is.
 */
export const operatorOrigin: Origin = { actor: 'operator', ...nowhere }

const operations = disableWhenIdle(new AsyncLocalStorage<Origin>())

/** Runs an operation of the command line. All its changes have the operator as actor. */
export function actingAsOperator<T>(work: () => Promise<T>): Promise<T> {
  return operations.run(operatorOrigin, work)
}

/** The origin outside of any request: the operator, or the server itself. */
export function originOutsideRequests(): Origin {
  return operations.getStore() ?? systemOrigin
}
