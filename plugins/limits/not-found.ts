import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../src/errors.js'
import { limits } from '../../src/limits.js'
import { sendError } from '../http/send-error.js'
import { clientNetwork } from './budgets.js'

/**
 * Answers 404 where there is no route. Such requests are counted by address, to slow down scanners.
 */
export async function sendNotFound(
  request: FastifyRequest,
  reply: FastifyReply
): Promise<FastifyReply> {
  try {
    await request.server.budgets?.take(reply, limits.notFoundByAddress, clientNetwork(request))
  } catch (error) {
    if (error instanceof AppError) return sendError(request, reply, error)
    throw error
  }
  return sendError(request, reply, new AppError('not_found'))
}
