/** What a token is, in its header (RFC 8725, section 3.11): one kind must not pass for another. */
export type TokenType = 'at+jwt' | 'token-introspection+jwt'

/** The algorithm of every key. Tokens never choose it: each key has its own. */
export const ALGORITHM = 'ES256'

/** One signing key, in PEM. */
export interface KeyPair {
  kid: string
  publicKey: string
  /** Absent where the key only verifies. */
  privateKey: string | null
}

/** Signs and verifies JWTs with one key. */
export interface Codec {
  /** Signs claims as a token of this type. */
  sign(type: TokenType, claims: object): string
  /**
   * The claims of an access token whose signature, algorithm, type, issuer and audience are right;
   * null for any other. Times are not looked at.
   */
  verify(token: string): object | null
}

/** Whom tokens are from and for. */
export interface TokenParties {
  issuer: string
  audience: string
}

/** Makes a codec; whoever speaks HTTP brings it, for it is Fastify's. */
export type OpenCodec = (key: KeyPair, parties: TokenParties) => Promise<Codec>

/** For a process that neither signs nor verifies, such as the command line. */
export const noCodec: OpenCodec = async () => ({ sign: refuse, verify: refuse })

function refuse(): never {
  throw new Error('tokens are signed and verified by a server')
}
