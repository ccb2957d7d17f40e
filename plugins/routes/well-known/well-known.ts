import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { refusals } from '../../http/problem-schema.js'
import { ALGORITHM } from '../../../src/token/codec.js'
import { JWKS_MAX_AGE_SECONDS } from '../../../src/token/signing-keys.js'

const text = Type.String()
const list = Type.Array(text)

/** RFC 7517. */
const JwksSchema = Type.Object({
  keys: Type.Array(
    Type.Object({ kty: text, crv: text, x: text, y: text, kid: text, alg: text, use: text })
  )
})

/** RFC 8414, section 2. */
const MetadataSchema = Type.Object({
  issuer: text,
  jwks_uri: text,
  token_endpoint: text,
  token_endpoint_auth_methods_supported: list,
  grant_types_supported: list,
  response_types_supported: list,
  revocation_endpoint: text,
  revocation_endpoint_auth_methods_supported: list,
  introspection_endpoint: text,
  introspection_endpoint_auth_methods_supported: list,
  introspection_signing_alg_values_supported: list,
  access_token_signing_alg_values_supported: list
})

/**
 * There is no copy at `openid-configuration`, which belongs to OpenID Connect: its clients expect a
 * sign-in page and ID tokens.
 */
const METADATA = '/.well-known/oauth-authorization-server'

/**
 * Public metadata for gateways and clients: the keys, and the addresses of all endpoints. Clients
 * may cache it.
 */
const wellKnown: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (app, { holdfast }) => {
  app.get(
    '/.well-known/jwks.json',
    {
      schema: {
        summary: 'The keys that verify access tokens',
        tags: ['Tokens'],
        response: {
          200: {
            description: 'RFC 7517.',
            content: { 'application/jwk-set+json': { schema: JwksSchema } }
          },
          304: Type.Null({ description: 'The copy is current.' }),
          ...refusals(503)
        }
      }
    },
    async (request, reply) => {
      if (!holdfast.ready()) throw new AppError('store_unavailable')
      const { keys, etag, maxAgeSeconds } = holdfast.signingKeys.published()
      // Never longer than the next key is published before it signs, so a cached copy has every key
      // that can sign during that time.
      reply.header('access-control-allow-origin', '*')
      reply
        .header(
          'cache-control',
          maxAgeSeconds > 0 ? `public, max-age=${maxAgeSeconds}` : 'no-cache'
        )
        .header('etag', etag)
      if (isCurrent(request, etag)) return notModified(reply)
      reply.type('application/jwk-set+json')
      return { keys }
    }
  )
  serveMetadata(app, holdfast, METADATA)
}

/** The metadata of an issuer with a path, at the address that RFC 8414 (section 3.1) gives. */
export const insertedWellKnown: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (
  app,
  { holdfast }
) => {
  serveMetadata(app, holdfast, METADATA + holdfast.prefix)
}

function serveMetadata(
  app: Parameters<typeof wellKnown>[0],
  { parties: { issuer } }: Holdfast,
  path: string
): void {
  const metadata = {
    issuer,
    jwks_uri: `${issuer}/.well-known/jwks.json`,
    token_endpoint: `${issuer}/oauth2/token`,
    token_endpoint_auth_methods_supported: ['none'],
    grant_types_supported: ['refresh_token'],
    response_types_supported: [],
    revocation_endpoint: `${issuer}/oauth2/revoke`,
    revocation_endpoint_auth_methods_supported: ['none'],
    introspection_endpoint: `${issuer}/oauth2/introspect`,
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    introspection_signing_alg_values_supported: [ALGORITHM],
    access_token_signing_alg_values_supported: [ALGORITHM]
  }
  app.get(
    path,
    {
      schema: {
        summary: 'Where everything is (RFC 8414)',
        tags: ['Tokens'],
        response: { 200: MetadataSchema }
      }
    },
    async (_request, reply) => {
      reply
        .header('access-control-allow-origin', '*')
        .header('cache-control', `public, max-age=${JWKS_MAX_AGE_SECONDS}`)
      return metadata
    }
  )
}

// RFC 9110, section 13.1.2: a list, and each may be weak.
function isCurrent(request: FastifyRequest, etag: string): boolean {
  const known = request.headers['if-none-match']
  return (
    known !== undefined &&
    known.split(',').some((name) => name.trim().replace(/^W\//, '') === etag || name.trim() === '*')
  )
}

function notModified(reply: FastifyReply): null {
  reply.code(304)
  return null
}

export default wellKnown
