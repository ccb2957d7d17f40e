import type { Peppers } from '../secrets/keys.js'
import type { Confirmation } from '../revocation/confirmation.js'
import type { SessionCache } from '../cache/session-cache.js'
import type { PrismaClient, Queryable } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import { AppError, StoreUnavailable } from '../errors.js'
import { revokeSessions } from '../session/revocation.js'
import { judge, type SessionRecord, type UserRow } from '../session/session.js'
import { findSession } from '../session/store.js'
import {
  getToken,
  hashIdempotencyKey,
  newSalt,
  deriveSuccessor,
  type ParsedRefreshToken,
  type RefreshToken
} from './refresh-token.js'
import {
  findFamily,
  judgeRefresh,
  noteReplay,
  noteReuse,
  rotate,
  type RefreshRecord,
  type RefreshAttempt
} from './rotation.js'

/** A refresh request (RFC 6749, section 6). */
export interface RefreshRequest {
  /** The token that was sent, as `parseRefreshToken` reads it. */
  shown: ParsedRefreshToken
  /** Must be the client that began the session. Null where the request names none. */
  clientId: string | null
  /** Chosen by the client for one attempt and its retries. */
  idempotencyKey: string | null
  ipAddress: string | null
}

/** A refresh that succeeded, or was answered again. */
export interface Refreshed {
  outcome: 'rotated' | 'replayed'
  refreshToken: string
  generation: number
  record: SessionRecord & { user: UserRow }
}

const unknown = { active: false, cause: 'session_unknown' } as const

/** How often a token is tried again while other requests are using it. */
const ATTEMPTS = 3

export interface RefreshGrantOptions {
  prisma: PrismaClient
  peppers: Peppers
  cache: SessionCache
  confirmation: Confirmation
  idleTtlSeconds: number
  /** For how long a used token is answered again with its successor, in seconds. */
  graceSeconds: number
  /** Tells a user that a session ended because its refresh token was copied. */
  tellReuse: (db: Queryable, userId: string) => Promise<void>
}

/** Exchanges each refresh token once for the next one of the same session. */
export class RefreshGrant {
  readonly #options: RefreshGrantOptions

  constructor(options: RefreshGrantOptions) {
    this.#options = options
  }

  /**
   * @throws AppError when the token is not valid; a token that was used before, outside the replay
   *   rule, has then finally ended its session
   * @throws StoreUnavailable when the store does not answer: the same request may be sent again,
   *   and gets the answer that the first would have had
   */
  async refresh({
    shown,
    clientId,
    idempotencyKey,
    ipAddress
  }: RefreshRequest): Promise<Refreshed> {
    const token = getToken(shown)
    if (!token) throw new AppError('refresh_malformed')
    const showing: RefreshAttempt = {
      token,
      clientId,
      idempotencyHash:
        idempotencyKey === null ? null : hashIdempotencyKey(token.sessionId, idempotencyKey)
    }
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const refreshed =
        (await this.#rotate(showing, ipAddress)) ?? (await this.#answerAgain(showing, ipAddress))
      if (refreshed) return refreshed
    }
    throw new StoreUnavailable(new Error('a refresh token changed its state again and again'))
  }

  async #rotate(showing: RefreshAttempt, ipAddress: string | null): Promise<Refreshed | null> {
    const {
      prisma,
      cache,
      peppers: { current },
      idleTtlSeconds
    } = this.#options
    const salt = newSalt()
    const successor = deriveSuccessor(showing.token, salt, current)
    const rotated = await rotate(prisma, {
      ...showing,
      hash: successor.hash,
      salt,
      pepperId: current.id,
      idleTtlSeconds,
      ipAddress
    })
    if (!rotated) return null
    const record = rotated.waited
      ? await findSession(prisma, showing.token.sessionId)
      : rotated.record
    const check = record ? judge(record) : unknown
    if (!check.active) throw new AppError(check.cause)
    if (!record?.user) return null
    cache.put(record) // so that checks of this session need no read of the store
    return {
      outcome: 'rotated',
      refreshToken: successor.token,
      generation: showing.token.generation + 1,
      record: { ...record, user: record.user }
    }
  }

  /**
   * Answers a token that is not the current one of an active session.
   *
   * @returns null when it is the current one by now
   * @throws AppError, after the end of the session is committed where that is due
   */
  async #answerAgain(showing: RefreshAttempt, ipAddress: string | null): Promise<Refreshed | null> {
    const { prisma, graceSeconds } = this.#options
    const record = await findFamily(prisma, showing.token.sessionId)
    if (!record) throw new AppError('session_unknown')
    const verdict = judgeRefresh(record, showing, graceSeconds)
    if (verdict === 'rotate') return null
    if (verdict === 'replay') {
      const refreshed = this.#replay(record, showing.token)
      await noteReplay(prisma, record, ipAddress)
      return refreshed
    }
    if (verdict === 'reuse') {
      await this.#end(record.session, ipAddress)
      throw new AppError('refresh_reused')
    }
    throw new AppError(verdict.refuse)
  }

  /**
   * Ends the session. Resolves when that is committed and final, even if the answer is then lost.
   */
  async #end(
    { id: sessionId, userId }: { id: string; userId: string },
    ipAddress: string | null
  ): Promise<void> {
    const changes = await withTransaction(this.#options.prisma, async (transaction) => {
      const db = await transaction.forWrite()
      await noteReuse(db, sessionId, ipAddress)
      const ended = await revokeSessions(db, [sessionId], null, 'refresh_reused')
      if (ended.length > 0) await this.#options.tellReuse(db, userId)
      return ended
    })
    await this.#options.confirmation.settle({ changes, sessionIds: [sessionId] })
  }

  /** Makes the successor again. A token that is not provably the same one is not given out. */
  #replay({ refresh, ...record }: RefreshRecord, token: RefreshToken): Refreshed {
    const pepper = this.#options.peppers.find(refresh.rotationPepper ?? '')
    if (!pepper)
      throw new StoreUnavailable(
        new Error('the pepper of a session is not configured here (AUTH_SECRET_PREVIOUS)')
      )
    const successor = deriveSuccessor(token, refresh.rotationSalt ?? '', pepper)
    if (successor.hash !== refresh.refreshHash || !record.user)
      throw new StoreUnavailable(
        new Error('the successor of a refresh token could not be made again')
      )
    return {
      outcome: 'replayed',
      refreshToken: successor.token,
      generation: refresh.refreshGeneration,
      record: { ...record, user: record.user }
    }
  }
}
