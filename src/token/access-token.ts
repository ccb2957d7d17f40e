import { hash, randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { StoreUnavailable } from '../errors.js'
import type { SessionRow } from '../session/session.js'
import type { AccessTokenClaims } from '../session/access-token-claims.js'
import { ALGORITHM, type TokenParties, type TokenType } from './codec.js'
import type { SigningKeys } from './signing-keys.js'

/** The result of verifying a token. */
export type VerifiedToken =
  { claims: AccessTokenClaims } | { claims: null; cause: 'token_expired' | 'credential_malformed' }

/** The session that a token is issued for. */
export interface AccessTokenSubject {
  session: Pick<
    SessionRow,
    | 'id'
    | 'userId'
    | 'clientId'
    | 'expiresAt'
    | 'absoluteExpiresAt'
    | 'authTime'
    | 'amr'
    | 'impersonatedBy'
  >
  roles: string[]
  generation: number
}

export interface AccessTokensOptions {
  keys: SigningKeys
  parties: TokenParties
  ttlSeconds: number
  /** Milliseconds since the epoch. */
  now: () => number
}

/** How much the clocks of nodes may differ, in seconds. */
export const CLOCK_TOLERANCE_SECONDS = 5

/** For how long after its expiry an access token may still end its session, in seconds: a night. */
const ENDS_AFTER_EXPIRY_SECONDS = 12 * 3_600

/** The longest token that is parsed. Ours have about 700 characters, and more with many roles. */
const LONGEST_TOKEN = 8_192

/**
 * How many tokens are remembered, and how long each may be: about 2 KiB each, and at most 80 MiB in
 * all.
 */
const REMEMBERED = 10_000
const LONGEST_REMEMBERED = 2_048

/**
 * A life is shortened at random by up to this share, so that tokens issued together are not all
 * refreshed together.
 */
const JITTER = 0.1

const malformed: VerifiedToken = { claims: null, cause: 'credential_malformed' }
const expired: VerifiedToken = { claims: null, cause: 'token_expired' }

/** Issues and verifies access tokens. It does not say whether the session in a token is active. */
export class AccessTokens {
  readonly #options: AccessTokensOptions
  /**
   * Tokens whose signature was verified, because verifying costs more than all the rest of a check.
   * Failures are not kept. Times are compared at every use. All are forgotten when a key goes. The
   * tokens themselves are not kept, but their hashes.
   */
  readonly #verified = new LRUCache<string, AccessTokenClaims>({ max: REMEMBERED })

  constructor(options: AccessTokensOptions) {
    this.#options = options
  }

  /**
   * Issues a token for a session that was just found active. It never outlives the session.
   *
   * @throws StoreUnavailable when no key may sign
   */
  async issue({
    session,
    roles,
    generation
  }: AccessTokenSubject): Promise<{ token: string; expiresInSeconds: number }> {
    const { parties, ttlSeconds, now } = this.#options
    const issuedAt = Math.floor(now() / 1000)
    const lives = ttlSeconds - Math.floor(Math.random() * JITTER * ttlSeconds)
    const expiresAt = Math.min(
      issuedAt + lives,
      toSeconds(session.expiresAt),
      toSeconds(session.absoluteExpiresAt)
    )
    const claims: AccessTokenClaims = {
      iss: parties.issuer,
      aud: parties.audience,
      sub: session.userId,
      client_id: session.clientId,
      iat: issuedAt,
      exp: expiresAt,
      jti: randomUUID(),
      sid: session.id,
      gen: generation,
      roles,
      auth_time: toSeconds(session.authTime),
      amr: session.amr,
      ...(session.impersonatedBy === null ? {} : { act: { sub: session.impersonatedBy } })
    }
    return {
      token: await this.sign('at+jwt', claims),
      expiresInSeconds: Math.max(0, expiresAt - issuedAt)
    }
  }

  /**
   * Signs claims as a token of another type, with the same key.
   *
   * @throws StoreUnavailable when no key may sign
   */
  async sign(type: TokenType, claims: object): Promise<string> {
    const { codec } = await this.#signer()
    return codec.sign(type, claims)
  }

  /**
   * Makes sure that a key may sign. Call it before a change whose answer needs a token: without one
   * the change could not be answered.
   *
   * @throws StoreUnavailable when no key may sign
   */
  async ensureSigner(): Promise<void> {
    await this.#signer()
  }

  async #signer(): ReturnType<SigningKeys['signer']> {
    try {
      return await this.#options.keys.signer()
    } catch (error) {
      throw error instanceof StoreUnavailable ? error : new StoreUnavailable(error)
    }
  }

  /**
   * The claims of a token that was verified before and is still valid. Null for any other, which
   * needs `verify`. Costs no I/O.
   */
  findVerified(token: string): AccessTokenClaims | null {
    const claims = this.#remembered(token)
    const now = this.#options.now() / 1000
    return claims !== null && !hasExpired(claims, now) && !isNotYet(claims, now) ? claims : null
  }

  /**
   * Verifies that this server issued the token and that it is valid now: signature, algorithm,
   * type, key, issuer, audience and times.
   *
   * @throws StoreUnavailable when the key is unknown here and the store does not answer
   */
  async verify(token: string): Promise<VerifiedToken> {
    const known = this.#remembered(token)
    const claims = known ?? (await this.#read(token))
    if (claims === null) return malformed
    const now = this.#options.now() / 1000
    if (claims === 'expired' || hasExpired(claims, now)) {
      if (known) this.#verified.delete(toKey(token))
      return expired
    }
    return isNotYet(claims, now) ? malformed : { claims }
  }

  /**
   * The session that a token of this server names, even if the token has expired. Null for anything
   * else.
   *
   * @throws StoreUnavailable as `verify`
   */
  async sessionIdOf(token: string): Promise<string | null> {
    const claims = this.#remembered(token) ?? (await this.#read(token))
    return claims === null || claims === 'expired' ? null : claims.sid
  }

  /**
   * As `sessionIdOf`, while the token may still end its session, so that an app that was closed
   * overnight can sign out with the token it has. A token that expired longer ago may come from a
   * log or a backup: its finder must not be able to sign the owner out.
   */
  async endableSessionOf(token: string): Promise<string | null> {
    const claims = this.#remembered(token) ?? (await this.#read(token))
    if (claims === null || claims === 'expired') return null
    return claims.exp + ENDS_AFTER_EXPIRY_SECONDS > this.#options.now() / 1000 ? claims.sid : null
  }

  /** Forgets the verified tokens, because a key has gone. */
  forget(): void {
    this.#verified.clear()
  }

  #remembered(token: string): AccessTokenClaims | null {
    return this.#verified.get(toKey(token)) ?? null
  }

  async #read(token: string): Promise<AccessTokenClaims | 'expired' | null> {
    const { keys, now } = this.#options
    const header = token.length <= LONGEST_TOKEN ? headerFrom(token) : null
    const kid =
      header?.isAccessToken && header.fields['alg'] === ALGORITHM ? header.fields['kid'] : null
    if (typeof kid !== 'string') return null
    // A key outlives its tokens. If the key has gone, the token has expired, and no read of the
    // store is needed.
    if (!keys.holds(kid) && keys.isOurs(kid) && hasExpired(payloadFrom(token), now() / 1000))
      return 'expired'
    const key = await keys.find(kid)
    const claims = key?.codec.verify(token) as AccessTokenClaims | null | undefined
    if (!claims) return null
    if (token.length <= LONGEST_REMEMBERED) this.#verified.set(toKey(token), claims)
    return claims
  }
}

