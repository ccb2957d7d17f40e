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

/** Whether a copy fits the credential: by the token's hash, or by the user. */
export type Matches = (session: Pick<SessionRow, 'token' | 'userId'>) => boolean

/**
 * Whether a copy settles the question. One that does not match, or looks expired, is a miss,
 * because a stale "no" would sign the user out.
 */
export function fits(record: SessionRecord, matches: Matches | undefined): boolean {
  return matches?.(record.session) === true && findCause(record) === null
}
