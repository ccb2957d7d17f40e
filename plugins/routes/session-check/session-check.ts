import {
  Type,
  TypeBoxValidatorCompiler,
  type FastifyPluginAsyncTypebox
} from '@fastify/type-provider-typebox'
import { Compile } from 'typebox/compile'
import type { Holdfast } from '../../../src/holdfast.js'
import type { AgedCheck } from '../../../src/check/session-checker.js'
import type { TokenParties } from '../../../src/token/codec.js'
import { parseBearerToken } from '../../http/credential.js'
import { sendNotFound } from '../../limits/not-found.js'
import {
  jsonResponse,
  type CheckRoute,
  type FastPath,
  type FastResponse
} from '../../fast-path/fast-path.js'
import type { GatewayRequest } from '../../gateway.js'
import { logOnlyFailures } from '../../http/log-only-failures.js'
import { refusals } from '../../http/problem-schema.js'
import { IntrospectionSchema, introspectionBeginning } from '../introspection/claims.js'

/** Room for a thousand access tokens. */
const BODY_LIMIT = 2 * 1024 * 1024
/** Room for about a hundred session tokens. The route reads longer bodies in pieces. */
const FAST_BODY_LIMIT = 64 * 1024
const JSON_TYPE = /^application\/json(?:; ?charset=utf-8)?$/i

const Body = Type.Object(
  { tokens: Type.Array(Type.String({ maxLength: 8192 }), { maxItems: 1000 }) },
  { additionalProperties: false }
)
const isBody = Compile(Body)
const Query = Type.Object(
  {
    /** `strict` reads the store for every token. */
    consistency: Type.Optional(Type.Union([Type.Literal('strict'), Type.Literal('bounded')])),
    /** The maximum age of a copy that answers. Without it, copies of any age answer. */
    max_age_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000 }))
  },
  { additionalProperties: false }
)

const Answer = Type.Object({
  consistency: Type.String(),
  /** When the request arrived. A session that was revoked before is not active here. */
  checked_at: Type.String({ format: 'date-time' }),
  results: Type.Array(
    Type.Object({
      ...IntrospectionSchema.properties,
      cause: Type.Optional(Type.String()),
      /** How long before `checked_at` the store was read for this one, at most. */
      age_ms: Type.Integer()
    })
  )
})

/** The tokens to check, and the maximum age of a copy that answers. */
interface ManyTokens {
  tokens: readonly string[]
  consistency: 'strict' | 'bounded'
  maxAgeMs: number
}

/** Checks many tokens for a gateway in one request. */
const sessionCheck: FastifyPluginAsyncTypebox<{
  holdfast: Holdfast
  fastPath: FastPath | null
}> = async (app, { holdfast, fastPath }) => {
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  if (fastPath) app.addHook('preParsing', fastPath.bodyAgain)
  const url = '/sessions/check'
  const schema = {
    summary: 'What many tokens stand for',
    tags: ['Gateways'],
    security: [{ gateway: [] }],
    body: Body,
    querystring: Query,
    response: {
      200: {
        description: 'In the order of the tokens.',
        content: { 'application/json': { schema: Type.Unsafe<string>(Answer) } }
      },
      ...refusals(400, 401, 413, 415, 429, 503)
    }
  }
  // Not for pages, so no preflight passes.
  app.options(url, { schema: { hide: true } }, sendNotFound)
  const head = { route: app.prefix + url, type: JSON_TYPE, limit: FAST_BODY_LIMIT }
  const answer = async ({ tokens, consistency, maxAgeMs }: ManyTokens): Promise<FastResponse> => {
    const checkedAt = new Date().toISOString()
    const checks = await holdfast.reader.checkAll(tokens.map(parseBearerToken), { maxAgeMs })
    const results = checks.map((check) => toJson(check, holdfast.parties)).join(',')
    // Written by hand from remembered parts: building objects and serializing them took most of the
    // time.
    return jsonResponse(
      `{"consistency":"${consistency}","checked_at":"${checkedAt}","results":[${results}]}`
    )
  }
  const route: CheckRoute<GatewayRequest, ManyTokens> = {
    match: (request) => app.matchGateway(request, head),
    parse: (_request, { gateway }, body) => (app.isStillRight(gateway) ? parseTokens(body) : null),
    // Among many tokens one is usually not in this process, so they are checked together.
    checkCached: () => null,
    check: answer
  }
  app.post(
    url,
    { ...logOnlyFailures(app), bodyLimit: BODY_LIMIT, onRequest: app.requireGateway, schema },
    async (request, reply) => {
      const reason = fastPath?.handedOn(request.raw)?.reason
      if (reason !== undefined) throw reason
      const { consistency = 'bounded', max_age_ms: maxAgeMs = Infinity } = request.query
      const { headers, body } = await answer({
        tokens: request.body.tokens,
        consistency,
        maxAgeMs: consistency === 'strict' ? 0 : maxAgeMs
      })
      return reply.headers(headers).send(body)
    }
  )

  fastPath?.add(route)
}

/** The tokens of a valid body. Null for any other, which the route refuses. */
function parseTokens(body: Buffer): ManyTokens | null {
  try {
    const sent: unknown = JSON.parse(body.toString())
    return isBody.Check(sent)
      ? { tokens: sent.tokens, consistency: 'bounded', maxAgeMs: Infinity }
      : null
  } catch {
    return null
  }
}

function toJson({ check, ageMs }: AgedCheck, parties: TokenParties): string {
  return `${introspectionBeginning(check, parties)}${check.active ? '' : `,"cause":"${check.cause}"`},"age_ms":${Math.ceil(ageMs)}}`
}

export default sessionCheck
