import type { PastSession } from './session.js'

/**
 * A session as operators and administrators see it: with how and when it ended, and never with its
 * token.
 */
export type ShownSession = Omit<
  PastSession,
  'token' | 'updatedAt' | 'revokedAt' | 'revokedReason' | 'version'
> & { endedReason: string | null }

export function showPastSession({
  token: _token,
  updatedAt: _updatedAt,
  revokedAt: _revokedAt,
  version: _version,
  revokedReason,
  ...shown
}: PastSession): ShownSession {
  return { ...shown, endedReason: revokedReason }
}
