import type { Where } from 'better-auth'
import { APIError } from 'better-auth/api'
import { writeAccountEvents, writeRevokedSessions } from '../account/store.js'
import { parseAddress } from '../address.js'
import type { Change } from '../session/outbox.js'
import type { Queryable } from '../database/database.js'
import { currentTransaction } from '../database/transaction.js'
import { AppError, type ErrorCode } from '../errors.js'
import type { SessionChecker } from '../check/session-checker.js'
import { findRecentSignIn, takeFactorAttempt } from '../session/recent-sign-in.js'
import { endsAll, revokeSessions, revokeUserSessions } from '../session/revocation.js'
import { makeRoom } from '../session/room.js'
import { parseRoles, storedRole } from '../roles.js'
import {
  isRevocation,
  type RevocationReason,
  type Session,
  type SessionRow,
  type UserRow
} from '../session/session.js'
import {
  findSessionToken,
  toHandle,
  mintSessionToken,
  parseHandle,
  parseSessionToken
} from '../session/session-token.js'
import {
  findSession,
  insertSession,
  listSessions,
  type Inserted,
  type NewSession
} from '../session/store.js'
import { toNetwork } from '../network.js'
import { userAgentFrom } from '../user-agent.js'
import { firstRefreshToken } from '../token/refresh-token.js'
import { credentialChanged, lockUser } from './account-locks.js'
import { acceptActor, actorToHold, holdActorsUser } from './acting-session.js'
import { betterAuthNow } from './better-auth-clock.js'
import { allowsAccessToken, carriesPassword, guessesFactor, isGrave } from './endpoint-rules.js'
import type { Peppers } from '../secrets/keys.js'
import {
  authenticationMethods,
  credentialShown,
  replacementReason,
  revocationReason
} from './reasons.js'
import { currentOrigin } from './event-origin.js'
import { currentCall } from './call-context.js'
import type { ChangeAnnouncer } from './change-announcer.js'
import type { Connections } from './connections.js'
import type { Mailing } from './mailing.js'

/**
 * The longest life of a cookie. Browsers cut it to 400 days (RFC 6265bis, section 5.5), and
 * better-call refuses a longer one. The session may live longer.
 */
export const LONGEST_COOKIE_SECONDS = 400 * 86_400

export interface SessionModelOptions {
  reader: SessionChecker
  peppers: Peppers
  idleTtlSeconds: number
  absoluteTtlSeconds: number
  /** How many live sessions a user may have. */
  maxSessions: number
  /** Writes mails. Null where mail is off. */
  mailing: Mailing | null
  /** Writes the uses of sessions that this process has noted. */
  flushUses: () => Promise<void>
  connections: Connections
  announcer: ChangeAnnouncer
}

/** Sessions of a user that are looked through for a device that is known. */
const RECENT_SESSIONS = 500

/** better-auth's lists have no pages. They show this many of the newest sessions. */
const LISTED = 1_000

/**
 * A session in better-auth's form. `token` is the real one only where the caller presented it, else
 * a handle.
 */
type AuthSession = Record<string, unknown> & { id: string; token: string; userId: string }

/** better-auth's model `session`, on the session store. */
export class SessionModel {
  readonly #options: SessionModelOptions
  readonly #connections: Connections
  readonly #announcer: ChangeAnnouncer

  constructor(options: SessionModelOptions) {
    this.#options = options
    this.#connections = options.connections
    this.#announcer = options.announcer
  }

