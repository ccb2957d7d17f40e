import type { PrismaClient } from '../database/database.js'
import type { Revoked, Revoker } from '../revocation/revoker.js'
import { parseRoles } from '../roles.js'
import type { Credential, SessionRow } from '../session/session.js'
import {
  decodePercent,
  findSessionToken,
  mintSessionToken,
  type ParsedToken
} from '../session/session-token.js'
import { findSession } from '../session/store.js'
import type { Peppers } from '../secrets/keys.js'
import { AppError } from '../errors.js'
import type { Refreshed, RefreshGrant, RefreshRequest } from './refresh-grant.js'
import {
  findRefreshToken,
  getToken,
  parseRefreshToken,
  type ParsedRefreshToken
} from './refresh-token.js'
import { revocationToken, sessionOfRevocationToken } from './revocation-token.js'
import type { TokenSet } from './token-set.js'
import type { Counters } from '../counters.js'

/**
 * A session token that replaces an access token inside one call, because better-auth finds sessions
 * by session tokens only.
 */
export interface SurrogateToken {
  /**
   * Has the form of a session token, and exists only in this call. The store holds the hash of
   * another token.
   */
  token: string
  credential: Credential
}

/** A refresh family that the call has begun. */
export interface Family {
  session: SessionRow
  refreshToken: string
  /**
   * The user's roles when the session began. Roles that were read before the credential was
   * verified may be out of date.
   */
  roles: string[]
}

/** A token in the form of a JWT, with any text around it. */
const JWT = /(?<![\w.-])ey[\w-]+\.[\w-]+\.[\w-]+(?![\w.-])/

/** Makes and reads access tokens. */
export interface AccessTokenSource {
  /** Issues a token for a session and a generation of its refresh token. */
  issue(subject: {
    session: SessionRow
    roles: string[]
    generation: number
  }): Promise<{ token: string; expiresInSeconds: number }>
  /**
   * Makes sure that a token could be issued.
   *
   * @throws StoreUnavailable when no key may sign
   */
  ensureSigner(): Promise<void>
  /**
   * The session that an access token of this server names, even if it expired lately. Null for
   * anything else.
   */
  endableSessionOf(token: string): Promise<string | null>
  /** As `endableSessionOf`, however long ago it expired. */
  sessionIdOf(token: string): Promise<string | null>
}

/** Verifies the signature and form of a session token without I/O. */
export interface SessionTokenParser {
  /** @returns null for a token that this server never issued */
  parse(credential: Credential): ParsedToken | null
}

export interface TokenServiceOptions {
  prisma: PrismaClient
  grant: RefreshGrant
  accessTokens: AccessTokenSource
  sessionTokens: SessionTokenParser
  revoker: Revoker
  peppers: Peppers
  counters: Counters
}

/** The token endpoints without HTTP: issues, exchanges and revokes tokens. */
export class TokenService {
  readonly #options: TokenServiceOptions

  constructor(options: TokenServiceOptions) {
    this.#options = options
  }

  /** The first tokens of a refresh family. */
  async begin({ session, refreshToken, roles }: Family): Promise<TokenSet> {
    return this.#tokensOf(session, roles, 0, refreshToken)
  }

  /**
   * Exchanges a refresh token.
   *
   * @throws AppError, StoreUnavailable as `RefreshGrant.refresh`
   */
  async refresh(
    request: RefreshRequest
  ): Promise<{ outcome: Refreshed['outcome']; tokens: TokenSet }> {
    const { grant, accessTokens, counters } = this.#options
    try {
      await accessTokens.ensureSigner()
      const {
        outcome,
        record: { session, user },
        generation,
        refreshToken
      } = await grant.refresh(request)
      const tokens = await this.#tokensOf(session, parseRoles(user.role), generation, refreshToken)
      counters.refreshed(outcome)
      return { outcome, tokens }
    } catch (error) {
      counters.refreshed(error instanceof AppError ? error.code : 'internal')
      throw error
    }
  }

  /** Parses a refresh token, which names its session. Costs no I/O. */
  parse(refreshToken: string): ParsedRefreshToken {
    return parseRefreshToken(refreshToken, this.#options.peppers)
  }

  /**
   * Ends the session of a refresh, access or session token (RFC 7009). An access token that expired
   * lately and a used refresh token still name their session, and their holder wants it to end. A
   * token of another server ends nothing. It costs no query unless it has the form of a session
   * token without its signature: only the store can tell that from an invented one.
   *
   * @param guess runs the look-up and counts it; called for a token without a MAC or signature
   * @throws StoreUnavailable when the store does not answer
   */
  async revoke(
    sent: string,
    guess: (lookUp: () => Promise<string | null>) => Promise<string | null>
  ): Promise<Revoked | null> {
    const text = decodePercent(decodePercent(sent)).trim()
    const sessionId = (await this.#provenSessionOf(text)) ?? (await guess(() => this.#lookUp(text)))
    return sessionId === null ? null : this.#options.revoker.revoke([sessionId], null, 'signed_out')
  }

  /**
   * The surrogate token for an access token, where only session tokens are known. Null for a token
   * that is not ours. An expired token has one as well: the check decides whether the session is
   * active, and the token may still sign out. A token that expired long ago gets a surrogate that
   * names no session, because it must not end one.
   */
  async surrogateFor(accessToken: string): Promise<SurrogateToken | null> {
    const { accessTokens } = this.#options
    if ((await accessTokens.sessionIdOf(accessToken)) === null) return null
    const sessionId = await accessTokens.endableSessionOf(accessToken)
    const { token } = sessionId === null ? mintSessionToken() : mintSessionToken(sessionId)
    return { token, credential: { kind: 'access', value: accessToken } }
  }

  /**
   * The session of a token with a valid MAC or signature of this server, with any text around it.
   */
  async #provenSessionOf(text: string): Promise<string | null> {
    const { accessTokens, sessionTokens } = this.#options
    const refreshToken = findRefreshToken(text)
    if (refreshToken !== null) return getToken(this.parse(refreshToken))?.sessionId ?? null
    const kept = sessionOfRevocationToken(text, this.#options.peppers)
    if (kept !== null) return kept
    return (
      sessionTokens.parse({ kind: 'signed', value: text })?.sessionId ??
      accessTokens.endableSessionOf(JWT.exec(text)?.[0] ?? '')
    )
  }

  /**
   * The session of a token without its signature. A client that has the secret in a session token
   * may end its session.
   */
  async #lookUp(text: string): Promise<string | null> {
    const parsed = findSessionToken(text)
    if (!parsed) return null
    const record = await findSession(this.#options.prisma, parsed.sessionId)
    return record?.session.token === parsed.hash ? parsed.sessionId : null
  }

  async #tokensOf(
    session: SessionRow,
    roles: string[],
    generation: number,
    refreshToken: string
  ): Promise<TokenSet> {
    const { token, expiresInSeconds } = await this.#options.accessTokens.issue({
      session,
      roles,
      generation
    })
    return {
      access_token: token,
      token_type: 'Bearer',
      expires_in: expiresInSeconds,
      refresh_token: refreshToken,
      session_id: session.id,
      revocation_token: revocationToken(session.id, this.#options.peppers.current)
    }
  }
}
