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
import type { TokenSet } from './token-set.js'
import type { Counters } from '../counters.js'

/**
 * What stands for an access token inside one call: better-auth knows sessions by session tokens
 * alone.
 */
export interface SurrogateToken {
  /**
   * In a session token's form, made for this call and known to nobody else; the store's hash is of
   * another.
   */
  token: string
  credential: Credential
}

/** A refresh family that the call has begun. */
export interface Family {
  session: SessionRow
  refreshToken: string
  /**
   * The user's roles when it began. What was read before the credential was verified may have
   * changed since.
   */
  roles: string[]
}

/** A token in JWT's form, whatever stands around it. */
const JWT = /(?<![\w.-])ey[\w-]+\.[\w-]+\.[\w-]+(?![\w.-])/

/** Makes and reads access tokens. */
export interface AccessTokenSource {
  /** For a session and a generation of its refresh token. */
  issue(subject: {
    session: SessionRow
    roles: string[]
    generation: number
  }): Promise<{ token: string; expiresInSeconds: number }>
  /** Makes sure that a token could be issued. @throws StoreUnavailable */
  ensureSigner(): Promise<void>
  /**
   * The session that an access token of this server names, also when it has lately expired; null
   * for anything else.
   */
  endableSessionOf(token: string): Promise<string | null>
  /** The same however long ago it has expired. */
  sessionIdOf(token: string): Promise<string | null>
}

/** Verifies signature and shape of a session token without asking anybody. */
export interface SessionTokenParser {
  /** @returns null for what this server never issued */
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

/** The token plane without HTTP: what a client is given, exchanges and gives back. */
export class TokenService {
  readonly #options: TokenServiceOptions

  constructor(options: TokenServiceOptions) {
    this.#options = options
  }

  /** The first tokens of a refresh family. */
  async begin({ session, refreshToken, roles }: Family): Promise<TokenSet> {
    return this.#tokensOf(session, roles, 0, refreshToken)
  }

  /** Exchanges a refresh token. @throws Refusal, StoreUnavailable as `RefreshGrant.refresh` */
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

  /** Reads a refresh token, and with it which session it names. Costs no I/O. */
  parse(refreshToken: string): ParsedRefreshToken {
    return parseRefreshToken(refreshToken, this.#options.peppers)
  }

  /**
   * Ends the session of a refresh, access or session token (RFC 7009). An access token that has
   * lately expired and a refresh token that was used still name their session: ending it is what
   * their holder wants. A token that is none of ours ends nothing, and costs no query unless it is
   * formed as a session token without its signature, which only the store can tell from a made-up
   * one.
   *
   * @param guess does so, and counts: called for a token that does not prove itself
   * @throws StoreUnavailable when nobody knows
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
   * What shall stand for an access token where only session tokens are known; null for a token that
   * is none of ours. An expired one has a stand-in as well: whether the session is active is asked
   * of the reader, and it may still sign out. One that expired long ago has one that names no
   * session: it may end none.
   */
  async surrogateFor(accessToken: string): Promise<SurrogateToken | null> {
    const { accessTokens } = this.#options
    if ((await accessTokens.sessionIdOf(accessToken)) === null) return null
    const sessionId = await accessTokens.endableSessionOf(accessToken)
    const { token } = sessionId === null ? mintSessionToken() : mintSessionToken(sessionId)
    return { token, credential: { kind: 'access', value: accessToken } }
  }

  /**
   * The session of a token that proves itself by a MAC or a signature of this server, whatever
   * stands around it in the text.
   */
  async #provenSessionOf(text: string): Promise<string | null> {
    const { accessTokens, sessionTokens } = this.#options
    const refreshToken = findRefreshToken(text)
    if (refreshToken !== null) return getToken(this.parse(refreshToken))?.sessionId ?? null
    return (
      sessionTokens.parse({ kind: 'signed', value: text })?.sessionId ??
      accessTokens.endableSessionOf(JWT.exec(text)?.[0] ?? '')
    )
  }

  /**
   * The session of a token without its signature: whoever has the secret in a session token may end
   * its session.
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
      session_id: session.id
    }
  }
}