  /**
   * Begins a session. better-auth's id, token and clock are not used: the token names its session,
   * and time is the database's.
   *
   * @throws APIError 429 TOO_MANY_SESSIONS when the user has as many as are allowed, and none that
   *   may be ended
   * @throws APIError 401 CREDENTIAL_CHANGED when the account changed while the credential was being
   *   verified
   */
  async create(data: Record<string, unknown>): Promise<AuthSession> {
    const scope = currentCall()
    const { sessionId, token, hash } = mintSessionToken()
    const userId = String(data['userId'])
    const impersonatedBy = text(data['impersonatedBy']) ?? scope.source?.impersonatedBy ?? null
    const credentialEpoch = scope.epochs.get(userId) ?? null
    const predecessor = predecessorFrom(userId)
    // An impersonation gets no refresh token: its administrator returns to their own session, and
    // nothing should keep it alive.
    const pepper = this.#options.peppers.current
    const refresh =
      scope.transport === 'body' && impersonatedBy === null
        ? firstRefreshToken(sessionId, pepper)
        : null
    const inserted = await this.#insertAndTell({
      id: sessionId,
      hash,
      userId,
      idleTtlSeconds: this.#options.idleTtlSeconds,
      absoluteTtlSeconds: this.#absoluteTtlSeconds(data['expiresAt'], predecessor),
      // better-auth writes IPv6 addresses in full. Everywhere else they have their short form.
      ipAddress: parseAddress(text(data['ipAddress']) ?? ''),
      userAgent: text(data['userAgent']),
      // The device of an impersonation is the administrator's and not the user's.
      name: impersonatedBy === null ? (scope.deviceName ?? predecessor?.name ?? null) : null,
      amr: scope.source?.amr ?? authenticationMethods(predecessor),
      impersonatedBy,
      impersonator:
        impersonatedBy === null
          ? null
          : {
              epoch: scope.epochs.get(impersonatedBy) ?? null,
              role: scope.source ? null : (scope.actor?.role ?? null)
            },
      credentialEpoch,
      // Where no credential was read, the acting session authorises the new one, and must still be
      // active.
      actingSessionId:
        credentialEpoch === null || impersonatedBy !== null
          ? (scope.actor?.session.id ?? null)
          : null,
      // An administrator returns from an impersonation to the session that the cookie names.
      replaces:
        text(data['impersonatedBy']) || !scope.presented
          ? null
          : { ...scope.presented, reason: replacementReason() },
      sourceSessionId:
        scope.source?.id ?? (impersonatedBy === null ? null : (scope.actor?.session.id ?? null)),
      reauth:
        impersonatedBy !== null || scope.source !== null
          ? 'none'
          : predecessor === null
            ? credentialShown()
            : { asIn: predecessor.id },
      refresh: refresh && { hash: refresh.hash, pepperId: pepper.id }
    })
    if (inserted.outcome === 'full') {
      currentCall().noRoom = { retryAfterSeconds: inserted.retryAfterSeconds }
      throw tooManySessions()
    }
    if (inserted.outcome === 'changed') throw credentialChanged()
    scope.insertedSession = sessionId
    scope.insertedFor = impersonatedBy === null ? userId : null
    scope.family = refresh && {
      session: inserted.row,
      refreshToken: refresh.token,
      roles: parseRoles(inserted.role)
    }
    await this.#announcer.changed(inserted.replaced)
    return authSession(inserted.row, token)
  }

  /** Begins a session, and tells its user by mail where the device is new. */
  async #insertAndTell(session: NewSession): Promise<Inserted> {
    const { mailing, flushUses } = this.#options
    if (mailing === null || !(await this.#isNewDevice(session))) return this.#insert(session)
    // Uses are noted in memory first: see #insert.
    if (!currentTransaction()?.isOpen) await flushUses()
    return this.#connections.inTransaction(async (db) => {
      const inserted = await this.#insert(session)
      if (inserted.outcome === 'inserted') await mailing.tell(db, session.userId, 'new-device')
      return inserted
    })
  }

  /**
   * Whether a sign-in is complete, and comes from a device on which the account was not used lately.
   * The first sign-in of an account is no news. An administrator's device is not the user's, and
   * neither is one from which no sign-in was completed.
   */
  async #isNewDevice({ userId, userAgent, ipAddress, ...session }: NewSession): Promise<boolean> {
    const { call, source, createdUsers, isKnownDevice } = currentCall()
    if (call === null || source || session.impersonatedBy !== null || createdUsers.has(userId))
      return false
    if (session.reauth !== 'now') return false
    const { credentialEpoch } = session
    if (credentialEpoch !== null && isKnownDevice({ userId, credentialEpoch })) return false
    const db = await this.#connections.reading()
    const [known] = await db.$queryRaw<{ isNew: boolean; waitsForFactor: boolean }[]>`
      WITH "recent" AS (
        SELECT "network", "userAgent", "impersonatedBy", "revokedReason" FROM "session" WHERE "userId" = ${userId} ORDER BY "id" DESC LIMIT ${RECENT_SESSIONS}
      ), "used" AS (
        SELECT "network", "userAgent" FROM "recent"
        WHERE "impersonatedBy" IS NULL AND COALESCE("revokedReason", '') NOT IN ('second_factor_pending', 'sign_in_failed')
      )
      SELECT EXISTS (SELECT 1 FROM "used") AND NOT EXISTS (
          SELECT 1 FROM "used" WHERE "network" = ${toNetwork(ipAddress)} AND "userAgent" IS NOT DISTINCT FROM ${userAgentFrom(userAgent)}
        ) AS "isNew",
        COALESCE((SELECT "twoFactorEnabled" FROM "user" WHERE "id" = ${userId}), false) AS "waitsForFactor"`
    // With a second factor the session of the password ends at once, and the next one counts.
    const isPending = known?.waitsForFactor === true && !call.path.startsWith('/two-factor/')
    return known?.isNew === true && !isPending
  }

  /**
   * Begins a session: in one statement where there is room; else in a transaction that makes room.
   */
  async #insert(session: NewSession): Promise<Inserted> {
    const { maxSessions, flushUses } = this.#options
    if (session.impersonatedBy !== null)
      return this.#insertImpersonation(session, session.impersonatedBy)
    const inserted = await insertSession(await this.#connections.writing(), session, maxSessions)
    if (inserted.outcome !== 'full') return inserted
    // Uses are noted in memory first. In an open transaction the store may have only this
    // connection.
    if (!currentTransaction()?.isOpen) await flushUses()
    return this.#connections.inTransaction(async (db) => {
      const room = await makeRoom(db, session, maxSessions)
      if (!('taken' in room)) return { outcome: 'full', ...room }
      await this.#announcer.changed(room.taken)
      const begun = await insertSession(db, session, null)
      // No session is ended for one that does not begin.
      if (begun.outcome !== 'inserted') throw credentialChanged()
      return begun
    })
  }

  /** Begins an impersonation, with its event in the same transaction. It ends no other session. */
  async #insertImpersonation(session: NewSession, administrator: string): Promise<Inserted> {
    const { maxSessions } = this.#options
    return this.#connections.inTransaction(async (db) => {
      const inserted = await insertSession(db, session, maxSessions)
      if (inserted.outcome !== 'inserted') return inserted
      const origin = { ...currentOrigin(), actor: 'administrator' as const, actorId: administrator }
      await writeAccountEvents(db, origin, [
        {
          userId: session.userId,
          kind: 'impersonation_begun',
          sessionId: session.id,
          detail: { administrator }
        }
      ])
      return inserted
    })
  }

  /**
   * Finds a session with its user by its token, which is how better-auth asks for the signed-in
   * user; or by id, without the user.
   */
  async findOne(where: Where[], withUser: boolean): Promise<AuthSession | null> {
    const token = where.find((condition) => condition.field === 'token')?.value
    if (!withUser || typeof token !== 'string')
      return (await this.findMany(where, false))[0] ?? null
    const transaction = currentTransaction()
    const scope = currentCall()
    const surrogate = scope.surrogate?.token === token ? scope.surrogate : null
    const { check, record } = await this.#options.reader.read(
      surrogate?.credential ?? { kind: 'token', value: token },
      transaction ? await transaction.forWrite() : undefined
    )
    if (surrogate && !check.active) scope.surrogateRefused = check.cause
    // better-auth answers "signed out" for a session that has already ended. That must be as final
    // as the other call's answer.
    if (!check.active && isRevocation(check.cause))
      await this.#announcer.settle([parseSessionToken(token)?.sessionId ?? ''])
    if (!check.active || !record?.user) return null
    scope.insufficient = await this.#refusalOf(check.session, record.user, surrogate !== null)
    if (scope.insufficient) return null
    scope.actor ??= { session: check.session, role: record.user.role }
    return {
      ...authSession(onLocalClock(record.session, record.now), token),
      user: { ...record.user, role: storedRole(record.user.role) } satisfies UserRow
    }
  }

  /**
   * Lists active sessions. Accepts handles, and shows them for every session whose token was not
   * presented.
   */
  async findMany(where: Where[], withUser: boolean): Promise<AuthSession[]> {
    if (withUser) return this.#findManyWithUsers(where)
    const presented = new Map<string, string>()
    const filter = sessionFilter(where, presented)
    const rows = await listSessions(await this.#connections.reading(), filter, {
      limit: LISTED
    })
    // A named session is missing: better-auth's sign-out then deletes nothing and answers "done",
    // which must be final, too.
    if (rows.length < (filter.sessionIds?.length ?? 0))
      await this.#announcer.settle(filter.sessionIds ?? [])
    return rows
      .map((row) => authSession(row, tokenFrom(row, presented)))
      .filter((session) =>
        where.every(
          (condition) => isNamed(condition.field) || holds(session[condition.field], condition)
        )
      )
  }

  /**
   * better-auth's updates of a session move its expiry, which only use does here. They write
   * nothing and return the row.
   */
  async update(where: Where[], update: Record<string, unknown>): Promise<AuthSession | null> {
    const unknown = Object.keys(update).find((field) => !['expiresAt', 'updatedAt'].includes(field))
    if (unknown !== undefined) throw new Error(`session.${unknown} cannot be updated`)
    return (await this.findMany(where, false))[0] ?? null
  }

  /** Deleting a session revokes it. Deleting a user's sessions revokes all of them. */
  async revoke(where: Where[]): Promise<number> {
    const reason = revocationReason()
    const { userId, sessionIds } = sessionFilter(where, new Map())
    if (sessionIds !== undefined) {
      const changes = await this.#revokeNamed(sessionIds, userId ?? null, reason)
      await this.#announcer.changed(changes)
      // Another call has ended them and may not be confirmed yet. This answer must be as final as
      // that call's.
      if (!endsAll(changes, sessionIds)) await this.#announcer.settle(sessionIds)
      return changes.length
    }
    if (userId === undefined) return 0
    await this.#announcer.thinOut({ userId, reason })
    return this.#connections.inTransaction(async (db) => {
      await lockUser(db, userId, 'sessions')
      const changes = await revokeUserSessions(db, { userId, reason })
      await tellRevoked(db, changes, reason)
      await this.#announcer.ended(userId, changes)
      return changes.length
    })
  }

  /** Why a session is not enough for the running endpoint. Null when it is. */
  async #refusalOf(
    session: Session,
    user: UserRow,
    byAccessToken: boolean
  ): Promise<ErrorCode | null> {
    const { call, actor } = currentCall()
    if (!call) return null
    if (byAccessToken && !allowsAccessToken(call)) return 'access_token_insufficient'
    const db = await this.#connections.reading()
    if (isGrave(call)) {
      const { recent, secondFactor } = await findRecentSignIn(db, session.id)
      // The endpoint verifies the password itself, and refuses a wrong one. With a second factor
      // the password is not enough.
      if (!recent && (secondFactor || !carriesPassword(call))) return 'reauthentication_required'
    }
    // better-auth counts guesses at a second factor only before the sign-in is complete.
    if (
      !actor &&
      guessesFactor(call) &&
      user.twoFactorEnabled &&
      !(await takeFactorAttempt(await this.#connections.writing(), user.id))
    )
      return 'rate_limited'
    return null
  }

  /** Revokes sessions. Where another session authorises that, only while it may. */
  async #revokeNamed(
    sessionIds: readonly string[],
    userId: string | null,
    reason: RevocationReason
  ): Promise<Change[]> {
    const actor = actorToHold()
    const isOwn = !actor || sessionIds.includes(actor.session.id)
    if (isOwn && reason !== 'revoked_by_admin')
      return revokeSessions(await this.#connections.writing(), sessionIds, userId, reason)
    return this.#connections.inTransaction(async (db) => {
      if (isOwn) {
        const changes = await revokeSessions(db, sessionIds, userId, reason)
        await tellRevoked(db, changes, reason)
        return changes
      }
      await holdActorsUser(db, actor)
      // One statement, which locks all sessions in one order: two administrators may end each
      // other's at once.
      const changes = await revokeSessions(db, sessionIds, userId, reason, actor.session.id)
      if (changes.length === 0) acceptActor(await findSession(db, actor.session.id))
      await tellRevoked(db, changes, reason)
      return changes
    })
  }

  async #findManyWithUsers(where: Where[]): Promise<AuthSession[]> {
    const tokens = where
      .filter((condition) => condition.field === 'token')
      .flatMap((condition) => condition.value)
    const found = await Promise.all(
      tokens.map((token) => this.findOne([{ field: 'token', value: String(token) }], true))
    )
    return found.filter((session) => session !== null)
  }

  /**
   * better-auth's expiry counts only where it is shorter than ours ("don't remember me",
   * impersonation). Then it is absolute.
   */
  #absoluteTtlSeconds(expiresAt: unknown, predecessor: Session | null): number {
    const left =
      predecessor === null
        ? Infinity
        : Math.ceil((predecessor.absoluteExpiresAt.getTime() - betterAuthNow()) / 1000)
    const ours = Math.max(1, Math.min(this.#options.absoluteTtlSeconds, left))
    if (!(expiresAt instanceof Date)) return ours
    const asked = Math.round((expiresAt.getTime() - betterAuthNow()) / 1000)
    // This is better-auth's own default, the life of the cookie, which browsers cap.
    if (asked >= LONGEST_COOKIE_SECONDS - 60) return ours
    return Math.max(1, Math.min(ours, asked))
  }
}

