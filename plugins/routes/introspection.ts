import formbody from '@fastify/formbody'
import { Type, TypeBoxValidatorCompiler, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyRequest } from 'fastify'
import type { Refusal } from '../../src/errors.js'
import type { Holdfast } from '../../src/holdfast.js'
import type { Check } from '../../src/session/session.js'
import { credentialOfToken } from '../credential.js'
import { sendNotFound } from '../errors.js'
import { oauthErrors, sendOAuthError } from '../oauth-errors.js'
import { quiet } from '../quiet.js'
import { introspectionOf, IntrospectionSchema, introspectionText } from './introspection-claims.js'

const SIGNED = 'application/token-introspection+jwt'

/** A parameter that is sent twice is an array here, and refused (RFC 6749 3.2); unknown ones are ignored, the type hint too: a token shows its type. */
const Body = Type.Object({
  token: Type.String({ minLength: 1, maxLength: 8192 }),
  token_type_hint: Type.Optional(Type.String()),
  client_id: Type.Optional(Type.String()),
  client_secret: Type.Optional(Type.String())
})

const described = { summary: 'What a token stands for (RFC 7662)', tags: ['Gateways'], security: [{ gateway: [] }], consumes: ['application/x-www-form-urlencoded'] }
const Answer = { description: 'Signed where `Accept` asks for it (RFC 9701).', content: { 'application/json': { schema: IntrospectionSchema }, [SIGNED]: { schema: Type.String() } } }

/** What a token stands for, asked by a gateway (RFC 7662), signed where it wants to show the answer to others (RFC 9701). */
const introspection: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (app, { holdfast }) => {
  const { issuer } = holdfast.parties
  app.removeAllContentTypeParsers()
  await app.register(formbody, { bodyLimit: 16 * 1024 })
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  app.setErrorHandler<FastifyError | Refusal>(sendOAuthError)

  // Else the preflight of a trusted origin would be answered by the routes that browsers may ask.
  app.options('/oauth2/introspect', { schema: { hide: true } }, sendNotFound)
  app.post('/oauth2/introspect', { ...quiet(app), schema: { ...described, body: Body, response: { 200: Answer, ...oauthErrors(400, 401, 413, 415, 429, 503) } } }, async (request, reply) => {
    const { token, client_id: id, client_secret: secret } = request.body
    const gateway = await app.authenticateGateway(request, reply, { ...(id === undefined ? {} : { id }), ...(secret === undefined ? {} : { secret }) })
    const credential = credentialOfToken(token)
    const check: Check = credential ? await holdfast.reader.answer(credential) : { active: false, cause: 'credential_malformed' }
    reply.header('cache-control', 'no-store')
    if (!wantsSigned(request)) return reply.type('application/json; charset=utf-8').send(introspectionText(check, holdfast.parties))
    const claims = { iss: issuer, aud: gateway, iat: Math.floor(Date.now() / 1000), token_introspection: introspectionOf(check, holdfast.parties) }
    return reply.type(SIGNED).send(await holdfast.accessTokens.sign('token-introspection+jwt', claims))
  })
}

function wantsSigned({ headers }: FastifyRequest): boolean {
  return headers.accept?.toLowerCase().includes(SIGNED) === true
}

export default introspection
