import { isRevoked, type StoreLookup, type Matches } from '../cache/store-lookup.js'
import type { ActiveCopy, LocalReadPermit, SessionCache } from '../cache/session-cache.js'
import type { Queryable } from '../database/database.js'
import { callStore } from '../database/fault.js'
import type { AccessTokens } from '../token/access-token.js'
import type { AccessTokenClaims } from '../session/access-token-claims.js'
import type { Activity } from '../session/activity.js'
import { VerifiedCredential } from './verified-credential.js'
import {
  toRevocationCode,
  judge,
  type Check,
  type Credential,
  type SessionRecord
} from '../session/session.js'
import { parseSessionToken, type ParsedToken } from '../session/session-token.js'
import { holdSession } from '../session/store.js'
import { SessionTokenVerifier } from './session-token-verifier.js'
import type { Counters } from '../counters.js'

/**
 * A check together with the rows it was decided on, for callers that show more than a check does.
 */
export interface Reading {
  check: Check
  /** Present when the session is active. */
  record: SessionRecord | null
}

/** How a question about many credentials may be answered. */
export interface Consistency {
  /** How old a copy may be that answers, in milliseconds; 0 reads the store. */
  maxAgeMs: number
}

/** A check, with how long ago at most the store said so, in milliseconds. */
export interface AgedCheck {
  check: Check
  ageMs: number
}

/** Why a credential names no session. */
type Refused = Check & { active: false }

/**
 * A session that is used all the time is noted this often: what is shown of it is to the second
 * anyway.
 */
const NOTE_MS = 1_000

const malformed: Refused = { active: false, cause: 'credential_malformed' }
const unknown: Refused = { active: false, cause: 'session_unknown' }

export interface ReaderOptions {
  cache: SessionCache
  /** Verify the signatures of session tokens; the first one makes them. */
  secrets: readonly string[]
  accessTokens: AccessTokens
  activity: Activity
  counters: Counters
}

/**
 * The one place that decides whether a session is valid. Every question of the server goes through
 * `check`.
 */
export class SessionChecker {
  readonly #options: ReaderOptions
  readonly #tokens: SessionTokenVerifier

  constructor(options: ReaderOptions) {
    this.#options = options
    this.#tokens = new SessionTokenVerifier(options.secrets)
  }

  /**
   * Whether the credential stands for an active session. What it returns is the caller's own.
   *
   * @throws StoreUnavailable when nobody knows
   */
  async check(credential: Credential): Promise<Check> {
    const check = await callStore(async () => this.answer(credential))
    if (!check.active) return check
    const { session, user } = check
    return {
      ...check,
      session: { ...session, amr: [...session.amr] },
      user: { ...user, roles: [...user.roles] }
    }
  }