/**
 * Writes events for sessions that an administrator or operator has ended, in the transaction that
 * ended them. Other ends are in the session events.
 */
async function tellRevoked(
  db: Queryable,
  changes: readonly Change[],
  reason: RevocationReason
): Promise<void> {
  if (reason !== 'revoked_by_admin' && reason !== 'revoked_by_operator') return
  await writeRevokedSessions(
    db,
    currentOrigin(),
    changes.filter((change) => change.reason === reason).map(({ sessionId }) => sessionId),
    reason
  )
}

function tooManySessions(): APIError {
  return new APIError('TOO_MANY_REQUESTS', {
    code: 'TOO_MANY_SESSIONS',
    message: new AppError('too_many_sessions').message
  })
}

/**
 * The session that a new one replaces when its user changes a credential. The new session must not
 * live longer than that one.
 */
function predecessorFrom(userId: string): Session | null {
  const session = currentCall().actor?.session
  return session?.userId === userId && session.impersonatedBy === null ? session : null
}

function authSession(row: SessionRow, token: string): AuthSession {
  return {
    id: row.id,
    token,
    userId: row.userId,
    // better-auth asks for the password again by this date. What counts is when the user last
    // entered it.
    createdAt: row.authTime,
    updatedAt: row.updatedAt,
    expiresAt: row.expiresAt,
    ipAddress: row.ipAddress,
    userAgent: row.userAgent,
    impersonatedBy: row.impersonatedBy
  }
}

