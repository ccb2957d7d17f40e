import { findCause, type SessionRecord, type SessionRow } from '../session/session.js'

/** A session of which only the revocation and its reason are known. */
export interface Revoked {
  readonly revokedReason: string
}

/** What is known of a session: its rows, or that it is revoked; null where there is none. */
export type StoreLookup = SessionRecord | Revoked | null

export function isRevoked(found: StoreLookup): found is Revoked {
  return found !== null && 'revokedReason' in found
}

/** A lookup with its maximum age: how long ago, in milliseconds, the store was read. */
export interface AgedLookup {
  found: StoreLookup
  ageMs: number
}

/** What a credential claims: a session, and which row of it is the credential's. */
export interface SessionClaim {
  readonly sessionId: string
  /** By the token's hash, or by the user. */
  fits(session: Pick<SessionRow, 'token' | 'userId'>): boolean
}

/**
 * Whether a copy settles the question. One that does not match, or looks expired, is a miss,
 * because a stale "no" would sign the user out.
 */
export function settles(record: SessionRecord, claim: SessionClaim | undefined): boolean {
  return claim?.fits(record.session) === true && findCause(record) === null
}
