import { AsyncLocalStorage } from 'node:async_hooks'
import type { Confirmation, Unconfirmed } from '../revocation/confirmation.js'
import type { Change } from '../session/outbox.js'
import type { ErrorCode, InactiveCode } from '../errors.js'
import type { Language } from '../language.js'
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

/** The call context: what one call of better-auth must remember between its adapter calls. */
export interface AuthCallContext {
  /** The session that the request's cookie names, by signature and form. It may have ended. */
  readonly presented: ParsedToken | null
  readonly transport: TokenTransport
  readonly surrogate: SurrogateToken | null
  /** The client of the request, and whether it is still waiting for the answer. */
  readonly client: HashClient
  /** The client's address and user agent, as events keep them. */
  readonly from: { address: string | null; userAgent: string | null }
  /** The device's name, which a session that the call begins gets. */
  readonly deviceName: string | null
  /** The language that the client prefers. */
  readonly language: Language
  /** What the client holds of a request for a mail that it made before. */
  readonly mailHandle: string | null
  /** Whether the client's device signed in to an account before. */
  readonly isKnownDevice: (account: { userId: string; credentialEpoch: number }) => boolean
  /**
   * The endpoint that better-auth has routed the call to. Null before that, and outside a request.
   */
  call: EndpointCall | null
  /**
   * Why the acting session is not enough for that endpoint, which then sees no session. Null where
   * it is enough.
   */
  insufficient: ErrorCode | null
  /** Each user's credential epoch as it was first read, before any credential was verified. */
  readonly epochs: Map<string, number>
  /** The ids of the users that were read, by e-mail address. */
  readonly userIds: Map<string, string>
  /**
   * The acting user's credentials that the call has verified, as stored. They must still be current
   * when a write relies on them.
   */
  readonly shown: { password: string | null; factor: string | null }
  /** The user whose second factor the call tries, in a sign-in that it continues. */
  challenged: string | null
  /** How that sign-in began (RFC 8176). Null for a password. */
  challengedBy: string | null
  /** A handle for the client, which the call has made. */
  newMailHandle: string | null
  /** The user whose sign-up the client has shown to be its own, when it first proves the address. */
  ownsSignUp: string | null
  /** The id of the user whom the call is about to create, where the sign-up has told it before. */
  newUserId: string | null
  /**
   * The actor of the call. Its writes must not commit after that session has ended, or its user has
   * lost the right.
   */
  actor: Actor | null
  /** The transaction that holds the actor under locks. */
  heldIn: object | null
  /**
   * Why the call's writes are no longer authorised. Null where they are. Some endpoints turn it
   * into an error of their own.
   */
  authorityEnded: ErrorCode | null
  /** The sessions that this call has ended itself. */
  readonly endedHere: Set<string>
  /** The users that this call has created. */
  readonly createdUsers: Set<string>
  /** The session from which a new one derives (one-time token). */
  source: Session | null
  /** The user whose session the call inserted last. Null for an impersonation. */
  insertedFor: string | null
  /** Whether users whom the call deletes are to be erased. */
  erasing: boolean
  /**
   * The session that the call inserted last. Null where it inserted none: then no token may be
   * sent.
   */
  insertedSession: string | null
  /**
   * Why the access token behind the surrogate token is not valid. Null where that was not checked,
   * or it is valid.
   */
  surrogateRefused: InactiveCode | null
  /** The refresh family of the session that was inserted last. */
  family: Family | null
  /** That family, when the call has ended with its session as the result. */
  begun: Family | null
  /** A value that the store cannot take was sent. better-auth may swallow the error. */
  invalidInput: boolean
  /**
   * Present where a sign-in has met the cap of sessions, with the time until it may be tried again.
   */
  noRoom: { retryAfterSeconds: number } | null
  /**
   * What the call has committed, and the sessions and users whose changes by other calls it has
   * met. All are made known to every cache at once, before the call answers.
   */
  unconfirmed: { changes: Change[]; sessionIds: Set<string>; userIds: Set<string> }
  /**
   * When a revocation that could not be confirmed has become effective everywhere; null when all
   * were.
   */
  pendingUntil: Date | null
}

const scopes = disableWhenIdle(new AsyncLocalStorage<AuthCallContext>())

/** The part of the call context that comes from the request. */
export type AuthRequest = Pick<
  AuthCallContext,
  | 'presented'
  | 'transport'
  | 'surrogate'
  | 'client'
  | 'from'
  | 'deviceName'
  | 'language'
  | 'mailHandle'
  | 'isKnownDevice'
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
    challengedBy: null,
    newMailHandle: null,
    ownsSignUp: null,
    newUserId: null,
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

/** Runs a call of better-auth in its call context. */
export function runInScope<T>(scope: AuthCallContext, work: () => T): T {
  return scopes.run(scope, work)
}

/** The client of a script inside this process. */
const noClient: HashClient = { networks: { wide: 'local', narrow: 'local' }, gone: null }

/** The request part for work outside of a request. */
const noRequest: AuthRequest = {
  presented: null,
  transport: 'cookie',
  surrogate: null,
  client: noClient,
  from: { address: null, userAgent: null },
  deviceName: null,
  language: 'en',
  mailHandle: null,
  isKnownDevice: () => false
}

/** The context of the running call. A call from outside a request (a script) has one of its own. */
export function currentCall(): AuthCallContext {
  return scopes.getStore() ?? createCallContext(noRequest)
}

/**
 * Runs better-auth outside of a request in one call context, so that its steps share it like those
 * of a request.
 */
export function runOutsideRequest<T>(work: () => T): T {
  return runInScope(createCallContext(noRequest), work)
}

/**
 * Makes changes known to every cache before the running call answers. Steps must not wait one by
 * one: a step that a node does not acknowledge lasts a lease, and two would exceed the time bound.
 * A call from outside a request waits at once.
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
 * Makes known what the running call has committed. Call it after the call's last change and before
 * its answer.
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
