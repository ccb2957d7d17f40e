import type { SessionRecord, SessionRow, UserRow } from '../session/session.js'

const dates = new Set(['issuedAt', 'updatedAt', 'expiresAt', 'absoluteExpiresAt', 'lastSeenAt', 'authTime', 'revokedAt', 'createdAt', 'banExpires'])

/** A session as the shared cache keeps it: the rows with their hash, never a token. */
export function encodeRecord({ session, user, now }: SessionRecord): string {
  return JSON.stringify({ session, user, now })
}

/**
 * Reads a copy from the shared cache.
 *
 * @param ageMs how long ago its store read began; the database's clock is carried forward by it
 */
export function decodeRecord(text: string, ageMs: number): SessionRecord {
  const { session, user, now } = JSON.parse(text, (key, value: unknown) => (typeof value === 'string' && (dates.has(key) || key === 'now') ? new Date(value) : value)) as { session: SessionRow, user: UserRow | null, now: Date }
  return { session, user, now: new Date(now.getTime() + ageMs) }
}
