import type { LocalEntry } from '../cache/local-cache.js'
import { isRevoked, type SessionClaim, type StoreLookup } from '../cache/store-lookup.js'
import type { SessionCache } from '../cache/session-cache.js'
import type { Queryable } from '../database/database.js'
import { callStore } from '../database/fault.js'
import type { AccessTokens } from '../token/access-token.js'
import type { Activity } from '../session/activity.js'
import { VerifiedCredential } from './verified-credential.js'
import {
  toRevocationCode,
  judge,
  type Check,
  type Credential,
  type InactiveCheck,
  type SessionRecord
} from '../session/session.js'
import { parseSessionToken, type ParsedToken } from '../session/session-token.js'
import { holdSession } from '../session/store.js'
import { SessionTokenVerifier } from './session-token-verifier.js'
import type { Counters } from '../counters.js'

/** A check with the rows that decided it, for callers that show more than a check does. */
export interface Reading {
  check: Check
  /** Present when the session is active. */
  record: SessionRecord | null
}

/** How old the answers to a check of many credentials may be. */
export interface Consistency {
  /** The maximum age of a copy that answers, in milliseconds. 0 reads the store. */
  maxAgeMs: number
}

/** A check with its maximum age: how long ago, in milliseconds, the store was read. */
export interface AgedCheck {
  check: Check
  ageMs: number
}

/** The use of a session is noted at most this often. Lists show it to the second only. */
const NOTE_MS = 1_000

const malformed: InactiveCheck = { active: false, cause: 'credential_malformed' }
const unknown: InactiveCheck = { active: false, cause: 'session_unknown' }

export interface SessionCheckerOptions {
  cache: SessionCache
  /** They verify the signatures of session tokens. The first one signs. */
  secrets: readonly string[]
  accessTokens: AccessTokens
  activity: Activity
  counters: Counters
  /** A monotonic clock, in milliseconds. */
  now: () => number
}

/** The one place that decides whether a session is valid. */
export class SessionChecker {
  readonly #options: SessionCheckerOptions
  readonly #now: () => number
  readonly #sessionTokens: SessionTokenVerifier

  constructor(options: SessionCheckerOptions) {
    this.#options = options
    this.#now = options.now
    this.#sessionTokens = new SessionTokenVerifier(options.secrets)
  }

  /**
   * Checks whether the credential belongs to an active session. The caller may change the result.
   *
   * @throws StoreUnavailable when neither a copy nor the store answers
   */
  check(credential: Credential): Promise<Check> {
    const verified = this.#verifyCached(credential)
    return verified ? this.#checkVerified(verified) : this.#checkUnverified(credential)
  }

  /**
   * As `check`, without I/O. Null where only `check` can tell. All checks of one session return the
   * same object: callers must not change it, but may use it as a key for what they derived from it.
   */
  checkCached(credential: Credential): Check | null {
    if (!this.#options.cache.hasLocal) return null
    const verified = this.#verifyCached(credential)
    return verified instanceof VerifiedCredential ? this.#checkLocally(verified) : verified
  }

  /**
   * As `check`, with the rows. Pass a transaction to keep the session from being revoked until it
   * ends.
   */
  async read(credential: Credential, transaction?: Queryable): Promise<Reading> {
    const verified = await this.#verify(credential)
    if (!(verified instanceof VerifiedCredential)) return { check: verified, record: null }
    // Several callers share one read, so `callStore` reports its fault to each of them.
    const found = transaction
      ? await this.#ask<StoreLookup>(() => holdSession(transaction, verified.sessionId))
      : await callStore(() => this.#options.cache.find(verified))
    return this.#judge(found, verified)
  }

  /**
   * Checks many credentials with at most one command to Redis and one query.
   *
   * @throws StoreUnavailable when one of them cannot be decided
   */
  async checkAll(
    credentials: readonly (Credential | null)[],
    { maxAgeMs }: Consistency
  ): Promise<AgedCheck[]> {
    const known = credentials.map((credential) =>
      credential ? this.#checkAged(credential, maxAgeMs) : { check: malformed, ageMs: 0 }
    )
    if (!known.includes(null)) return known as AgedCheck[]
    const open = await Promise.all(
      credentials.map(async (credential, i) => known[i] ?? this.#verify(credential as Credential))
    )
    return this.#checkUncachedAll(open, maxAgeMs)
  }

  /**
   * Verifies the signature and form of a session token without I/O. Null for a token that this
   * server never issued.
   */
  parse(credential: Credential): ParsedToken | null {
    if (credential.kind === 'access') return null
    return credential.kind === 'token'
      ? parseSessionToken(credential.value)
      : (this.#sessionTokens.verify(credential.value)?.token ?? null)
  }

  #checkLocally(verified: VerifiedCredential): Check | null {
    const copy = this.#findCopy(verified, this.#now(), Infinity)
    return copy && verified.checkOf(copy)
  }

  /** The check and its age where a copy in this process answers, else null. */
  #checkAged(credential: Credential, maxAgeMs: number): AgedCheck | null {
    if (maxAgeMs === 0 || !this.#options.cache.hasLocal) return null
    const verified = this.#verifyCached(credential)
    if (verified === null) return null
    if (!(verified instanceof VerifiedCredential)) return { check: verified, ageMs: 0 }
    const now = this.#now()
    const copy = this.#findCopy(verified, now, maxAgeMs)
    const check = copy && verified.checkOf(copy)
    return check && { check, ageMs: now - copy.readAt }
  }

  /** The copy in this process, or null. Notes the use of the session. */
  #findCopy(verified: VerifiedCredential, now: number, maxAgeMs: number): LocalEntry | null {
    const { cache, activity } = this.#options
    const copy = cache.findLocal(verified, now, maxAgeMs)
    if (copy && now - copy.notedAt >= NOTE_MS) {
      copy.notedAt = now
      activity.note(verified.sessionId)
    }
    return copy
  }

  #checkVerified(verified: VerifiedCredential | InactiveCheck): Promise<Check> {
    if (!(verified instanceof VerifiedCredential)) return Promise.resolve(verified)
    const known = this.#checkLocally(verified)
    return known ? Promise.resolve(ownCheck(known)) : this.#load(verified)
  }

  /** Checks an access token that was not verified before. Its session may have a copy. */
  async #checkUnverified({ value }: Credential): Promise<Check> {
    return this.#checkVerified(await this.#verifyAccessToken(value))
  }

