import { BASE_ERROR_CODES } from '@better-auth/core/error'
import type { DBAdapter, Where } from 'better-auth'
import { APIError } from 'better-auth/api'
import type { NewAccountEvent } from '../account/account-event.js'
import type { Origin } from '../account/origin.js'
import { writeAccountEvents } from '../account/store.js'
import type { Queryable } from '../database/database.js'
import { Pace, ROWS } from '../database/pace.js'
import { endProofs, eraseMail } from '../mail/proofs.js'
import { afterCommit } from '../database/transaction.js'
import {
  dropOldestPendingFactors,
  endImpersonationsBy,
  holdCredential,
  revokeUserSessions
} from '../session/revocation.js'
import type { RevocationReason } from '../session/session.js'
import { endFamily } from '../token/rotation.js'
import { forgetRecentSignIns } from '../session/recent-sign-in.js'
import { bumpUserSessions, type BumpedPage } from '../session/store.js'
import {
  toLostWayInEvent,
  toNewWayInEvent,
  toPasswordEvent,
  toUserEvents,
  isToldUpdate,
  toUpdateOrigin,
  type WayIn
} from './account-changes.js'
import {
  credentialChanged,
  holdAnotherWayIn,
  holdBanOver,
  holdNoFactor,
  lockUser
} from './account-locks.js'
import { actorToHold, holdActor } from './acting-session.js'
import { currentOrigin } from './event-origin.js'
import { betterAuthNow } from './better-auth-clock.js'
import { endpointPath } from './reasons.js'
import { currentCall } from './call-context.js'
import type { ChangeAnnouncer } from './change-announcer.js'
import type { Connections } from './connections.js'
import { newMailHandleHash } from './mail-handle.js'
import type { Mailing } from './mailing.js'
import { noticesOf } from './notices.js'

interface Write {
  model: string
  where: Where[]
  update: Record<string, unknown>
}

/**
 * Users that one call changes at most. No endpoint here changes more than one, and each is locked
 * with all its sessions.
 */
const USERS = 100

interface Creation {
  model: string
  data: Record<string, unknown>
}

export interface AccountWritesOptions {
  prisma: Queryable
  connections: Connections
  announcer: ChangeAnnouncer
  /** The keyed hash under which events keep a name. */
  hashName: (name: string) => string
  /** Writes mails. Null where mail is off. */
  mailing: Mailing | null
  /** Notes that a deleted user is to be erased. */
  requestErasure: (db: Queryable, userId: string) => Promise<void>
  /** A monotonic clock, in milliseconds. */
  now: () => number
}

/** The models whose rows identify a user or hold credentials. */
const guarded: readonly string[] = ['user', 'account', 'twoFactor']

/**
 * Writes of users, their credentials and second factors, each in one transaction: lock the users,
 * hold the acting session, end or bump the sessions, write the account events, then write. A
 * credential that is new, changed or removed ends every other session; a ban ends all. Any other
 * change of a user bumps the versions of the sessions that show it.
 */
export class AccountWrites {
  readonly #options: AccountWritesOptions
  readonly #connections: Connections
  readonly #announcer: ChangeAnnouncer

  constructor(options: AccountWritesOptions) {
    this.#options = options
    this.#connections = options.connections
    this.#announcer = options.announcer
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
   * Whether the creation or deletion of a row must go through here: an account or a second factor
   * is a credential, whatever is in it.
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
    // The first account of a user who was created by this call: there is nothing yet that it could
    // change.
    if (model === 'account' && userId !== null && !createdUsers.has(userId)) {
      await this.#changeCredentials(db, userId)
      if (data['providerId'] !== 'credential') await this.#holdProvenAddress(db, userId)
      await this.#tell(db, toNewWayInEvent(wayInFrom(data)))
    } else if (model === 'twoFactor' && userId !== null) {
      await this.changeFactors(db, userId)
      await holdNoFactor(db, userId)
      await this.#holdProvenAddress(db, userId)
      // A second factor whose enrolment was begun and not finished: the later one counts.
      await db.$executeRaw`DELETE FROM "two_factor" WHERE "userId" = ${userId}`
      await this.#tell(db, { userId, kind: 'backup_codes_made' })
    } else await holdActor(db, userId)
    const row = await this.#connections
      .adapterOn(db)
      .create<Record<string, unknown>>(model === 'user' ? withId(creation) : creation)
    if (model === 'user' && typeof row['id'] === 'string') {
      createdUsers.add(row['id'])
      await this.#tell(db, { userId: row['id'], kind: 'user_created' })
      await this.#beginMail(db, row['id'], data)
    }
    return row
  }

