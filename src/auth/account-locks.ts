import { BASE_ERROR_CODES } from '@better-auth/core/error'
import { APIError } from 'better-auth/api'
import { TWO_FACTOR_ERROR_CODES } from 'better-auth/plugins'
import type { Queryable } from '../database/database.js'
import { advanceCredentialEpoch, dropPendingFactors } from '../session/revocation.js'
import { notBanned } from '../session/store.js'
import { actorToHold, holdActorsUser, holdActorWith } from './acting-session.js'
import { currentCall } from './call-context.js'

/*
 * What a write of an account holds until it commits. better-auth decides by what it has read, and
 * another call may change that before the write: each of these looks again under the user's lock.
 */

/**
 * Locks a user's row first, and then the sessions that change with it. Makes sure that the acting
 * session is still active, that its user still has the right, and that the verified credentials are
 * still current. All of this stays so until the change is committed.
 *
 * @param change what is about to change. `role`: impersonations end with it. `sessions`: sign-ins
 *   under way must fail, because their sessions would be missed. `credentials`: challenges and
 *   trusted devices end as well.
 * @throws APIError 401 when the acting session has ended; 403 when its user has lost the right; the
 *   error of a wrong password or code when the verified one has changed
 */
export async function lockUser(
  db: Queryable,
  userId: string,
  change: 'profile' | 'role' | 'sessions' | 'credentials'
): Promise<void> {
  const actor = actorToHold()
  // Users are locked in the order of their ids, like sessions: two administrators may change each
  // other at once.
  if (actor && actor.session.userId < userId) await holdActorsUser(db, actor)
  if (change === 'sessions' || change === 'credentials') {
    const epoch = await advanceCredentialEpoch(db, userId)
    // This call's own change must not fail the session that it is about to begin.
    if (epoch !== null) currentCall().epochs.set(userId, epoch)
    if (change === 'credentials') await dropPendingFactors(db, userId)
  } else {
    // The caller bumps the sessions, so this setting tells the trigger for manual changes to skip
    // the user.
    await db.$queryRaw`SELECT set_config('holdfast.bumped', "id", true) FROM "user" WHERE "id" = ${userId} FOR NO KEY UPDATE`
  }
  if (actor && actor.session.userId > userId) await holdActorsUser(db, actor)
  if (actor) await holdActorWith(db, actor, { userId, impersonations: change !== 'profile' })
  await holdShown(db, userId)
}

/**
 * Makes sure that the verified password and code of the call are still those of the acting user,
 * whose row is locked. They were verified before the lock, and a hash takes time. The error is that
 * of a wrong one, because by now it is wrong. It is not the 401 of an ended session, because the
 * session is still valid.
 *
 * @throws APIError 400 INVALID_PASSWORD or 401 INVALID_CODE
 */
async function holdShown(db: Queryable, userId: string): Promise<void> {
  const {
    actor,
    shown: { password, factor }
  } = currentCall()
  if (actor?.session.userId !== userId || (password === null && factor === null)) return
  const [still] = await db.$queryRaw<{ password: boolean; factor: boolean }[]>`
    SELECT ${password}::text IS NULL OR EXISTS (SELECT 1 FROM "account" WHERE "userId" = ${userId} AND "password" = ${password}) AS "password",
      ${factor}::text IS NULL OR EXISTS (SELECT 1 FROM "two_factor" WHERE "userId" = ${userId} AND "secret" = ${factor}) AS "factor"`
  if (still?.password !== true)
    throw APIError.from('BAD_REQUEST', BASE_ERROR_CODES.INVALID_PASSWORD)
  if (!still.factor) throw APIError.from('UNAUTHORIZED', TWO_FACTOR_ERROR_CODES.INVALID_CODE)
}

/**
 * Makes sure that a user is not banned. better-auth lifts an expired ban when the user signs in, by
 * what it has read and by this machine's clock. The ban may be another one by now, or not over yet.
 *
 * @throws APIError 403 BANNED_USER
 */
export async function holdBanOver(db: Queryable, userId: string): Promise<void> {
  const over = await db.$queryRaw<
    unknown[]
  >`SELECT 1 FROM "user" WHERE "id" = ${userId} AND ${notBanned}`
  if (over.length === 0)
    throw new APIError('FORBIDDEN', { code: 'BANNED_USER', message: 'You are banned.' })
}

/**
 * Makes sure that no second factor of a user counts yet. better-auth checks this before it enrols
 * one, but another call may have finished an enrolment since. That factor must not be replaced by
 * one whose code was never verified.
 *
 * @throws APIError 400 TOTP_ALREADY_ENABLED
 */
export async function holdNoFactor(db: Queryable, userId: string): Promise<void> {
  const counting = await db.$queryRaw<
    unknown[]
  >`SELECT 1 FROM "two_factor" WHERE "userId" = ${userId} AND "verified" IS DISTINCT FROM false`
  if (counting.length > 0)
    throw new APIError('BAD_REQUEST', TWO_FACTOR_ERROR_CODES.TOTP_ALREADY_ENABLED)
}

/**
 * Makes sure that a user keeps a way to sign in beside those that are removed. better-auth checks
 * this before it removes one, but another call may have removed another one since.
 *
 * @throws APIError 400 FAILED_TO_UNLINK_LAST_ACCOUNT
 */
export async function holdAnotherWayIn(
  db: Queryable,
  userId: string,
  removed: readonly { id: string }[]
): Promise<void> {
  const kept = await db.$queryRaw<
    unknown[]
  >`SELECT 1 FROM "account" WHERE "userId" = ${userId} AND "id" <> ALL(${removed.map(({ id }) => id)}::text[]) LIMIT 1`
  if (kept.length === 0)
    throw new APIError('BAD_REQUEST', BASE_ERROR_CODES.FAILED_TO_UNLINK_LAST_ACCOUNT)
}

/** The answer to a sign-in whose account changed under way. */
export function credentialChanged(): APIError {
  return new APIError('UNAUTHORIZED', {
    code: 'CREDENTIAL_CHANGED',
    message: 'The account changed while you were signing in. Try again.'
  })
}