  #load(verified: VerifiedCredential): Promise<Check> {
    const { cache } = this.#options
    // Callers share a read: each gets a check of its own, and each is told of a fault.
    return cache
      .load(verified, (found) => ownCheck(this.#judge(found, verified).check))
      .catch((error: unknown) => callStore(() => Promise.reject(error)))
  }

  async #checkUncachedAll(
    open: readonly (AgedCheck | VerifiedCredential | InactiveCheck)[],
    maxAgeMs: number
  ): Promise<AgedCheck[]> {
    const wanted = new Map<string, SessionClaim>()
    for (const verified of open) {
      if (!(verified instanceof VerifiedCredential)) continue
      // A copy must fit every credential that names its session. Where it does not, the store is
      // read, and each credential is judged against the row.
      const other = wanted.get(verified.sessionId)
      wanted.set(verified.sessionId, other ? bothClaims(verified, other) : verified)
    }
    const found = await callStore(() => this.#options.cache.findAll(wanted, maxAgeMs))
    return open.map((verified) => {
      if ('check' in verified) return verified
      if ('active' in verified) return { check: verified, ageMs: 0 }
      const { found: lookup, ageMs } = found.get(verified.sessionId) ?? { found: null, ageMs: 0 }
      return { check: this.#judge(lookup, verified).check, ageMs }
    })
  }

  /** Verifies a credential without I/O. Null for an access token that was not verified before. */
  #verifyCached({ kind, value }: Credential): VerifiedCredential | InactiveCheck | null {
    if (kind === 'access') {
      const claims = this.#options.accessTokens.findVerified(value)
      return claims && VerifiedCredential.ofClaims(claims)
    }
    if (kind !== 'token') return this.#sessionTokens.verify(value) ?? this.#refuse(malformed)
    const parsed = parseSessionToken(value)
    return parsed ? VerifiedCredential.ofToken(parsed) : this.#refuse(malformed)
  }

  async #verify(credential: Credential): Promise<VerifiedCredential | InactiveCheck> {
    return this.#verifyCached(credential) ?? this.#verifyAccessToken(credential.value)
  }

  async #verifyAccessToken(token: string): Promise<VerifiedCredential | InactiveCheck> {
    const result = await this.#ask(() => this.#options.accessTokens.verify(token))
    return result.claims
      ? VerifiedCredential.ofClaims(result.claims)
      : this.#refuse({ active: false, cause: result.cause })
  }

  async #ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await callStore(question)
    } catch (error) {
      this.#options.counters.checks.store.unavailable++
      throw error
    }
  }

  #refuse(check: InactiveCheck): InactiveCheck {
    this.#options.counters.checks.none.refused++
    return check
  }

  #judge(found: StoreLookup, verified: VerifiedCredential): Reading {
    if (found && isRevoked(found))
      return {
        check: { active: false, cause: toRevocationCode(found.revokedReason) },
        record: null
      }
    if (!found || !verified.fits(found.session)) return { check: unknown, record: null }
    const check = judge(found)
    if (!check.active) return { check, record: null }
    const { id, issuedAt, lastSeenAt } = found.session
    if (lastSeenAt <= issuedAt) this.#options.activity.noteFirst(id)
    else this.#options.activity.note(id)
    return { check: verified.claims ? { ...check, token: verified.claims } : check, record: found }
  }
}

function bothClaims(one: SessionClaim, other: SessionClaim): SessionClaim {
  return { sessionId: one.sessionId, fits: (row) => one.fits(row) && other.fits(row) }
}

function ownCheck(check: Check): Check {
  if (!check.active) return check
  const { session, user } = check
  return {
    ...check,
    session: { ...session, amr: [...session.amr] },
    user: { ...user, roles: [...user.roles] }
  }
}
