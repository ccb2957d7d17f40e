import type { FastifyError, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { AppError } from '../src/errors.js'
import { toAppError, sendError } from './http/send-error.js'

/** Answers every error of our routes. The reason for a 5xx stays in the log. */
async function errors(app: FastifyInstance): Promise<void> {
  app.setErrorHandler<FastifyError | AppError>((error, request, reply) =>
    sendError(request, reply, toAppError(error, request))
  )
}

export default fp(errors, { name: 'errors' })
