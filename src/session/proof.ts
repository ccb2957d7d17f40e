import type { ActiveCopy } from '../cache/session-cache.js'
import type { LocalEntry } from '../cache/local-cache.js'
import type { Matches } from '../cache/found.js'
import type { AccessTokenClaims } from '../token/access-token.js'
import type { ActiveCheck } from './session.js'
import type { ParsedToken } from './session-token.js'

/**
 * What a credential says of itself: the session that it names, and which rows it fits. Whether that session is active is another question.
 * Proofs are remembered, and each keeps what it was last answered from.
 */
export class Proof {
  readonly sessionId: string
  readonly matches: Matches
  /** What a session token says. */
  readonly token: ParsedToken | null
  /** What an access token says. */
  readonly claims: AccessTokenClaims | null
  /** The copy that last answered; it says itself whether it still may. */
  copy: LocalEntry | null = null

  private constructor({ sessionId, matches, token, claims }: Pick<Proof, 'sessionId' | 'matches' | 'token' | 'claims'>) {
    this.sessionId = sessionId
    this.matches = matches
    this.token = token
    this.claims = claims
  }

  static ofToken(token: ParsedToken): Proof {
    const { sessionId, hash } = token
    return new Proof({ sessionId, matches: (session) => session.token === hash, token, claims: null })
  }

  /** An access token proves itself; the session that it names must be active all the same, and the same person's. */
  static ofClaims(claims: AccessTokenClaims): Proof {
    return new Proof({ sessionId: claims.sid, matches: ({ userId }) => userId === claims.sub, token: null, claims })
  }

  /** What a copy that fits answers; the same object for as long as the copy is, which keeps it. */
  checkOf(copy: ActiveCopy): ActiveCheck {
    const { claims } = this
    if (!claims) return copy.active
    if (copy.shown?.token !== claims) copy.shown = { active: true, session: copy.active.session, user: copy.active.user, token: claims }
    return copy.shown
  }
}
