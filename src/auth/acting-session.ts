import { APIError } from 'better-auth/api'
import type { Queryable } from '../database/database.js'
import { currentTransaction } from '../database/transaction.js'
import { judge, type Session, type SessionRecord } from '../session/session.js'
import { holdSession, holdUserSessions } from '../session/store.js'
import { currentCall } from './call-context.js'

/** The actor of a call: the session that authenticated it, and the role that its user had then. */
export interface Actor {
  session: Session
  role: string | null
}

/**
 * The actor of the running call, if the current transaction does not hold its session yet. Null
 * where the call has no actor, and where the call itself has ended the session: it deletes the
 * user, or sets a new password and begins another session.
 */
export function actorToHold(): Actor | null {
  const { actor, heldIn, endedHere } = currentCall()
  if (!actor || endedHere.has(actor.session.id)) return null
  return heldIn !== null && heldIn === currentTransaction() ? null : actor
}

/**
 * Makes sure that the acting session is active and its user still has the right, and keeps both so
 * until the transaction ends. For writes that change no session and no row of `user` except that of
 * `userId`, if any.
 *
 * @throws APIError 401 when the session has ended, 403 when its user has lost the right
 */
export async function holdActor(db: Queryable, userId: string | null): Promise<void> {
  const actor = actorToHold()
  if (!actor) return
  if (userId !== null && userId < actor.session.userId) await lockOwner(db, userId)
  await holdActorsUser(db, actor)
  if (userId !== null && userId > actor.session.userId) await lockOwner(db, userId)
  acceptActor(await holdSession(db, actor.session.id))
}

/**
 * As `holdActor`, for a transaction that has locked the users and goes on to change the sessions of
 * one of them.
 */
export async function holdActorWith(
  db: Queryable,
  actor: Actor,
  { userId, impersonations }: { userId: string; impersonations: boolean }
): Promise<void> {
  acceptActor(await holdUserSessions(db, userId, actor.session.id, { impersonations }))
}

/**
 * Locks the row of the acting user, and makes sure that an administrator's role is the one with
 * which the call was authorised.
 *
 * @throws APIError 403 otherwise
 */
export async function holdActorsUser(db: Queryable, { session, role }: Actor): Promise<void> {
  const [row] = await db.$queryRaw<
    { role: string | null }[]
  >`SELECT "role" FROM "user" WHERE "id" = ${session.userId} FOR SHARE`
  const scope = currentCall()
  if (!scope.call?.path.startsWith('/admin/') || !row || row.role === role) return
  scope.authorityEnded = 'right_changed'
  throw new APIError('FORBIDDEN', {
    code: 'RIGHT_CHANGED',
    message: 'What allowed this changed while the request was under way.'
  })
}

async function lockOwner(db: Queryable, userId: string): Promise<void> {
  await db.$queryRaw`SELECT 1 FROM "user" WHERE "id" = ${userId} FOR SHARE`
}

/**
 * Accepts the acting session as it was read under its lock.
 *
 * @throws APIError 401 when it has ended
 */
export function acceptActor(record: SessionRecord | null): void {
  const scope = currentCall()
  const check = record ? judge(record) : null
  scope.authorityEnded = check?.active ? null : (check?.cause ?? 'session_unknown')
  if (scope.authorityEnded)
    throw new APIError('UNAUTHORIZED', { code: 'UNAUTHORIZED', message: 'Unauthorized' })
  scope.heldIn = currentTransaction()
}
