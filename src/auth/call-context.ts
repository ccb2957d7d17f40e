import { AsyncLocalStorage } from 'node:async_hooks'
import type { Confirmation, Unconfirmed } from '../revocation/confirmation.js'
import type { Change } from '../session/outbox.js'
import type { ErrorCode, InactiveCode } from '../errors.js'
import { disableWhenIdle } from '../async-local-storage-node20.js'
import type { Family, SurrogateToken } from '../token/token-service.js'
import type { ParsedToken } from '../session/session-token.js'
import type { Session } from '../session/session.js'
import type { Actor } from './acting-session.js'
import type { EndpointCall } from './endpoint-rules.js'
import type { HashClient } from './hash-queue.js'

/**
 * How the client wants its credentials: in cookies (and bearer's header), or as tokens in the body.
 */
export type TokenTransport = 'cookie' | 'body'

/** What one call of better-auth must remember between the adapter calls that it makes. */
export interface AuthCallContext {
  /**
   * The session that the request's cookie names, by signature and shape; whether it is active is
   * another question.
   */
  readonly presented: ParsedToken | null
  readonly transport: TokenTransport
  readonly surrogate: SurrogateToken | null
  /** From where the request came, and whether somebody still waits for its answer. */
  readonly client: HashClient
  /** The client's address and user agent, as events keep them. */
  readonly from: { address: string | null; userAgent: string | null }
  /** What the client calls the device: a session that the call begins has this name. */
  readonly deviceName: string | null
  /**
   * The endpoint that better-auth has routed the call to; null before that, and outside a request.
   */
  call: EndpointCall | null
  /**
   * Why the session that was shown is not enough for that endpoint, which was told of no session
   * then; null where nothing was withheld.
   */
  insufficient: ErrorCode | null
  /**
   * Each user's credential epoch as it was first read, which is before any credential was verified.
   */
  readonly epochs: Map<string, number>
  /** The ids of the users that were read, by e-mail address. */
  readonly userIds: Map<string, string>
  /**
   * What the call was shown of the acting user's credentials and found right, as it is stored: it
   * must still be theirs when what rests on it is written.
   */
  readonly shown: { password: string | null; factor: string | null }
  /** Whose second factor the call shows a code of, in a sign-in that it goes on with. */
  challenged: string | null
  /**
   * Who authenticated the call: its writes must not commit after that session has ended, or its
   * user has lost the right.
   */
  actor: Actor | null
  /** The transaction in which that has been made sure of under locks. */
  heldIn: object | null
  /**
   * Why the call's writes are no longer authorised; null where they are. Some endpoints make a
   * failure of their own of it.
   */
  authorityEnded: ErrorCode | null
  /** The sessions that this call has ended itself. */
  readonly endedHere: Set<string>
  /** The users that this call has made. */
  readonly createdUsers: Set<string>
  /** The session on whose behalf a new one begins (one-time token). */
  source: Session | null
  /** Whose session the call inserted last; null where an administrator acts as somebody else. */
  insertedFor: string | null
  /** Whether users whom the call deletes are to be erased. */
  erasing: boolean
  /**
   * The session that the call inserted last; null where it inserted none: then no token may leave.
   */
  insertedSession: string | null
  /** Why the stand-in's access token counts for nothing; null where nobody asked or it counts. */
  surrogateRefused: InactiveCode | null
  /** The refresh family of the session that was inserted last. */
  family: Family | null
  /** That family, when the call has ended with its session as the result. */
  begun: Family | null
  /** A value that the store cannot take was sent; better-auth may swallow the error. */
  invalidInput: boolean
  /** Present where a sign-in has met the cap of sessions, with when it may be tried again. */
  noRoom: { retryAfterSeconds: number } | null
  /**
   * What the call has committed, and whose changes by others it has met: made known to every cache
   * before it answers, all at once.
   */
  unconfirmed: { changes: Change[]; sessionIds: Set<string>; userIds: Set<string> }
  /**
   * When a revocation that could not be confirmed has become effective everywhere; null when all
   * were.
   */
  pendingUntil: Date | null
}

const scopes = disableWhenIdle(new AsyncLocalStorage<AuthCallContext>())

/** What the request says of itself. */
export type AuthRequest = Pick<
  AuthCallContext,
  'presented' | 'transport' | 'surrogate' | 'client' | 'from' | 'deviceName'
>

export function createCallContext(request: AuthRequest): AuthCallContext {
  return {
    ...request,
    call: null,
    insufficient: null,
    epochs: new Map(),
    userIds: new Map(),
    shown: { password: null, factor: null },
    challenged: null,
    actor: null,
    heldIn: null,
    authorityEnded: null,
    endedHere: new Set(),
    createdUsers: new Set(),
    erasing: false,
    source: null,
    insertedFor: null,
    insertedSession: null,
    surrogateRefused: null,
    family: null,
    begun: null,
    invalidInput: false,
    noRoom: null,
    unconfirmed: { changes: [], sessionIds: new Set(), userIds: new Set() },
    pendingUntil: null
  }
}

/** Runs a call of better-auth in its scope. */
export function runInScope<T>(scope: AuthCallContext, work: () => T): T {
  return scopes.run(scope, work)
}

/** A script inside this process. */
const noClient: HashClient = { networks: { wide: 'local', narrow: 'local' }, gone: null }

/** What is done outside of a request: nobody has asked for it from anywhere. */
const noRequest: AuthRequest = {
  presented: null,
  transport: 'cookie',
  surrogate: null,
  client: noClient,
  from: { address: null, userAgent: null },
  deviceName: null
}

/**
 * The scope of the running call; a call from outside a request (a script) has one that nobody else
 * sees.
 */
export function currentCall(): AuthCallContext {
  return scopes.getStore() ?? createCallContext(noRequest)
}

/**
 * Runs what calls better-auth outside of a request in a scope of its own: its steps know of each
 * other, as those of a request do.
 */
export function runOutsideRequest<T>(work: () => T): T {
  return runInScope(createCallContext(noRequest), work)
}

/**
 * Has changes made known before the running call answers. Each of its steps must not wait on its
 * own: one that a node does not acknowledge lasts a lease, and two would break the bound. A call
 * from outside a request waits at once.
 */
export async function confirmBeforeAnswer(
  confirmation: Confirmation,
  { changes = [], sessionIds = [], userIds = [] }: Unconfirmed
): Promise<void> {
  confirmation.forget(changes)
  const scope = scopes.getStore()
  if (!scope) {
    await confirmation.settle({ changes, sessionIds, userIds })
    return
  }
  scope.unconfirmed.changes.push(...changes)
  for (const id of sessionIds) scope.unconfirmed.sessionIds.add(id)
  for (const id of userIds) scope.unconfirmed.userIds.add(id)
}

/**
 * Makes known what the running call has committed. Call it when the call has changed everything,
 * before its answer leaves.
 */
export async function confirmNow(confirmation: Confirmation): Promise<void> {
  const scope = currentCall()
  const { changes, sessionIds, userIds } = scope.unconfirmed
  scope.unconfirmed = { changes: [], sessionIds: new Set(), userIds: new Set() }
  notePending(
    await confirmation.settle({ changes, sessionIds: [...sessionIds], userIds: [...userIds] })
  )
}

/** Notes that a revocation of this call is not final before `effectiveBy`. */
export function notePending(effectiveBy: Date | null): void {
  const scope = currentCall()
  if (effectiveBy && (!scope.pendingUntil || scope.pendingUntil < effectiveBy))
    scope.pendingUntil = effectiveBy
}
