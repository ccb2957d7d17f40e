import { createSigner, createVerifier } from 'fast-jwt'

/**
 * The type in a token's header (RFC 8725, section 3.11), so that one kind of token does not pass
 * for another.
 */
export type TokenType = 'at+jwt' | 'token-introspection+jwt'

/** The algorithm of every key. A token's header cannot choose it. */
export const ALGORITHM = 'ES256'

/** One signing key, in PEM. */
export interface KeyPair {
  kid: string
  publicKey: string
  /** Null where the key only verifies. */
  privateKey: string | null
}

/** Signs and verifies JWTs with one key. */
export interface Codec {
  /** Signs claims as a token of this type. */
  sign(type: TokenType, claims: object): string
  /**
   * The claims of an access token with a valid signature, algorithm, type, issuer and audience.
   * Null for any other. Times are not checked.
   */
  verify(token: string): object | null
}

/** The issuer and audience of tokens. */
export interface TokenParties {
  issuer: string
  audience: string
}

const types: readonly TokenType[] = ['at+jwt', 'token-introspection+jwt']

/**
 * The claims that every access token must have (RFC 9068, section 2.2; `sid` and `gen` are ours).
 */
const requiredClaims = ['iss', 'aud', 'sub', 'exp', 'iat', 'jti', 'client_id', 'sid', 'gen']

/**
 * Makes the codec of one key, with fast-jwt. Not with @fastify/jwt, which uses fast-jwt: its
 * options are fixed at registration, so each key would need its own Fastify instance. fast-jwt's
 * cache stays off because it also keeps failures.
 */
export function createCodec(
  { kid, publicKey, privateKey }: KeyPair,
  { issuer, audience }: TokenParties
): Codec {
  const verify = createVerifier({
    key: publicKey,
    algorithms: [ALGORITHM],
    checkTyp: 'at+jwt',
    allowedIss: issuer,
    allowedAud: audience,
    requiredClaims,
    // The caller judges times by its own clock.
    ignoreExpiration: true,
    ignoreNotBefore: true,
    cache: false
  })
  const signers = new Map(
    privateKey === null
      ? []
      : types.map((typ) => [
          typ,
          createSigner({
            key: privateKey,
            algorithm: ALGORITHM,
            kid,
            header: { alg: ALGORITHM, typ }
          })
        ])
  )
  return {
    sign(type, claims) {
      const sign = signers.get(type)
      if (!sign) throw new Error('a key that only verifies is unable to sign')
      return sign(claims)
    },
    verify(token) {
      try {
        return verify(token) as object
      } catch {
        // Any error means that the token is not valid.
        return null
      }
    }
  }
}
