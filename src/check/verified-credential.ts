import type { ActiveCopy } from '../cache/session-cache.js'
import type { AccessTokenClaims } from '../session/access-token-claims.js'
import type { ActiveCheck, SessionRow } from '../session/session.js'
import type { ParsedToken } from '../session/session-token.js'

/**
 * A credential whose signature or form was found right: the session that it names, and which rows it
 * fits. Whether that session is active is another question. Many are remembered, so they are small.
 */
export class VerifiedCredential {
  readonly sessionId: string
  /** What the store should hold for a session token. */
  readonly hash: string | null
  /** What an access token says. */
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
   * An access token proves itself; the session that it names must be active all the same, and the
   * same person's.
   */
  fits({ token, userId }: Pick<SessionRow, 'token' | 'userId'>): boolean {
    return this.claims ? userId === this.claims.sub : token === this.hash
  }

  /** What a session token says; null for an access token. */
  get token(): ParsedToken | null {
    return this.hash === null ? null : { sessionId: this.sessionId, hash: this.hash }
  }

  /** What a copy that fits answers; the same object for as long as the copy is, which keeps it. */
  checkOf(copy: ActiveCopy): ActiveCheck {
    const { claims } = this
    if (!claims) return copy.active
    if (copy.shown?.token !== claims)
      copy.shown = {
        active: true,
        session: copy.active.session,
        user: copy.active.user,
        token: claims
      }
    return copy.shown
  }
}
