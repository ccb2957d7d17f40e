import { Type, TypeBoxValidatorCompiler, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Holdfast } from '../../src/holdfast.js'
import type { AgedCheck } from '../../src/session/reader.js'
import type { TokenParties } from '../../src/token/codec.js'
import { credentialOfToken } from '../credential.js'
import { sendNotFound } from '../errors.js'
import { quiet } from '../quiet.js'
import { refusals } from '../problem-schema.js'
import { IntrospectionSchema, introspectionBeginning } from './introspection-claims.js'

/** Room for a thousand access tokens. */
const BODY_LIMIT = 2 * 1024 * 1024

const Body = Type.Object({ tokens: Type.Array(Type.String({ maxLength: 8192 }), { maxItems: 1000 }) }, { additionalProperties: false })
const Query = Type.Object({
  /** `strict` reads the store for every token. */
  consistency: Type.Optional(Type.Union([Type.Literal('strict'), Type.Literal('bounded')])),
  /** How old the knowledge behind an answer may be; without it, as old as copies get. */
  max_age_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000 }))
}, { additionalProperties: false })

const Answer = Type.Object({
  consistency: Type.String(),
  /** When the question arrived: nothing that was revoked before is active here. */
  checked_at: Type.String({ format: 'date-time' }),
  results: Type.Array(Type.Object({
    ...IntrospectionSchema.properties,
    cause: Type.Optional(Type.String()),
    /** How long before `checked_at` the store was read for this one, at most. */
    age_ms: Type.Integer()
  }))
})

/** Many tokens in one question, asked by a gateway. */
const sessionCheck: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (app, { holdfast }) => {
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  const schema = {
    summary: 'What many tokens stand for', tags: ['Gateways'], security: [{ gateway: [] }],
    body: Body, querystring: Query, response: { 200: { description: 'In the order of the tokens.', content: { 'application/json': { schema: Type.Unsafe<string>(Answer) } } }, ...refusals(400, 401, 413, 415, 429, 503) }
  }
  app.options('/sessions/check', { schema: { hide: true } }, sendNotFound) // no page asks this: no preflight of one is let through
  app.post('/sessions/check', { ...quiet(app), bodyLimit: BODY_LIMIT, onRequest: app.requireGateway, schema }, async (request, reply) => {
    const { consistency = 'bounded', max_age_ms: maxAgeMs = Infinity } = request.query
    const checkedAt = new Date().toISOString()
    const answers = await holdfast.reader.checkAll(request.body.tokens.map(credentialOfToken), { maxAgeMs: consistency === 'strict' ? 0 : maxAgeMs })
    const results = answers.map((answer) => textOf(answer, holdfast.parties)).join(',')
    // Written by hand, of parts that are remembered: to build objects and write them took most of the time.
    return reply.header('cache-control', 'no-store').type('application/json; charset=utf-8').send(`{"consistency":"${consistency}","checked_at":"${checkedAt}","results":[${results}]}`)
  })
}

function textOf({ check, ageMs }: AgedCheck, parties: TokenParties): string {
  return `${introspectionBeginning(check, parties)}${check.active ? '' : `,"cause":"${check.cause}"`},"age_ms":${Math.ceil(ageMs)}}`
}

export default sessionCheck
