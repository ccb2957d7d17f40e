import type { LocalEntry } from '../cache/local-cache.js'
import type { SessionClaim } from '../cache/store-lookup.js'
import type { AccessTokenClaims } from '../session/access-token-claims.js'
import type { ActiveCheck, SessionRow } from '../session/session.js'
import type { ParsedToken } from '../session/session-token.js'

/**
 * A credential whose signature or form is valid: the session that it names, and how to compare it
 * with the rows. It does not say whether the session is active. Many are remembered, so they are
 * small.
 */
export class VerifiedCredential implements SessionClaim {
  readonly sessionId: string
  /** The hash that the store should hold for a session token. Null for an access token. */
  readonly hash: string | null
  /** The claims of an access token. Null for a session token. */
  readonly claims: AccessTokenClaims | null

  private constructor(sessionId: string, hash: string | null, claims: AccessTokenClaims | null) {
    this.sessionId = sessionId
    this.hash = hash
    this.claims = claims
  }

  static ofToken({ sessionId, hash }: ParsedToken): VerifiedCredential {
    return new VerifiedCredential(sessionId, hash, null)
  }

  static ofClaims(claims: AccessTokenClaims): VerifiedCredential {
    return new VerifiedCredential(claims.sid, null, claims)
  }

  /**
   * Whether a row belongs to this credential. An access token is authenticated by its signature,
   * but its session must still belong to the same user.
   */
  fits({ token, userId }: Pick<SessionRow, 'token' | 'userId'>): boolean {
    return this.claims ? userId === this.claims.sub : token === this.hash
  }

  /** The parsed session token. Null for an access token. */
  get token(): ParsedToken | null {
    return this.hash === null ? null : { sessionId: this.sessionId, hash: this.hash }
  }

  /**
   * The check for a copy that fits. The copy keeps it, so the object stays the same while the copy
   * lives.
   */
  checkOf(copy: LocalEntry): ActiveCheck | null {
    const { claims } = this
    const { active } = copy
    if (!claims || !active) return active
    if (copy.shown?.token !== claims)
      copy.shown = { active: true, session: active.session, user: active.user, token: claims }
    return copy.shown
  }
}
