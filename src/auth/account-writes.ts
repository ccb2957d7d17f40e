import { BASE_ERROR_CODES } from '@better-auth/core/error'
import type { DBAdapter, Where } from 'better-auth'
import { APIError } from 'better-auth/api'
import { TWO_FACTOR_ERROR_CODES } from 'better-auth/plugins'
import type { NewAccountEvent } from '../account/account-event.js'
import { writeAccountEvents } from '../account/store.js'
import type { Change } from '../session/outbox.js'
import type { Queryable } from '../database/database.js'
import { Pace, ROWS } from '../database/pace.js'
import { afterCommit } from '../database/transaction.js'
import {
  advanceCredentialEpoch,
  dropOldestPendingFactors,
  dropPendingFactors,
  endImpersonationsBy,
  holdCredential,
  revokeUserSessions,
  type BulkRevocation
} from '../session/revocation.js'
import type { RevocationReason } from '../session/session.js'
import { endFamily } from '../token/rotation.js'
import { forgetRecentSignIns } from '../session/recent-sign-in.js'
import { bumpUserSessions, notBanned, type BumpedPage } from '../session/store.js'
import {
  eventOfLostWayIn,
  eventOfNewWayIn,
  eventOfPassword,
  eventsOfUser,
  isToldUpdate,
  originOfUpdate,
  type WayIn
} from './account-changes.js'
import { actorToHold, holdActor, holdActorWith, holdActorsUser } from './acting-session.js'
import { currentOrigin } from './event-origin.js'
import { endpointPath } from './reasons.js'
import { currentCall } from './call-context.js'

interface Write {
  model: string
  where: Where[]
  update: Record<string, unknown>
}

/**
 * Users that one call changes at most. Nothing here changes more than one, and each of them is
 * locked, with all sessions.
 */
const USERS = 100

interface Creation {
  model: string
  data: Record<string, unknown>
}

export interface AccountWritesOptions {
  innerOn: (db: Queryable) => DBAdapter
  /** Where to read before the transaction of a change, and where to go on after it. */
  reading: () => Promise<Queryable>
  prisma: Queryable
  /** Makes changes known to every cache, when they are committed. */
  changed: (changes: readonly Change[]) => Promise<void>
  /**
   * As `changed`, when sessions of a user were ended, together with those that somebody else has
   * ended.
   */
  ended: (userId: string, changes: readonly Change[]) => Promise<void>
  /**
   * Ends sessions ahead of a change that ends all of a user's, where there are more than one
   * statement should end.
   */
  thinOut: (bulk: Pick<BulkRevocation, 'userId' | 'reason'>) => Promise<void>
  /** The keyed hash under which events keep a name. */
  hashName: (name: string) => string
  /** Notes that a user who is being deleted is to be erased. */
  requestErasure: (db: Queryable, userId: string) => Promise<void>
}

/** The models whose rows say who somebody is and how they prove it. */
const guarded: readonly string[] = ['user', 'account', 'twoFactor']

/**
 * Writes of users, their credentials and factors, each in one transaction: lock the users, hold the
 * session that authorises the write, end or bump the sessions, tell what happens (`account_event`),
 * then write. A credential that is new, changed or gone ends every other session, a ban ends all;
 * any other change of a user bumps the versions of the sessions that show it.
 */
export class AccountWrites {
  readonly #options: AccountWritesOptions
  readonly #innerOn: (db: Queryable) => DBAdapter
  readonly #changed: (changes: readonly Change[]) => Promise<void>
  readonly #ended: (userId: string, changes: readonly Change[]) => Promise<void>

  constructor(options: AccountWritesOptions) {
    this.#options = options
    this.#innerOn = options.innerOn
    this.#changed = options.changed
    this.#ended = options.ended
  }

  /** Whether a write must go through here. */
  guards(model: string, fields: Record<string, unknown> = {}): boolean {
    const isChange =
      model === 'user' ||
      (model === 'account' && 'password' in fields) ||
      (model === 'twoFactor' && isChangeOfFactors(fields))
    return isChange || (guarded.includes(model) && actorToHold() !== null)
  }