/**
 * Whether a bearer credential claims, in its header, to be an access token (RFC 9068, section 4).
 * Then only it decides. Any other JWT belongs to another server.
 */
export function looksLikeAccessToken(credential: string): boolean {
  return credential.startsWith('ey') && headerFrom(credential)?.isAccessToken === true
}

/** The key under which a token is remembered: a string with one character for each byte. */
function toKey(token: string): string {
  return hash('sha256', token, 'binary')
}

function isAccessTokenType(type: unknown): boolean {
  return typeof type === 'string' && type.toLowerCase().replace(/^application\//, '') === 'at+jwt'
}

interface Header {
  fields: Record<string, unknown>
  isAccessToken: boolean
}

// Every token of one key has the same header, so the last one is remembered.
let lastHeader: { segment: string; header: Header | null } = { segment: '', header: null }

function headerFrom(token: string): Header | null {
  const end = token.indexOf('.')
  if (end === -1) return null
  if (end === lastHeader.segment.length && token.startsWith(lastHeader.segment))
    return lastHeader.header
  const segment = token.slice(0, end)
  const fields = /^[\w-]+$/.test(segment)
    ? parseObject(Buffer.from(segment, 'base64url').toString('utf8'))
    : null
  const header = fields && { fields, isAccessToken: isAccessTokenType(fields['typ']) }
  // A copy, because a slice would keep the whole token in memory.
  if (header && end <= 256) lastHeader = { segment: Buffer.from(segment).toString(), header }
  return header
}

function payloadFrom(token: string): { exp?: unknown } {
  return parseObject(Buffer.from(token.split('.', 2)[1] ?? '', 'base64url').toString('utf8')) ?? {}
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null
  } catch {
    return null
  }
}

function hasExpired({ exp }: { exp?: unknown }, now: number): boolean {
  return typeof exp === 'number' && exp + CLOCK_TOLERANCE_SECONDS <= now
}

function isNotYet(claims: AccessTokenClaims & { nbf?: unknown }, now: number): boolean {
  return typeof claims.nbf === 'number' && claims.nbf - CLOCK_TOLERANCE_SECONDS > now
}

function toSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000)
}
