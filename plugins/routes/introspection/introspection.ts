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
import type { Check } from '../../../src/session/session.js'
import { credentialOfToken } from '../../http/credential.js'
import { sendNotFound } from '../../limits/not-found.js'
import type { FastPath } from '../../fast-path/fast-path.js'
import type { GatewaysQuestion } from '../../gateway.js'
import { oauthErrors, omitEmptyParameters, sendOAuthError } from '../../http/oauth-errors.js'
import { quiet } from '../../http/log-only-failures.js'
import { introspectionAnswer, introspectionOf, IntrospectionSchema } from './claims.js'

const SIGNED = 'application/token-introspection+jwt'

/**
 * A parameter that is sent twice is an array here, and refused (RFC 6749 3.2); unknown ones are
 * ignored, the type hint too: a token shows its type.
 */
const Body = Type.Object({
  token: Type.String({ minLength: 1, maxLength: 8192 }),
  token_type_hint: Type.Optional(Type.String()),
  client_id: Type.Optional(Type.String()),
  client_secret: Type.Optional(Type.String())
})

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
/** A body that says no more than which token. */
const PLAIN = /^token=([\w.~%=/-]{1,8192})(?:&token_type_hint=[\w.~%-]*)?$/

/**
 * What a token stands for, asked by a gateway (RFC 7662), signed where it wants to show the answer
 * to others (RFC 9701).
 */
const introspection: FastifyPluginAsyncTypebox<{
  holdfast: Holdfast
  fastPath: FastPath | null
}> = async (app, { holdfast, fastPath }) => {
  const { issuer } = holdfast.parties
  const url = '/oauth2/introspect'
  app.removeAllContentTypeParsers()
  await app.register(formbody, { bodyLimit: BODY_LIMIT })
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  app.setErrorHandler<FastifyError | AppError>(sendOAuthError)
  app.addHook('preValidation', omitEmptyParameters)
  if (fastPath) app.addHook('preParsing', fastPath.bodyAgain)

  const check = (token: string): Check | Promise<Check> => {
    const credential = credentialOfToken(token)
    return credential
      ? holdfast.reader.answer(credential)
      : { active: false, cause: 'credential_malformed' }
  }
  // Else the preflight of a trusted origin would be answered by the routes that browsers may ask.
  app.options(url, { schema: { hide: true } }, sendNotFound)
  app.post(
    url,
    {
      ...quiet(app),
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
      const checked = await check(token)
      if (!wantsSigned(request.raw)) {
        const { headers, body } = introspectionAnswer(checked, holdfast.parties)
        return reply.headers(headers).send(body)
      }
      const claims = {
        iss: issuer,
        aud: gateway,
        iat: Math.floor(Date.now() / 1000),
        token_introspection: introspectionOf(checked, holdfast.parties)
      }
      return reply
        .header('cache-control', 'no-store')
        .type(SIGNED)
        .send(await holdfast.accessTokens.sign('token-introspection+jwt', claims))
    }
  )

  const form = { route: app.prefix + url, type: FORM, limit: BODY_LIMIT }
  const answerTo = (token: string) => {
    const checked = check(token)
    return checked instanceof Promise
      ? checked.then((known) => introspectionAnswer(known, holdfast.parties))
      : introspectionAnswer(checked, holdfast.parties)
  }
  fastPath?.add<GatewaysQuestion>({
    find(request) {
      const question = app.questionOfGateway(request, form)
      return question && !wantsSigned(request) ? question : undefined
    },
    answer(_request, { gateway }, body) {
      const token = plainTokenOf(body)
      if (token === null) return null
      const isRight = app.isStillRight(gateway)
      if (isRight instanceof Promise)
        return isRight.then((right) => (right ? answerTo(token) : null))
      return isRight ? answerTo(token) : null
    }
  })
}

/** The token of a body that has no more than it; null for any other, which wants a parser. */
function plainTokenOf(body: Buffer): string | null {
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
