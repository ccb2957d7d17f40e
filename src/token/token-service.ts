import type { Family, StandIn } from '../auth/scope.js'
import type { PrismaClient } from '../database/database.js'
import type { SessionReader } from '../session/reader.js'
import type { Revoked, Revoker } from '../session/revoker.js'
import { rolesOf, type SessionRow } from '../session/session.js'
import { decodePercent, findSessionToken, mintSessionToken } from '../session/session-token.js'
import { findSession } from '../session/store.js'
import type { Peppers } from '../auth/keys.js'
import { Refusal } from '../errors.js'
import type { Refreshed, RefreshGrant, RefreshRequest } from './refresh-grant.js'
import { getToken, looksLikeRefreshToken, parseRefreshToken, type ParsedRefreshToken } from './refresh-token.js'
import type { TokenSet } from './token-set.js'
import type { Tally } from '../tally.js'

/** Makes and reads access tokens. */
export interface AccessTokenSource {
  /** For a session and a generation of its refresh token. */
  issue(subject: { session: SessionRow, roles: string[], generation: number }): Promise<{ token: string, expiresInSeconds: number }>
  /** Makes sure that a token could be issued. @throws StoreUnavailable */
  ensureSigner(): Promise<void>
  /** The session that an access token of this server names, also when it has expired; null for anything else. */
  sessionIdOf(token: string): Promise<string | null>
}

export interface TokenServiceOptions {
  prisma: PrismaClient
  grant: RefreshGrant
  accessTokens: AccessTokenSource
  reader: SessionReader
  revoker: Revoker
  peppers: Peppers
  tally: Tally
}

/** The token plane without HTTP: what a client is given, exchanges and gives back. */
export class TokenService {
  readonly #options: TokenServiceOptions

  constructor(options: TokenServiceOptions) {
    this.#options = options
  }

  /** The first tokens of a refresh family. */
  async begin({ session, refreshToken, roles }: Family & { roles: string[] }): Promise<TokenSet> {
    return this.#tokensOf(session, roles, 0, refreshToken)
  }

  /** Exchanges a refresh token. @throws Refusal, StoreUnavailable as `RefreshGrant.refresh` */
  async refresh(request: RefreshRequest): Promise<{ outcome: Refreshed['outcome'], tokens: TokenSet }> {
    const { grant, accessTokens, tally } = this.#options
    try {
      await accessTokens.ensureSigner()
      const { outcome, record: { session, user }, generation, refreshToken } = await grant.refresh(request)
      const tokens = await this.#tokensOf(session, rolesOf(user.role), generation, refreshToken)
      tally.refreshed(outcome)
      return { outcome, tokens }
    } catch (error) {
      tally.refreshed(error instanceof Refusal ? error.code : 'internal')
      throw error
    }
  }

  /** Reads a refresh token, and with it which session it names. Costs no I/O. */
  parse(refreshToken: string): ParsedRefreshToken {
    return parseRefreshToken(refreshToken, this.#options.peppers)
  }

  /**
   * Ends the session of a refresh, access or session token (RFC 7009). An expired access token and a refresh token that was used still name
   * their session: ending it is what their holder wants. A token that is none of ours ends nothing.
   *
   * @throws StoreUnavailable when nobody knows
   */
  async revoke(token: string): Promise<Revoked | null> {
    const sessionId = await this.#sessionIdOf(token)
    return sessionId === null ? null : this.#options.revoker.revoke([sessionId], null, 'signed_out')
  }

  /**
   * What shall stand for an access token where only session tokens are known; null for a token that is none of ours. An expired one has a
   * stand-in as well: whether the session is active is asked of the reader, and it may still sign out.
   */
  async standInFor(accessToken: string): Promise<StandIn | null> {
    const sessionId = await this.#options.accessTokens.sessionIdOf(accessToken)
    return sessionId === null ? null : { token: mintSessionToken(sessionId).token, credential: { kind: 'access', value: accessToken } }
  }

  async #sessionIdOf(sent: string): Promise<string | null> {
    const token = decodePercent(sent).trim()
    const { prisma, accessTokens } = this.#options
    if (looksLikeRefreshToken(token)) return getToken(this.parse(token))?.sessionId ?? null
    // With its signature or without: whoever has the secret in a session token may end its session.
    const parsed = findSessionToken(token)
    if (!parsed) return accessTokens.sessionIdOf(token)
    const record = await findSession(prisma, parsed.sessionId)
    return record?.session.token === parsed.hash ? parsed.sessionId : null
  }

  async #tokensOf(session: SessionRow, roles: string[], generation: number, refreshToken: string): Promise<TokenSet> {
    const { token, expiresInSeconds } = await this.#options.accessTokens.issue({ session, roles, generation })
    return { access_token: token, token_type: 'Bearer', expires_in: expiresInSeconds, refresh_token: refreshToken, session_id: session.id }
  }
}
