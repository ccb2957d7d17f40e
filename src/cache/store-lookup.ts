import { findCause, type SessionRecord, type SessionRow } from '../session/session.js'

/** A session of which no more is known than that it was revoked, and why. */
export interface Revoked {
  readonly revokedReason: string
}

/** What is known of a session: its rows, that it is revoked, or that there is none. */
export type StoreLookup = SessionRecord | Revoked | null

export function isRevoked(found: StoreLookup): found is Revoked {
  return found !== null && 'revokedReason' in found
}

/** The same, with how long ago at most the store said so, in milliseconds. */
export interface Aged {
  found: StoreLookup
  ageMs: number
}

/**
 * Whether a copy fits the credential that was shown: by the hash of its token, or by whose it is.
 */
export type Matches = (session: Pick<SessionRow, 'token' | 'userId'>) => boolean

/**
 * Whether a copy settles the question. One that does not match, or looks expired, is a miss: a
 * stale "no" is a sign-out.
 */
export function fits(record: SessionRecord, matches: Matches | undefined): boolean {
  return matches?.(record.session) === true && findCause(record) === null
}
