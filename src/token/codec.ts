import { createSigner, createVerifier } from 'fast-jwt'

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

const types: readonly TokenType[] = ['at+jwt', 'token-introspection+jwt']

/**
 * An access token without one of these is not one (RFC 9068, section 2.2; `sid` and `gen` are
 * ours).
 */
const requiredClaims = ['iss', 'aud', 'sub', 'exp', 'iat', 'jti', 'client_id', 'sid', 'gen']

/**
 * Makes the codec of one key, by fast-jwt. That is what @fastify/jwt is made of: its own options are
 * fixed when it is registered, so each key would need a Fastify. fast-jwt's cache stays off: it
 * keeps failures as well.
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
    // Times are judged where the clock is passed in.
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
        // Whatever it is about, the token is none of ours.
        return null
      }
    }
  }
}