  /** Notes the language of a new user, and has one who signed up by themselves prove the address. */
  async #beginMail(db: Queryable, userId: string, { email }: Creation['data']): Promise<void> {
    const { mailing } = this.#options
    const { call, language } = currentCall()
    if (call === null || call.path.startsWith('/admin/')) return
    await db.$executeRaw`UPDATE "user" SET "language" = COALESCE("language", ${language}) WHERE "id" = ${userId}`
    if (mailing === null || call.path !== '/sign-up/email') return
    const handleHash = newMailHandleHash()
    await db.$executeRaw`UPDATE "user" SET "signUpHandle" = ${handleHash} WHERE "id" = ${userId} AND NOT "emailVerified"`
    await mailing.ask(db, 'verify', {
      purpose: 'verify',
      email: String(email).toLowerCase(),
      userId,
      handleHash
    })
  }

  /**
   * Makes sure that a user's address is proven, where mail is on: else somebody who signed up with
   * the address of another person could keep a way in.
   *
   * @throws APIError 403 EMAIL_NOT_VERIFIED
   */
  async #holdProvenAddress(db: Queryable, userId: string): Promise<void> {
    if (this.#options.mailing === null) return
    const [proven] = await db.$queryRaw<
      unknown[]
    >`SELECT 1 FROM "user" WHERE "id" = ${userId} AND "emailVerified"`
    if (!proven) throw APIError.from('FORBIDDEN', BASE_ERROR_CODES.EMAIL_NOT_VERIFIED)
  }

  /**
   * Call it before the transaction of a change.
   *
   * @param change with an `update` of null where rows are deleted
   */
  async thinOut(
    change: Pick<Write, 'model' | 'where'> & { update: Write['update'] | null }
  ): Promise<void> {
    const reason = endsSessions(change)
    if (reason === null) return
    for (const [userId] of await this.#rowsByUser(await this.#connections.reading(), change))
      await this.#announcer.thinOut({ userId, reason })
  }

  /** As `thinOut`, before a row is created. */
  async thinOutFor({ model, data: { userId } }: Creation): Promise<void> {
    if (
      model === 'account' &&
      typeof userId === 'string' &&
      !currentCall().createdUsers.has(userId)
    )
      await this.#announcer.thinOut({ userId, reason: 'password_changed' })
  }

  async update<T>(db: Queryable, change: Write): Promise<T | null> {
    const [first] = await this.#rowsByUser(db, change)
    if (first === undefined) return null
    await this.#prepare(db, ...first, change)
    return this.#connections.adapterOn(db).update<T>(change)
  }

  async updateMany(db: Queryable, change: Write): Promise<number> {
    for (const [userId, rows] of await this.#rowsByUser(db, change))
      await this.#prepare(db, userId, rows, change)
    return this.#connections.adapterOn(db).updateMany(change)
  }

  /**
   * Deletes rows. With a user its accounts, factors, mails and proofs are deleted, and its sessions
   * end. Rows and events of the sessions stay.
   */
  async delete(db: Queryable, model: string, where: Where[]): Promise<number> {
    const users = await this.#rowsByUser(db, { model, where })
    for (const [userId, rows] of users) {
      if (model === 'user') {
        await this.#endAll(db, userId, 'user_deleted')
        await this.#tell(db, { userId, kind: 'user_deleted' })
        // Later the address is not known any more.
        const email = rows[0]?.['email']
        await eraseMail(db, { userId, email: typeof email === 'string' ? email : null })
        if (currentCall().erasing) {
          await this.#options.requestErasure(db, userId)
          await this.#tell(db, { userId, kind: 'user_erased' })
        }
      } else if (model === 'account') {
        await this.#changeCredentials(db, userId)
        if (endpointPath() === '/unlink-account') await holdAnotherWayIn(db, userId, rows)
        await this.#tell(db, ...rows.map((row) => toLostWayInEvent(wayInFrom(row))))
      } else {
        await this.changeFactors(db, userId)
        await this.#tell(db, { userId, kind: 'second_factor_removed' })
      }
    }
    // The user is already gone. The call that deleted the user may not have been confirmed yet.
    if (model === 'user' && users.length === 0)
      for (const { field, value } of where)
        if (field === 'id') await this.#announcer.ended(String(value), [])
    return this.#connections.adapterOn(db).deleteMany({ model, where })
  }

  /**
   * Writes events of the running call, and the mails that tell the user of them, in the transaction
   * of the change.
   */
  async #tell(db: Queryable, ...events: readonly NewAccountEvent[]): Promise<void> {
    await this.#tellOf(db, currentOrigin(), events)
  }

  /** As `#tell`, where somebody else than the call's actor has made the change. */
  async #tellOf(db: Queryable, origin: Origin, events: readonly NewAccountEvent[]): Promise<void> {
    await writeAccountEvents(db, origin, events)
    const { mailing } = this.#options
    if (mailing === null) return
    const byAnother = isByAnother(origin)
    for (const { userId, kind } of noticesOf(events)) {
      const factor = kind === 'factor-added' ? await findFactor(db, userId) : null
      await mailing.tell(db, userId, kind, {
        byAnother,
        ...(factor === null ? {} : { removesFactor: factor })
      })
    }
  }

  /** Uses a backup code, if it is still there: of two calls with the same code, one is refused. */
  async useBackupCode<T>(
    db: Queryable,
    change: Parameters<DBAdapter['incrementOne']>[0]
  ): Promise<T | null> {
    const row = await this.#connections.adapterOn(db).incrementOne<T & { userId?: string }>(change)
    if (row?.userId !== undefined)
      await this.#tell(db, { userId: row.userId, kind: 'backup_code_used' })
    return row
  }

  /**
   * Ends what was verified with the old factors: trusted devices, challenges, and sign-ins under
   * way.
   */
  async changeFactors(db: Queryable, userId: string): Promise<void> {
    await lockUser(db, userId, 'credentials')
  }

  /**
   * Admits a row of `verification` that names a user: a challenge or a trusted device. It relies on
   * the credential that this call has read, and must not outlive a change of it. The number per
   * user is limited.
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
    if (expiresAt instanceof Date)
      await dropOldestPendingFactors(db, userId, expiresAt.getTime() - betterAuthNow())
  }

  /** The rows of a change, grouped by user, in the order in which users are locked. */
  async #rowsByUser(
    db: Queryable,
    { model, where }: Pick<Write, 'model' | 'where'>
  ): Promise<[userId: string, rows: Row[]][]> {
    const rows = await this.#connections
      .adapterOn(db)
      .findMany<Row>({ model, where, limit: USERS + 1 })
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
   * Bumps the newest sessions with the change. Where there are very many, it bumps the others in
   * batches, after the commit and before the answer. If the process dies in between, copies of
   * those others show the user as before until they end.
   */
  async #bump(db: Queryable, userId: string): Promise<void> {
    const { changes, lastId } = await bumpUserSessions(db, userId)
    await this.#announcer.changed(changes)
    if (lastId === null) return
    await afterCommit(async () => {
      const pace = new Pace(ROWS, this.#options.now)
      let left: BumpedPage = { changes, lastId }
      while (left.lastId !== null) {
        const before = left.lastId
        left = (
          await pace.keep((rows) =>
            bumpUserSessions(this.#options.prisma, userId, { before, rows })
          )
        ).result
        await this.#announcer.changed(left.changes)
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
      if ('backupCodes' in update) await this.#tell(db, { userId, kind: 'backup_codes_made' })
    } else if (model === 'account' && 'password' in update) {
      await this.#changeCredentials(db, userId)
      await this.#tell(db, ...rows.map((row) => toPasswordEvent(wayInFrom(row), endpointPath())))
    } else if (model !== 'user') await holdActor(db, userId)
    else if (update['banned'] === true) {
      await this.#endAll(db, userId, 'user_banned')
      await this.#tellOfUser(db, userId, update)
    } else {
      if (update['emailVerified'] === true) await this.#proveAddress(db, userId, update)
      await lockUser(db, userId, 'role' in update ? 'role' : 'profile')
      if (update['banned'] === false && currentOrigin().actor === 'person')
        await holdBanOver(db, userId)
      await this.#tellOfUser(db, userId, update)
      await this.#bump(db, userId)
      if ('twoFactorEnabled' in update)
        await forgetRecentSignIns(db, userId, currentCall().actor?.session.id ?? null)
      if ('role' in update) await this.#announcer.changed(await endImpersonationsBy(db, userId))
      if ('twoFactorEnabled' in update)
        await this.#switchFactors(db, userId, update['twoFactorEnabled'] === true)
    }
  }

  /** Writes the events for an update of a user, by the row as read under the lock. */
  async #tellOfUser(db: Queryable, userId: string, update: Record<string, unknown>): Promise<void> {
    const origin = toUpdateOrigin(update, currentOrigin())
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
    if (!before) return
    await this.#tellOf(db, origin, toUserEvents(before, update, origin, this.#options.hashName))
    const { email } = update
    if (typeof email === 'string' && email !== before.email && before.emailVerified)
      await this.#options.mailing?.tell(db, userId, 'email-changed', {
        email: before.email,
        restores: before.email,
        facts: { newEmail: email },
        byAnother: isByAnother(origin)
      })
  }

  /**
   * Turns second factors on or off, with everything that belongs to it. better-auth does this in
   * several steps, each committed by itself. A process that died between them would leave a user
   * who is asked for a factor that does not count, or one who cannot enrol again.
   */
  async #switchFactors(db: Queryable, userId: string, on: boolean): Promise<void> {
    await this.changeFactors(db, userId)
    if (!on) await db.$executeRaw`DELETE FROM "two_factor" WHERE "userId" = ${userId}`
    else if (endpointPath() === '/two-factor/verify-totp')
      await db.$executeRaw`UPDATE "two_factor" SET "verified" = true WHERE "userId" = ${userId}`
  }

  /**
   * The first proof of an address by somebody else than who signed up with it. Everything that is
   * older than the proof ends: whoever registered the address of another person must not keep a way
   * in. A change of address is no such proof, and neither is an administrator's edit.
   */
  async #proveAddress(
    db: Queryable,
    userId: string,
    update: Record<string, unknown>
  ): Promise<void> {
    const [user] = await db.$queryRaw<
      { email: string; signUpHandle: string | null }[]
    >`SELECT "email", "signUpHandle" FROM "user" WHERE "id" = ${userId} FOR NO KEY UPDATE`
    if (!user || user.signUpHandle === null) return
    await db.$executeRaw`UPDATE "user" SET "signUpHandle" = NULL WHERE "id" = ${userId}`
    const { email = user.email } = update
    if (
      email !== user.email ||
      currentCall().ownsSignUp === userId ||
      currentOrigin().actor !== 'person'
    )
      return
    await lockUser(db, userId, 'credentials')
    await this.#announcer.ended(
      userId,
      await revokeUserSessions(db, { userId, reason: 'address_proven' })
    )
    const accounts = await db.$queryRaw<
      Record<string, unknown>[]
    >`DELETE FROM "account" WHERE "userId" = ${userId} RETURNING "userId", "providerId", "password"`
    const factors = await db.$executeRaw`DELETE FROM "two_factor" WHERE "userId" = ${userId}`
    await db.$executeRaw`UPDATE "user" SET "twoFactorEnabled" = false WHERE "id" = ${userId}`
    await endProofs(db, { userId, email: user.email })
    await writeAccountEvents(db, currentOrigin(), [
      ...accounts.map((row) => toLostWayInEvent(wayInFrom(row))),
      ...(factors > 0 ? [{ userId, kind: 'second_factor_removed' as const }] : [])
    ])
  }

  async #endAll(
    db: Queryable,
    userId: string,
    reason: 'user_banned' | 'user_deleted'
  ): Promise<void> {
    await lockUser(db, userId, 'credentials')
    await this.#announcer.ended(userId, await revokeUserSessions(db, { userId, reason }))
  }

  async #changeCredentials(db: Queryable, userId: string): Promise<void> {
    await lockUser(db, userId, 'credentials')
    const { actor } = currentCall()
    const exceptSessionId = actor?.session.userId === userId ? actor.session.id : null
    await this.#announcer.ended(
      userId,
      await revokeUserSessions(db, { userId, exceptSessionId, reason: 'password_changed' })
    )
    // A thief who copied its refresh token must not keep the session. A client with tokens is given
    // a new session.
    if (exceptSessionId !== null) await endFamily(db, exceptSessionId)
  }
}

