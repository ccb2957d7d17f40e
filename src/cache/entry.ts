import type { SessionRecord, SessionRow, UserRow } from '../session/session.js'

const dates = new Set(['issuedAt', 'updatedAt', 'expiresAt', 'absoluteExpiresAt', 'lastSeenAt', 'authTime', 'revokedAt', 'createdAt', 'banExpires'])

/**
 * A session as the shared cache keeps it: the rows with their hash, never a token.
 *
 * @param livesMs how long the copy may live, counted from the store read: what is left of it later tells its age
 */
export function encodeRecord({ session, user, now }: SessionRecord, livesMs: number): string {
  return JSON.stringify({ session, user, now, livesMs })
}

/** Reads a copy from the shared cache; the database's clock in it stands where the store was read. */
export function decodeRecord(text: string): { record: SessionRecord, livesMs: number | undefined } {
  const { livesMs, ...record } = JSON.parse(text, (key, value: unknown) => (typeof value === 'string' && (dates.has(key) || key === 'now') ? new Date(value) : value)) as { session: SessionRow, user: UserRow | null, now: Date, livesMs?: number }
  return { record, livesMs }
}

/** The copy as it stands some time later: the database's clock is carried forward. */
export function agedBy(record: SessionRecord, ageMs: number): SessionRecord {
  return { session: record.session, user: record.user, now: new Date(record.now.getTime() + ageMs), ageMs }
}