  /**
   * Whether a row's creation or deletion must go through here: an account is a credential, whatever
   * is in it, and so is a factor.
   */
  guardsExistence(model: string): boolean {
    return model === 'account' || model === 'twoFactor' || this.guards(model)
  }

  async create(
    db: Queryable,
    creation: Creation & { forceAllowId?: boolean }
  ): Promise<Record<string, unknown>> {
    const { model, data } = creation
    const userId = typeof data['userId'] === 'string' ? data['userId'] : null
    const { createdUsers } = currentCall()
    // The first account of a user who is made by this call: there is nothing that it could change
    // yet.
    if (model === 'account' && userId !== null && !createdUsers.has(userId)) {
      await this.#changeCredentials(db, userId)
      await tell(db, eventOfNewWayIn(wayInOf(data)))
    } else if (model === 'twoFactor' && userId !== null) {
      await this.changeFactors(db, userId)
      await holdNoFactor(db, userId)
      // Begun by somebody at the same time, and not finished: the later one counts.
      await db.$executeRaw`DELETE FROM "two_factor" WHERE "userId" = ${userId}`
      await tell(db, { userId, kind: 'backup_codes_made' })
    } else await holdActor(db, userId)
    const row = await this.#innerOn(db).create<Record<string, unknown>>(creation)
    if (model === 'user' && typeof row['id'] === 'string') {
      createdUsers.add(row['id'])
      await tell(db, { userId: row['id'], kind: 'user_created' })
    }
    return row
  }

