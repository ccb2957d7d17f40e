import type { IncomingMessage, Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AppError } from '../../src/errors.js'

/**
 * As many headers as Node takes by default before it drops the rest: the client's address may be
 * among those, and a second credential.
 */
export const MOST_HEADERS = 1_000

/** Of these Node keeps the first and says nothing, where another party may read the last. */
const HOST = 'host'
const TYPE = 'content-type'

/**
 * Why the headers of a request cannot be trusted to say one thing: Node may have dropped some of
 * them. Null where they can.
 *
 * @param most how many headers the server takes before it drops the rest
 */
export function faultOfHeaders(
  { rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>,
  most: number
): AppError | null {
  if (rawHeaders.length >= 2 * Math.min(most, MOST_HEADERS))
    return new AppError('headers_too_large', 'The request has too many headers.')
  let hosts = 0
  let types = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    // By length first: this is done ahead of every check.
    if (name.length === HOST.length && name.toLowerCase() === HOST) hosts++
    else if (name.length === TYPE.length && name.toLowerCase() === TYPE) types++
  }
  if (hosts > 1) return new AppError('invalid_input', 'More than one Host header was sent.')
  if (types > 1)
    return new AppError('unsupported_media_type', 'More than one Content-Type header was sent.')
  return null
}

/**
 * How many headers a server takes. An application around us may have set a bound of its own; 0 is
 * none, and HTTP/2 refuses instead of dropping.
 */
export function mostHeadersOf({ maxHeadersCount }: Partial<Server>): number {
  return maxHeadersCount || MOST_HEADERS
}

/** Refuses requests whose headers are more than Node keeps, or name twice what can be but one. */
async function requestHeaders(
  app: FastifyInstance,
  { mostHeaders }: { mostHeaders: () => number }
): Promise<void> {
  app.addHook('onRequest', (request, _reply, done) => {
    const fault = faultOfHeaders(request.raw, mostHeaders())
    if (fault) done(fault)
    else done()
  })
}

export default fp(requestHeaders, { name: 'request-headers' })
