import type { Found, SessionCache } from '../cache/session-cache.js'
import type { Queryable } from '../database/database.js'
import { callStore } from '../database/fault.js'
import type { Activity } from './activity.js'
import { judge, type Check, type SessionRecord } from './session.js'
import { parseSessionToken, sameHash, verifySignedToken, type ParsedToken } from './session-token.js'
import { holdSession } from './store.js'
import type { Tally } from '../tally.js'

/** What a request shows to prove its session. */
export type Credential =
  /** A session token as it travels: with its signature, in a cookie or as a bearer token. */
  | { kind: 'signed', value: string }
  /** A session token whose signature better-auth has verified. */
  | { kind: 'token', value: string }

/** A check together with the rows it was decided on, for callers that show more than a check does. */
export interface Reading {
  check: Check
  /** Present when the session is active. */
  record: SessionRecord | null
}

const malformed: Reading = { check: { active: false, cause: 'credential_malformed' }, record: null }
const revoked: Reading = { check: { active: false, cause: 'session_revoked' }, record: null }
const unknown: Reading = { check: { active: false, cause: 'session_unknown' }, record: null }

export interface ReaderOptions {
  cache: SessionCache
  /** Verifies the signatures of session tokens. */
  secret: string
  activity: Activity
  tally: Tally
}

/** The one place that decides whether a session is valid. Every question of the server goes through `check`. */
export class SessionReader {
  readonly #options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /**
   * Whether the credential stands for an active session.
   *
   * @throws StoreUnavailable when nobody knows
   */
  async check(credential: Credential): Promise<Check> {
    return (await this.read(credential)).check
  }

  /** As `check`, with the rows. Pass a transaction to keep the session from being revoked until it ends. */
  async read(credential: Credential, transaction?: Queryable): Promise<Reading> {
    const parsed = this.parse(credential)
    if (!parsed) {
      this.#options.tally.checks.none.refused++
      return malformed
    }
    const matches = (record: SessionRecord) => sameHash(record.session.token, parsed.hash)
    // Requests share reads: a fault must be told to each of them, and not only to the one whose read it was.
    const record = await callStore<Found>(() => (transaction ? holdSession(transaction, parsed.sessionId) : this.#options.cache.find(parsed.sessionId, matches)))
      .catch((error: unknown) => { this.#options.tally.checks.store.unavailable++; throw error })
    if (record === 'revoked') return revoked
    if (!record || !matches(record)) return unknown
    const check = judge(record)
    if (!check.active) return { check, record: null }
    this.#options.activity.note(record.session.id)
    return { check, record }
  }

  /** Verifies signature and shape without asking anybody; null for what this server never issued. */
  parse(credential: Credential): ParsedToken | null {
    const token = credential.kind === 'signed' ? verifySignedToken(credential.value, this.#options.secret) : credential.value
    return token === null ? null : parseSessionToken(token)
  }
}