/**
 * Moves `expiresAt` to this machine's clock: better-auth compares the two, and a fast clock must
 * not sign users out.
 */
function onLocalClock(row: SessionRow, now: Date): SessionRow {
  if (row.expiresAt.getTime() > betterAuthNow()) return row
  return { ...row, expiresAt: new Date(betterAuthNow() + row.expiresAt.getTime() - now.getTime()) }
}

function tokenFrom(row: SessionRow, presented: ReadonlyMap<string, string>): string {
  const token = presented.get(row.id)
  const isReal =
    token !== undefined &&
    (parseSessionToken(token)?.hash === row.token || token === currentCall().surrogate?.token)
  return isReal ? token : toHandle(row.id)
}

const isNamed = (field: string) => field === 'token' || field === 'id' || field === 'userId'

/**
 * Turns better-auth's conditions into the sessions that they name. `presented` collects the real
 * tokens among them.
 */
function sessionFilter(
  where: Where[],
  presented: Map<string, string>
): { userId?: string; sessionIds?: string[] } {
  const filter: { userId?: string; sessionIds?: string[] } = {}
  for (const { field, value, operator = 'eq', connector } of where) {
    if (!isNamed(field)) continue
    if (connector === 'OR' || (operator !== 'eq' && operator !== 'in') || value === null)
      throw new Error(`sessions cannot be found by ${field} ${operator}`)
    if (field === 'userId') {
      filter.userId = String(value)
      continue
    }
    const ids = (Array.isArray(value) ? value : [value]).flatMap((item) =>
      sessionIdFrom(String(item), field, presented)
    )
    filter.sessionIds = filter.sessionIds?.filter((id) => ids.includes(id)) ?? ids
  }
  if (filter.userId === undefined && filter.sessionIds === undefined)
    throw new Error('sessions can be found by token, id or userId only')
  return filter
}

function sessionIdFrom(value: string, field: string, presented: Map<string, string>): string[] {
  if (field === 'id') return [value]
  // Signed tokens count as well, as clients have them: otherwise the answer would be "done" while
  // the session goes on.
  const parsed = findSessionToken(value)
  if (parsed) presented.set(parsed.sessionId, value)
  const id = parsed?.sessionId ?? parseHandle(value)
  return id ? [id] : []
}

function holds(actual: unknown, { value, operator = 'eq' }: Where): boolean {
  const a = actual instanceof Date ? actual.getTime() : actual
  const b = value instanceof Date ? value.getTime() : value
  if (operator === 'eq') return a === b
  if (operator === 'ne') return a !== b
  if (typeof a !== typeof b || (typeof a !== 'number' && typeof a !== 'string')) return false
  const [left, right] = [a, b as typeof a]
  if (operator === 'gt') return left > right
  if (operator === 'gte') return left >= right
  if (operator === 'lt') return left < right
  if (operator === 'lte') return left <= right
  throw new Error(`sessions cannot be filtered by ${operator}`)
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
