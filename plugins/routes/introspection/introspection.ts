import type { IncomingMessage } from 'node:http'
import formbody from '@fastify/formbody'
import {
  Type,
  TypeBoxValidatorCompiler,
  type FastifyPluginAsyncTypebox
} from '@fastify/type-provider-typebox'
import type { FastifyError } from 'fastify'
import type { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import type { Check, Credential, InactiveCheck } from '../../../src/session/session.js'
import { parseBearerToken } from '../../http/credential.js'
import { sendNotFound } from '../../limits/not-found.js'
import type { CheckRoute, FastPath, FastResponse } from '../../fast-path/fast-path.js'
import type { GatewayRequest } from '../../gateway.js'
import { oauthErrors, omitEmptyParameters, sendOAuthError } from '../../http/oauth-errors.js'
import { logOnlyFailures } from '../../http/log-only-failures.js'
import {
  introspectionResponse,
  IntrospectionSchema,
  rememberedIntrospectionResponse,
  toIntrospection
} from './claims.js'

const SIGNED = 'application/token-introspection+jwt'

/**
 * A parameter that is sent twice is an array here, and refused (RFC 6749 3.2). Unknown ones are
 * ignored. So is the type hint, because a token shows its type.
 */
const Body = Type.Object({
  token: Type.String({ minLength: 1, maxLength: 8192 }),
  token_type_hint: Type.Optional(Type.String()),
  client_id: Type.Optional(Type.String()),
  client_secret: Type.Optional(Type.String())
})

const malformed: InactiveCheck = { active: false, cause: 'credential_malformed' }

const described = {
  summary: 'What a token stands for (RFC 7662)',
  tags: ['Gateways'],
  security: [{ gateway: [] }],
  consumes: ['application/x-www-form-urlencoded']
}
const Answer = {
  description: 'Signed where `Accept` asks for it (RFC 9701).',
  content: {
    'application/json': { schema: IntrospectionSchema },
    [SIGNED]: { schema: Type.String() }
  }
}

const BODY_LIMIT = 16 * 1024
const FORM = /^application\/x-www-form-urlencoded(?:; ?charset=utf-8)?$/i
/** A body with nothing but the token and its type hint. */
const PLAIN = /^token=([\w.~%=/-]{1,8192})(?:&token_type_hint=[\w.~%-]*)?$/

/**
 * Token introspection for gateways (RFC 7662), signed for a gateway that wants to show the answer
 * to others (RFC 9701).
 */
const introspection: FastifyPluginAsyncTypebox<{
  holdfast: Holdfast
  fastPath: FastPath | null
}> = async (app, { holdfast, fastPath }) => {
  const url = '/oauth2/introspect'
  app.removeAllContentTypeParsers()
  await app.register(formbody, { bodyLimit: BODY_LIMIT })
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  app.setErrorHandler<FastifyError | AppError>(sendOAuthError)
  app.addHook('preValidation', omitEmptyParameters)
  if (fastPath) app.addHook('preParsing', fastPath.bodyAgain)

  const { reader, parties } = holdfast
  const head = { route: app.prefix + url, type: FORM, limit: BODY_LIMIT }
  const check = async (parsed: Credential | InactiveCheck): Promise<Check> =>
    'active' in parsed ? parsed : reader.check(parsed)
  const answer = async (parsed: Credential | InactiveCheck): Promise<FastResponse> =>
    introspectionResponse(await check(parsed), parties)
  const route: CheckRoute<GatewayRequest, Credential | InactiveCheck> = {
    match: (request) => (wantsSigned(request) ? undefined : app.matchGateway(request, head)),
    parse(_request, { gateway }, body) {
      const token = app.isStillRight(gateway) ? parsePlainBody(body) : null
      return token === null ? null : parseToken(token)
    },
    checkCached(parsed) {
      const check = 'active' in parsed ? parsed : reader.checkCached(parsed)
      return check && rememberedIntrospectionResponse(check, parties)
    },
    check: answer
  }
  // Otherwise the CORS routes would answer the preflight of a trusted origin.
  app.options(url, { schema: { hide: true } }, sendNotFound)
  app.post(
    url,
    {
      ...logOnlyFailures(app),
      schema: {
        ...described,
        body: Body,
        response: { 200: Answer, ...oauthErrors(400, 401, 413, 415, 429, 503) }
      }
    },
    async (request, reply) => {
      const reason = fastPath?.handedOn(request.raw)?.reason
      if (reason !== undefined) throw reason
      const { token, client_id: id, client_secret: secret } = request.body
      const gateway = await app.authenticateGateway(request, reply, {
        ...(id === undefined ? {} : { id }),
        ...(secret === undefined ? {} : { secret })
      })
      if (!wantsSigned(request.raw)) {
        const { headers, body } = await answer(parseToken(token))
        return reply.headers(headers).send(body)
      }
      const claims = {
        iss: parties.issuer,
        aud: gateway,
        iat: Math.floor(Date.now() / 1000),
        token_introspection: toIntrospection(await check(parseToken(token)), parties)
      }
      return reply
        .header('cache-control', 'no-store')
        .type(SIGNED)
        .send(await holdfast.accessTokens.sign('token-introspection+jwt', claims))
    }
  )

  fastPath?.add(route)
}

/** The credential of a token. For a token that has none of our forms, the check itself. */
function parseToken(token: string): Credential | InactiveCheck {
  return parseBearerToken(token) ?? malformed
}

/** The token of a plain body. Null for any other, which needs a parser. */
function parsePlainBody(body: Buffer): string | null {
  const token = PLAIN.exec(body.toString('latin1'))?.[1]
  if (!token?.includes('%')) return token ?? null
  try {
    return decodeURIComponent(token)
  } catch {
    return null
  }
}

function wantsSigned({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers.accept?.toLowerCase().includes(SIGNED) === true
}

export default introspection