/** Gives a new user the id that the sign-up has told. better-auth's hooks let no id through. */
function withId<T extends Creation>(creation: T): T {
  const { newUserId } = currentCall()
  if (newUserId === null) return creation
  return { ...creation, data: { ...creation.data, id: newUserId }, forceAllowId: true }
}

/**
 * Whether the user is told of a change without "this was not me": an administrator or operator has
 * made it, or that link itself. Who took an account must not be told how to take it back.
 */
function isByAnother({ actor }: Origin): boolean {
  return actor !== 'person' || endpointPath() === '/not-me'
}

/** The id of a user's second factor. */
async function findFactor(db: Queryable, userId: string): Promise<string | null> {
  const factor = await db.twoFactor.findUnique({ where: { userId }, select: { id: true } })
  return factor?.id ?? null
}

interface Row extends Record<string, unknown> {
  id: string
  userId?: string
}

function wayInFrom({ userId, providerId, password }: Record<string, unknown>): WayIn {
  return {
    userId: String(userId),
    providerId: String(providerId),
    hasPassword: typeof password === 'string'
  }
}

/** Deletes the used time steps: a new secret has codes of its own, none of which was used. */
async function forgetUsedSteps(db: Queryable, userId: string): Promise<void> {
  await db.$executeRaw`UPDATE "two_factor" SET "lastUsedStep" = NULL WHERE "userId" = ${userId}`
}

/**
 * Whether an update of a second factor changes the factor itself. Counts of wrong codes do not. The
 * mark that a factor counts does not either, where a sign-in sets it: its code is the second step
 * of the challenge that the change would end.
 */
function isChangeOfFactors(update: Record<string, unknown>): boolean {
  return (
    'secret' in update ||
    'backupCodes' in update ||
    ('verified' in update && currentCall().actor !== null)
  )
}

/** The reason with which a change ends all sessions of its user. Null when it does not end them. */
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