  /**
   * To be called before the transaction of a change.
   *
   * @param change with an `update` of null where rows are deleted
   */
  async thinOut(
    change: Pick<Write, 'model' | 'where'> & { update: Write['update'] | null }
  ): Promise<void> {
    const reason = endsSessions(change)
    if (reason === null) return
    for (const [userId] of await this.#rowsByUser(await this.#options.reading(), change))
      await this.#options.thinOut({ userId, reason })
  }

  /** As `thinOut`, before a row is created. */
  async thinOutFor({ model, data: { userId } }: Creation): Promise<void> {
    if (
      model === 'account' &&
      typeof userId === 'string' &&
      !currentCall().createdUsers.has(userId)
    )
      await this.#options.thinOut({ userId, reason: 'password_changed' })
  }

  async update<T>(db: Queryable, change: Write): Promise<T | null> {
    const [first] = await this.#rowsByUser(db, change)
    if (first === undefined) return null
    await this.#prepare(db, ...first, change)
    return this.#innerOn(db).update<T>(change)
  }

  async updateMany(db: Queryable, change: Write): Promise<number> {
    for (const [userId, rows] of await this.#rowsByUser(db, change))
      await this.#prepare(db, userId, rows, change)
    return this.#innerOn(db).updateMany(change)
  }

  /**
   * Deletes rows. With a user go the accounts and factors, and the sessions end, whose rows and
   * events stay.
   */
  async delete(db: Queryable, model: string, where: Where[]): Promise<number> {
    const users = await this.#rowsByUser(db, { model, where })
    for (const [userId, rows] of users) {
      if (model === 'user') {
        await this.#endAll(db, userId, 'user_deleted')
        await tell(db, { userId, kind: 'user_deleted' })
        if (currentCall().erasing) {
          await this.#options.requestErasure(db, userId)
          await tell(db, { userId, kind: 'user_erased' })
        }
      } else if (model === 'account') {
        await this.#changeCredentials(db, userId)
        if (endpointPath() === '/unlink-account') await holdAnotherWayIn(db, userId, rows)
        await tell(db, ...rows.map((row) => eventOfLostWayIn(wayInOf(row))))
      } else {
        await this.changeFactors(db, userId)
        await tell(db, { userId, kind: 'second_factor_removed' })
      }
    }
    // A user who is gone already: whoever deleted them may not have been answered yet.
    if (model === 'user' && users.length === 0)
      for (const { field, value } of where) if (field === 'id') await this.#ended(String(value), [])
    return this.#innerOn(db).deleteMany({ model, where })
  }

  /**
   * Takes a backup code, where it is there to be taken: of two who show one at once, one is
   * refused.
   */
  async useBackupCode<T>(
    db: Queryable,
    change: Parameters<DBAdapter['incrementOne']>[0]
  ): Promise<T | null> {
    const row = await this.#innerOn(db).incrementOne<T & { userId?: string }>(change)
    if (row?.userId !== undefined) await tell(db, { userId: row.userId, kind: 'backup_code_used' })
    return row
  }

  /**
   * What was proven with the factors as they were ends with them: trust in devices, challenges, and
   * sign-ins under way.
   */
  async changeFactors(db: Queryable, userId: string): Promise<void> {
    await lockUser(db, userId, 'credentials')
  }

  /**
   * Lets a row of `verification` in that names a user: a challenge, or trust in a device. It rests
   * on the credential that this call has read, and must not outlive a change of it; and only so
   * many of a user are kept.
   *
   * @throws APIError 401 CREDENTIAL_CHANGED when the account changed while the call was under way
   */
  async admitPendingFactor(
    db: Queryable,
    { value, expiresAt }: Record<string, unknown>
  ): Promise<void> {
    const epoch = typeof value === 'string' ? currentCall().epochs.get(value) : undefined
    if (epoch === undefined) return
    const userId = String(value)
    if (!(await holdCredential(db, userId, epoch))) throw credentialChanged()
    if (expiresAt instanceof Date) await dropOldestPendingFactors(db, userId, expiresAt)
  }

  /**
   * The rows that a change is about, by the users whose they are, in the order in which users are
   * locked.
   */
  async #rowsByUser(
    db: Queryable,
    { model, where }: Pick<Write, 'model' | 'where'>
  ): Promise<[userId: string, rows: Row[]][]> {
    const rows = await this.#innerOn(db).findMany<Row>({ model, where, limit: USERS + 1 })
    if (rows.length > USERS)
      throw new Error(`no more than ${USERS} rows of ${model} can be changed at once`)
    const byUser = new Map<string, Row[]>()
    for (const row of rows) {
      const userId = model === 'user' ? row.id : (row.userId ?? '')
      byUser.set(userId, [...(byUser.get(userId) ?? []), row])
    }
    return [...byUser].toSorted(([one], [other]) => (one < other ? -1 : 1))
  }

  /**
   * Bumps the newest sessions with the change, and the others, where there are very many, in
   * batches after its commit and before its answer. If the process dies in between, copies of those
   * others show the user as before until they end.
   */
  async #bump(db: Queryable, userId: string): Promise<void> {
    const { changes, lastId } = await bumpUserSessions(db, userId)
    await this.#changed(changes)
    if (lastId === null) return
    await afterCommit(async () => {
      const pace = new Pace(ROWS)
      let left: BumpedPage = { changes, lastId }
      while (left.lastId !== null) {
        const before = left.lastId
        left = (
          await pace.keep((rows) =>
            bumpUserSessions(this.#options.prisma, userId, { before, rows })
          )
        ).result
        await this.#changed(left.changes)
      }
    })
  }

  async #prepare(
    db: Queryable,
    userId: string,
    rows: readonly Row[],
    { model, update }: Write
  ): Promise<void> {
    if (model === 'twoFactor' && isChangeOfFactors(update)) {
      await this.changeFactors(db, userId)
      if ('secret' in update) {
        await holdNoFactor(db, userId)
        await forgetUsedSteps(db, userId)
      }
      if ('backupCodes' in update) await tell(db, { userId, kind: 'backup_codes_made' })
    } else if (model === 'account' && 'password' in update) {
      await this.#changeCredentials(db, userId)
      await tell(db, ...rows.map((row) => eventOfPassword(wayInOf(row), endpointPath())))
    } else if (model !== 'user') await holdActor(db, userId)
    else if (update['banned'] === true) {
      await this.#endAll(db, userId, 'user_banned')
      await this.#tellOfUser(db, userId, update)
    } else {
      await lockUser(db, userId, 'role' in update ? 'role' : 'profile')
      if (update['banned'] === false && currentOrigin().actor === 'person')
        await holdBanOver(db, userId)
      await this.#tellOfUser(db, userId, update)
      await this.#bump(db, userId)
      if ('twoFactorEnabled' in update)
        await forgetRecentSignIns(db, userId, currentCall().actor?.session.id ?? null)
      if ('role' in update) await this.#changed(await endImpersonationsBy(db, userId))
      if ('twoFactorEnabled' in update)
        await this.#switchFactors(db, userId, update['twoFactorEnabled'] === true)
    }
  }

