import formBody from '@fastify/formbody'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyRequest } from 'fastify'
import { AppError, RETRY_AFTER_SECONDS } from '../../../src/errors.js'
import { limits } from '../../../src/limits.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { noteFacts } from '../../http/answer-facts.js'
import { clientNetwork } from '../../limits/budgets.js'
import { oauthErrors, omitEmptyParameters, sendOAuthError } from '../../http/oauth-errors.js'
import { clientAddress } from '../../http/client-address.js'

/** No token is longer. */
const Token = Type.String({ minLength: 1, maxLength: 8192 })

const RefreshBody = Type.Object({
  grant_type: Type.String(),
  refresh_token: Type.Optional(Token),
  client_id: Type.Optional(Type.String({ minLength: 1, maxLength: 256 }))
})

const TokenAnswer = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer(),
  refresh_token: Type.String(),
  session_id: Type.String(),
  revocation_token: Type.String({
    description:
      'Ends the session at /oauth2/revoke, and is good for nothing else: keep it until a sign-out is answered.'
  })
})

const RevocationBody = Type.Object({
  token: Token,
  token_type_hint: Type.Optional(Type.String()),
  client_id: Type.Optional(Type.String())
})

const consumes = ['application/x-www-form-urlencoded', 'application/json']
const described = (summary: string, description: string) => ({
  summary,
  description,
  tags: ['Tokens'],
  consumes
})
const done: object = { description: 'Done.', type: 'null' }
const refused = oauthErrors(400, 413, 415, 429, 503)

/** Chosen by the client for one refresh and its retries. */
const Headers = Type.Object({ 'idempotency-key': Type.Optional(Type.String()) })

// Printable ASCII: what a header can carry unchanged everywhere.
const IDEMPOTENCY_KEY = /^[\x20-\x7e]{8,128}$/

/** The token endpoints: exchange and revocation of refresh tokens. Cookies do not count here. */
const token: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (app, { holdfast }) => {
  app.removeContentTypeParser('text/plain')
  await app.register(formBody)
  app.setErrorHandler<FastifyError | AppError>(sendOAuthError)
  app.addHook('onRequest', async () => {
    if (!holdfast.ready()) throw new AppError('store_unavailable')
  })
  app.addHook('preValidation', omitEmptyParameters)
  app.addHook('onSend', async (_request, reply) => {
    reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
  })

  app.post(
    '/oauth2/token',
    {
      schema: {
        ...described(
          'Exchanges a refresh token',
          'Once; a retry is given the same successor. See docs/tokens.md.'
        ),
        headers: Headers,
        body: RefreshBody,
        response: { 200: TokenAnswer, ...refused }
      }
    },
    async (request, reply) => {
      const {
        grant_type: grantType,
        refresh_token: sent,
        client_id: clientId = null
      } = request.body
      if (grantType !== 'refresh_token') throw new AppError('grant_type_unsupported')
      if (sent === undefined) throw new AppError('invalid_input', 'refresh_token is missing')
      const idempotencyKey = idempotencyKeyFrom(request)
      const shown = holdfast.tokens.parse(sent)
      if (typeof shown !== 'string') noteFacts(request, { sessionId: shown.sessionId })
      if (typeof shown !== 'string')
        await app.budgets?.take(reply, limits.refreshBySession, shown.sessionId)
      const { tokens } = await holdfast.tokens.refresh({
        shown,
        clientId,
        idempotencyKey,
        ipAddress: clientAddress(request) || null
      })
      return tokens
    }
  )

  app.post(
    '/oauth2/revoke',
    {
      schema: {
        ...described(
          'Ends the session of a refresh, access, session or revocation token',
          'RFC 7009: 200 also for a token that is none; an access token may have expired up to twelve hours ago. Who sends many that are none is told 429. 200 means that no check says "active" any more; 503 that this could not be confirmed yet.'
        ),
        body: RevocationBody,
        response: { 200: done, ...refused }
      }
    },
    async (request, reply) => {
      const revoked = await holdfast.tokens.revoke(request.body.token, async (lookUp) => {
        const taking = await app.budgets?.take(
          reply,
          limits.revocationByAddress,
          clientNetwork(request)
        )
        const sessionId = await lookUp()
        if (taking && sessionId !== null) await app.budgets?.giveBack(taking)
        return sessionId
      })
      // RFC 7009 2.2.1: the client must assume that the token still exists, and try again. The row
      // is revoked all the same.
      if (revoked?.effectiveBy) {
        reply
          .header(
            'session-revocation',
            `pending; effective-by="${revoked.effectiveBy.toISOString()}"`
          )
          .header('retry-after', RETRY_AFTER_SECONDS)
        throw new AppError('revocation_pending')
      }
      return reply.code(200).send()
    }
  )
}

function idempotencyKeyFrom({ headers }: FastifyRequest): string | null {
  const key = headers['idempotency-key']
  if (key === undefined) return null
  if (typeof key !== 'string' || !IDEMPOTENCY_KEY.test(key))
    throw new AppError('invalid_input', 'Idempotency-Key must be 8 to 128 printable characters')
  return key
}

export default token
