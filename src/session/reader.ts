import type { Found, Matches } from '../cache/found.js'
import type { SessionCache } from '../cache/session-cache.js'
import type { Queryable } from '../database/database.js'
import { callStore } from '../database/fault.js'
import type { Activity } from './activity.js'
import { judge, type Check, type SessionRecord } from './session.js'
import { parseSessionToken, sameHash, type ParsedToken } from './session-token.js'
import { holdSession } from './store.js'
import { VerifiedTokens } from './verified-tokens.js'

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

const malformed: Reading = { check: { active: false, cause: 'credential_malformed' }, record: null }
const revoked: Reading = { check: { active: false, cause: 'session_revoked' }, record: null }
const unknown: Reading = { check: { active: false, cause: 'session_unknown' }, record: null }

export interface ReaderOptions {
  cache: SessionCache
  /** Verifies the signatures of session tokens. */
  secret: string
  activity: Activity
}

/** The one place that decides whether a session is valid. Every question of the server goes through `check`. */
export class SessionReader {
  readonly #options: ReaderOptions
  readonly #tokens: VerifiedTokens

  constructor(options: ReaderOptions) {
    this.#options = options
    this.#tokens = new VerifiedTokens(options.secret)
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
    if (!parsed) return malformed
    const matches = (record: SessionRecord) => sameHash(record.session.token, parsed.hash)
    // Requests share reads: a fault must be told to each of them, and not only to the one whose read it was.
    const record = await callStore<Found>(() => (transaction ? holdSession(transaction, parsed.sessionId) : this.#options.cache.find(parsed.sessionId, matches)))
    return this.#judge(record, parsed)
  }

  /**
   * As `check`, where this process can answer at once: null where it must ask somebody. It is the whole cost of a warm check.
   */
  peek(credential: Credential): Check | null {
    const parsed = this.parse(credential)
    if (!parsed) return malformed.check
    const record = this.#options.cache.peek(parsed.sessionId, ({ session }) => sameHash(session.token, parsed.hash))
    if (!record) return null
    this.#options.activity.note(parsed.sessionId)
    return judge(record)
  }

  /**
   * Checks many credentials at once: for all of them at most one command to Redis and one query.
   *
   * @throws StoreUnavailable when nobody knows of one of them
   */
  async checkAll(credentials: readonly (Credential | null)[], { maxAgeMs }: Consistency): Promise<AgedCheck[]> {
    const tokens = credentials.map((credential) => credential && this.parse(credential))
    const wanted = new Map<string, Matches>()
    for (const token of tokens) {
      // One session has one token; a second one that verifies would be read from the store, and refused.
      if (token) wanted.set(token.sessionId, ({ session }) => sameHash(session.token, token.hash))
    }
    const found = await callStore(() => this.#options.cache.findAll(wanted, maxAgeMs))
    return tokens.map((token) => {
      if (!token) return { check: malformed.check, ageMs: 0 }
      const { found: record, ageMs } = found.get(token.sessionId) ?? { found: null, ageMs: 0 }
      return { check: this.#judge(record, token).check, ageMs }
    })
  }

  /** Verifies signature and shape without asking anybody; null for what this server never issued. */
  parse(credential: Credential): ParsedToken | null {
    return credential.kind === 'signed' ? this.#tokens.read(credential.value) : parseSessionToken(credential.value)
  }

  #judge(record: Found, { hash }: ParsedToken): Reading {
    if (record === 'revoked') return revoked
    if (!record || !sameHash(record.session.token, hash)) return unknown
    const check = judge(record)
    if (!check.active) return { check, record: null }
    this.#options.activity.note(record.session.id)
    return { check, record }
  }
}