  /** Tells what an update of a user changes, by the row as it is under the lock. */
  async #tellOfUser(db: Queryable, userId: string, update: Record<string, unknown>): Promise<void> {
    const origin = originOfUpdate(update, currentOrigin())
    if (!isToldUpdate(update, origin)) return
    const before = await db.user.findUnique({
      where: { id: userId },
      select: {
        id: true,
        email: true,
        emailVerified: true,
        role: true,
        banned: true,
        banExpires: true,
        twoFactorEnabled: true
      }
    })
    if (before)
      await writeAccountEvents(
        db,
        origin,
        eventsOfUser(before, update, origin, this.#options.hashName)
      )
  }

  /**
   * Turns second factors on or off with everything that belongs to it. better-auth takes further
   * steps for it, each committed by itself: a process that died between them would leave a user who
   * is asked for a factor that does not count, or one that cannot be enrolled anew.
   */
  async #switchFactors(db: Queryable, userId: string, on: boolean): Promise<void> {
    await this.changeFactors(db, userId)
    if (!on) await db.$executeRaw`DELETE FROM "two_factor" WHERE "userId" = ${userId}`
    else if (endpointPath() === '/two-factor/verify-totp')
      await db.$executeRaw`UPDATE "two_factor" SET "verified" = true WHERE "userId" = ${userId}`
  }

  async #endAll(
    db: Queryable,
    userId: string,
    reason: 'user_banned' | 'user_deleted'
  ): Promise<void> {
    await lockUser(db, userId, 'credentials')
    await this.#ended(userId, await revokeUserSessions(db, { userId, reason }))
  }

  async #changeCredentials(db: Queryable, userId: string): Promise<void> {
    await lockUser(db, userId, 'credentials')
    const { actor } = currentCall()
    const exceptSessionId = actor?.session.userId === userId ? actor.session.id : null
    await this.#ended(
      userId,
      await revokeUserSessions(db, { userId, exceptSessionId, reason: 'password_changed' })
    )
    // Whoever has copied its refresh token must not keep the session by it; a client that lives by
    // tokens is given a new session.
    if (exceptSessionId !== null) await endFamily(db, exceptSessionId)
  }
}

interface Row extends Record<string, unknown> {
  id: string
  userId?: string
}

function wayInOf({ userId, providerId, password }: Record<string, unknown>): WayIn {
  return {
    userId: String(userId),
    providerId: String(providerId),
    hasPassword: typeof password === 'string'
  }
}

/** Tells what the running call does, in the transaction that does it. */
async function tell(db: Queryable, ...events: readonly NewAccountEvent[]): Promise<void> {
  await writeAccountEvents(db, currentOrigin(), events)
}

/**
 * Makes sure that a user is not banned. better-auth lifts a ban when its time is over and its
 * person signs in, by what it has read and by this machine's clock: the ban may be another one by
 * now, or not over yet.
 *
 * @throws APIError 403 BANNED_USER
 */
async function holdBanOver(db: Queryable, userId: string): Promise<void> {
  const over = await db.$queryRaw<
    unknown[]
  >`SELECT 1 FROM "user" WHERE "id" = ${userId} AND ${notBanned}`
  if (over.length === 0)
    throw new APIError('FORBIDDEN', { code: 'BANNED_USER', message: 'You are banned.' })
}

/**
 * Makes sure that no second factor of a user counts yet. better-auth looks before it enrols one;
 * somebody else may have finished meanwhile, and theirs must not be replaced by one whose code
 * nobody has shown.
 *
 * @throws APIError 400 TOTP_ALREADY_ENABLED
 */
