import fastifyJwt, { type FastifyJWTOptions, type JWT } from '@fastify/jwt'
import Fastify from 'fastify'
import {
  ALGORITHM,
  type Codec,
  type KeyPair,
  type TokenParties,
  type TokenType
} from '../src/token/codec.js'

const types: readonly TokenType[] = ['at+jwt', 'token-introspection+jwt']

/**
 * An access token without one of these is not one (RFC 9068, section 2.2; `sid` and `gen` are
 * ours).
 */
const requiredClaims = ['iss', 'aud', 'sub', 'exp', 'iat', 'jti', 'client_id', 'sid', 'gen']

/**
 * A codec for one key, by @fastify/jwt. That plugin is fast where its key is fixed when it is
 * registered, and plugins cannot be registered on a running server: so each key gets a Fastify of
 * its own, which never listens. It cannot collide with a registration of an application around us
 * either. @fastify/jwt's own cache is off: it keeps failures as well, for as long as the clocks may
 * differ.
 */
export async function openCodec(
  { kid, publicKey, privateKey }: KeyPair,
  { issuer, audience }: TokenParties
): Promise<Codec> {
  const app = Fastify()
  for (const type of types) {
    const options: FastifyJWTOptions = {
      namespace: type,
      secret:
        privateKey === null ? { public: publicKey } : { public: publicKey, private: privateKey },
      sign: { algorithm: ALGORITHM, kid, header: { alg: ALGORITHM, typ: type } },
      verify: {
        algorithms: [ALGORITHM],
        checkTyp: type,
        allowedIss: issuer,
        allowedAud: audience,
        requiredClaims,
        // Times are judged where the clock is passed in.
        ignoreExpiration: true,
        ignoreNotBefore: true,
        cache: false,
        errorCacheTTL: -1
      }
    }
    await app.register(fastifyJwt, options)
  }
  await app.ready()
  const byType = app.jwt as unknown as Record<TokenType, JWT>
  return {
    sign: (type, claims) => byType[type].sign(claims),
    verify(token) {
      try {
        return byType['at+jwt'].verify<object>(token)
      } catch {
        // Whatever it is about, the token is none of ours.
        return null
      }
    }
  }
}