  /**
   * As `check`, at once where this process knows: it is the whole cost of a warm check, and a
   * promise is made only where somebody must be asked. Such checks of one session share their
   * objects, for callers that remember what they made of them, and change nothing.
   */
  answer(credential: Credential): Check | Promise<Check> {
    const proof = this.#proveAtOnce(credential)
    if (!proof)
      return this.#proveByAsking(credential).then((proven) =>
        'active' in proven ? proven : this.#answer(proven)
      )
    return proof instanceof VerifiedCredential ? this.#answer(proof) : proof
  }

  /**
   * As `check`, with the rows. Pass a transaction to keep the session from being revoked until it
   * ends.
   */
  async read(credential: Credential, transaction?: Queryable): Promise<Reading> {
    const proof = this.#proveAtOnce(credential) ?? (await this.#proveByAsking(credential))
    if ('active' in proof) return { check: proof, record: null }
    // Requests share reads: a fault must be told to each of them, and not only to the one whose
    // read it was.
    const found = transaction
      ? await this.#ask<StoreLookup>(() => holdSession(transaction, proof.sessionId))
      : await callStore(() =>
          this.#options.cache.find(proof.sessionId, (session) => proof.fits(session))
        )
    return this.#judge(found, proof)
  }

  /**
   * Checks many credentials at once: for all of them at most one command to Redis and one query.
   *
   * @throws StoreUnavailable when nobody knows of one of them
   */
  async checkAll(
    credentials: readonly (Credential | null)[],
    { maxAgeMs }: Consistency
  ): Promise<AgedCheck[]> {
    const now = maxAgeMs > 0 ? this.#options.cache.localReadPermit() : null
    const answers = credentials.map((credential) =>
      credential ? this.#answerAtOnce(credential, maxAgeMs, now) : { check: malformed, ageMs: 0 }
    )
    return answers.every(isAnswer)
      ? answers
      : this.#findAll(await Promise.all(answers.map(async (answer) => answer)), maxAgeMs)
  }

  /**
   * Verifies signature and shape of a session token without asking anybody; null for what this
   * server never issued.
   */
  parse(credential: Credential): ParsedToken | null {
    if (credential.kind === 'access') return null
    return credential.kind === 'signed'
      ? (this.#tokens.read(credential.value)?.token ?? null)
      : parseSessionToken(credential.value)
  }

  /**
   * The answer where this process has it, and else what there is to ask. @param now null where no
   * copy may answer
   */
  #answerAtOnce(
    credential: Credential,
    maxAgeMs: number,
    now: LocalReadPermit | null
  ): AgedCheck | VerifiedCredential | Promise<VerifiedCredential | Refused> {
    const proof = this.#proveAtOnce(credential)
    if (!proof) return this.#proveByAsking(credential)
    if (!(proof instanceof VerifiedCredential)) return { check: proof, ageMs: 0 }
    const copy = now === null ? null : this.#copyFor(proof, now, maxAgeMs)
    return now !== null && copy ? { check: proof.checkOf(copy), ageMs: now - copy.readAt } : proof
  }

  /** The copy in this process that answers; null where somebody must be asked. */
  #copyFor(proof: VerifiedCredential, now: LocalReadPermit, maxAgeMs: number): ActiveCopy | null {
    const { cache, activity } = this.#options
    const kept = proof.place?.unpacked
    const copy =
      kept && cache.isCurrent(kept, now, maxAgeMs)
        ? kept
        : cache.findLocal(proof.sessionId, (session) => proof.fits(session), now, maxAgeMs)
    if (copy !== kept) proof.place = copy?.place ?? null
    if (copy && now - copy.notedAt >= NOTE_MS) {
      copy.notedAt = now
      activity.note(proof.sessionId)
    }
    return copy
  }

  #answer(proof: VerifiedCredential): Check | Promise<Check> {
    const now = this.#options.cache.localReadPermit()
    const copy = now === null ? null : this.#copyFor(proof, now, Infinity)
    if (copy) return proof.checkOf(copy)
    return this.#options.cache.load(
      proof.sessionId,
      (session) => proof.fits(session),
      (found) => this.#judge(found, proof).check
    )
  }

  async #findAll(
    questions: readonly (AgedCheck | VerifiedCredential | Refused)[],
    maxAgeMs: number
  ): Promise<AgedCheck[]> {
    const wanted = new Map<string, Matches>()
    for (const question of questions) {
      if (!(question instanceof VerifiedCredential)) continue
      // A copy must fit every credential that names its session; one that does not is read from the
      // store, for each to be judged by.
      const others = wanted.get(question.sessionId)
      wanted.set(
        question.sessionId,
        (session) => question.fits(session) && others?.(session) !== false
      )
    }
    const found = await callStore(() => this.#options.cache.findAll(wanted, maxAgeMs))
    return questions.map((question) => {
      if ('check' in question) return question
      if ('active' in question) return { check: question, ageMs: 0 }
      const { found: record, ageMs } = found.get(question.sessionId) ?? { found: null, ageMs: 0 }
      return { check: this.#judge(record, question).check, ageMs }
    })
  }

  /**
   * What a credential proves by itself; null for an access token that must be verified first, which
   * may take a question.
   */
  #proveAtOnce(credential: Credential): VerifiedCredential | Refused | null {
    return credential.kind === 'access'
      ? this.#peekAccess(credential.value)
      : this.#proveSession(credential)
  }

  async #proveByAsking(credential: Credential): Promise<VerifiedCredential | Refused> {
    const verified = await this.#ask(() => this.#options.accessTokens.verify(credential.value))
    return verified.claims
      ? proofOf(verified.claims)
      : this.#refused({ active: false, cause: verified.cause })
  }

  async #ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await callStore(question)
    } catch (error) {
      this.#options.counters.checks.store.unavailable++
      throw error
    }
  }

  #refused(refused: Refused): Refused {
    this.#options.counters.checks.none.refused++
    return refused
  }

  #proveSession({ kind, value }: Credential): VerifiedCredential | Refused {
    if (kind === 'signed') return this.#tokens.read(value) ?? this.#refused(malformed)
    const parsed = parseSessionToken(value)
    return parsed ? VerifiedCredential.ofToken(parsed) : this.#refused(malformed)
  }

  #peekAccess(token: string): VerifiedCredential | null {
    const claims = this.#options.accessTokens.findVerified(token)
    return claims && proofOf(claims)
  }

  #judge(found: StoreLookup, proof: VerifiedCredential): Reading {
    if (found && isRevoked(found))
      return {
        check: { active: false, cause: toRevocationCode(found.revokedReason) },
        record: null
      }
    if (!found || !proof.fits(found.session)) return { check: unknown, record: null }
    const check = judge(found)
    if (!check.active) return { check, record: null }
    const { id, issuedAt, lastSeenAt } = found.session
    if (lastSeenAt <= issuedAt) this.#options.activity.noteFirst(id)
    else this.#options.activity.note(id)
    return { check: proof.claims ? { ...check, token: proof.claims } : check, record: found }
  }
}

function isAnswer(answer: AgedCheck | object): answer is AgedCheck {
  return 'check' in answer
}

/** Where what an access token says keeps what it proves. */
const PROOF = Symbol('proof')

function proofOf(claims: AccessTokenClaims & { [PROOF]?: VerifiedCredential }): VerifiedCredential {
  claims[PROOF] ??= VerifiedCredential.ofClaims(claims)
  return claims[PROOF]
}