async function holdNoFactor(db: Queryable, userId: string): Promise<void> {
  const counting = await db.$queryRaw<
    unknown[]
  >`SELECT 1 FROM "two_factor" WHERE "userId" = ${userId} AND "verified" IS DISTINCT FROM false`
  if (counting.length > 0)
    throw new APIError('BAD_REQUEST', TWO_FACTOR_ERROR_CODES.TOTP_ALREADY_ENABLED)
}

/**
 * Makes sure that a user keeps a way to sign in beside those that are removed. better-auth looks
 * before it removes one; somebody may have removed another one meanwhile.
 *
 * @throws APIError 400 FAILED_TO_UNLINK_LAST_ACCOUNT
 */
async function holdAnotherWayIn(
  db: Queryable,
  userId: string,
  removed: readonly Row[]
): Promise<void> {
  const kept = await db.$queryRaw<
    unknown[]
  >`SELECT 1 FROM "account" WHERE "userId" = ${userId} AND "id" <> ALL(${removed.map(({ id }) => id)}::text[]) LIMIT 1`
  if (kept.length === 0)
    throw new APIError('BAD_REQUEST', BASE_ERROR_CODES.FAILED_TO_UNLINK_LAST_ACCOUNT)
}

/**
 * Makes sure that the password and the code that the call was shown are still those of the user who
 * acts, whose row is locked: they were verified before the lock, and a hash takes its time. The
 * answer is that of a wrong one, which it is by now: the session is as good as before, and no 401
 * of a session that has ended.
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

/** A new secret has codes of its own, whose steps nobody has used. */
async function forgetUsedSteps(db: Queryable, userId: string): Promise<void> {
  await db.$executeRaw`UPDATE "two_factor" SET "lastUsedStep" = NULL WHERE "userId" = ${userId}`
}

export function credentialChanged(): APIError {
  return new APIError('UNAUTHORIZED', {
    code: 'CREDENTIAL_CHANGED',
    message: 'The account changed while you were signing in. Try again.'
  })
}

/**
 * Whether an update of a second factor changes what it is. Counts of wrong codes do not. Nor does
 * the mark that a factor counts, where a sign-in makes it: that code is the second step of the
 * challenge which the change would end.
 */
function isChangeOfFactors(update: Record<string, unknown>): boolean {
  return (
    'secret' in update ||
    'backupCodes' in update ||
    ('verified' in update && currentCall().actor !== null)
  )
}

/** Why a change ends all sessions of its user; null when it does not. */
function endsSessions({
  model,
  update
}: {
  model: string
  update: Write['update'] | null
}): RevocationReason | null {
  if (model === 'account')
    return update === null || 'password' in update ? 'password_changed' : null
  if (model !== 'user') return null
  if (update === null) return 'user_deleted'
  return update['banned'] === true ? 'user_banned' : null
}

/**
 * Locks a user's row before anything else is locked, and then the sessions that change with it;
 * makes sure that the session which authorises the change is still active, that its user may still
 * do it and that what they have shown for it is still theirs, and that all of it stays so until the
 * change is committed.
 *
 * @param change what is about to change. `role`: impersonations end with it. `sessions`: sign-ins
 *   under way must fail, for their sessions would be missed. `credentials`: what a first factor has
 *   begun ends as well.
 * @throws APIError 401 when the authorising session has ended, 403 when its user has lost the
 *   right; what a wrong password or code is answered when the one that the call was shown is
 *   another one by now
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
    // The caller bumps the sessions: the trigger that does so for changes made by hand is told to
    // leave this user alone.
    await db.$queryRaw`SELECT set_config('holdfast.bumped', "id", true) FROM "user" WHERE "id" = ${userId} FOR NO KEY UPDATE`
  }
  if (actor && actor.session.userId > userId) await holdActorsUser(db, actor)
  if (actor) await holdActorWith(db, actor, { userId, impersonations: change !== 'profile' })
  await holdShown(db, userId)
}
