import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problemOf, Refusal, refusalFor, RETRY_AFTER_SECONDS } from '../src/errors.js'
import { limits } from '../src/limits.js'
import { addressOf } from './budgets.js'

/** Answers a refusal as RFC 9457 problem details, with the headers that belong to its status. */
export function sendRefusal(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): FastifyReply {
  if (refusal.statusCode === 401) {
    reply.header('www-authenticate', refusal.code === 'credential_missing' ? 'Bearer' : `Bearer error="invalid_token", error_description="${refusal.code}"`)
  }
  if (refusal.statusCode === 403 && refusal.code === 'role_missing') reply.header('www-authenticate', 'Bearer error="insufficient_scope"')
  if (refusal.statusCode === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
  return reply
    .code(refusal.statusCode)
    .header('cache-control', 'no-store')
    .type('application/problem+json')
    .send(JSON.stringify(problemOf(refusal, request.id)))
}

/** Answers where there is no route. Whoever looks for what is not there is counted, by address. */
export async function sendNotFound(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  try {
    await request.server.budgets?.take(reply, limits.notFoundByAddress, addressOf(request))
  } catch (error) {
    if (error instanceof Refusal) return sendRefusal(request, reply, error)
    throw error
  }
  return sendRefusal(request, reply, new Refusal('not_found'))
}

/** Every error of our routes leaves through here. What a 5xx was about stays in the log. */
async function errors(app: FastifyInstance): Promise<void> {
  app.setErrorHandler<FastifyError | Refusal>((error, request, reply) => {
    if (error instanceof Refusal) {
      if (error.statusCode >= 500) request.log.error({ err: error.cause ?? error }, error.message)
      return sendRefusal(request, reply, error)
    }
    const statusCode = error.statusCode ?? 500
    if (statusCode >= 500) request.log.error({ err: error }, 'the request failed')
    if (statusCode === 400 && error.validation) return sendRefusal(request, reply, new Refusal('invalid_input', error.message))
    return sendRefusal(request, reply, refusalFor(statusCode))
  })
  // Without a prefix, unknown routes belong to the application around us.
  if (app.prefix !== '') app.setNotFoundHandler(sendNotFound)
}

export default fp(errors, { name: 'errors' })
