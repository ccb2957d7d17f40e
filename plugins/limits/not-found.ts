import type { FastifyReply, FastifyRequest } from 'fastify'
import { Refusal } from '../../src/errors.js'
import { limits } from '../../src/limits.js'
import { sendRefusal } from '../http/refusals.js'
import { clientNetwork } from './budgets.js'

/** Answers where there is no route. Whoever looks for what is not there is counted, by address. */
export async function sendNotFound(
  request: FastifyRequest,
  reply: FastifyReply
): Promise<FastifyReply> {
  try {
    await request.server.budgets?.take(reply, limits.notFoundByAddress, clientNetwork(request))
  } catch (error) {
    if (error instanceof Refusal) return sendRefusal(request, reply, error)
    throw error
  }
  return sendRefusal(request, reply, new Refusal('not_found'))
}
