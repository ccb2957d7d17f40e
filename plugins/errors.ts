import type { FastifyError, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Refusal } from '../src/errors.js'
import { refusalOf, sendRefusal } from './http/refusals.js'

/** Every error of our routes leaves through here. What a 5xx was about stays in the log. */
async function errors(app: FastifyInstance): Promise<void> {
  app.setErrorHandler<FastifyError | Refusal>((error, request, reply) =>
    sendRefusal(request, reply, refusalOf(error, request))
  )
}

export default fp(errors, { name: 'errors' })
