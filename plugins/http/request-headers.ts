import type { IncomingMessage, Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AppError } from '../../src/errors.js'

/**
 * As many headers as Node takes by default before it drops the rest. The dropped ones may include
 * the client's address, or a second credential.
 */
export const MOST_HEADERS = 1_000

/** Node silently keeps the first of several, where a proxy may read the last. */
const HOST = 'host'
const TYPE = 'content-type'

/**
 * The fault that makes the headers of a request ambiguous: Node may have dropped some of them, or
 * one of them was sent twice. Null where there is none.
 *
 * @param most how many headers the server takes before it drops the rest
 */
export function findHeaderFault(
  { rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>,
  most: number
): AppError | null {
  if (rawHeaders.length >= 2 * Math.min(most, MOST_HEADERS))
    return new AppError('headers_too_large', 'The request has too many headers.')
  let hosts = 0
  let types = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    // Compares the length first, because this runs before every check.
    if (name.length === HOST.length && name.toLowerCase() === HOST) hosts++
    else if (name.length === TYPE.length && name.toLowerCase() === TYPE) types++
  }
  if (hosts > 1) return new AppError('invalid_input', 'More than one Host header was sent.')
  if (types > 1)
    return new AppError('unsupported_media_type', 'More than one Content-Type header was sent.')
  return null
}

/**
 * How many headers a server takes. A host application may have set its own bound. 0 is no bound.
 * HTTP/2 refuses instead of dropping.
 */
export function maxHeadersFrom({ maxHeadersCount }: Partial<Server>): number {
  return maxHeadersCount || MOST_HEADERS
}

/**
 * Refuses requests with more headers than Node keeps, or with two of a header that must be unique.
 */
async function requestHeaders(
  app: FastifyInstance,
  { mostHeaders }: { mostHeaders: () => number }
): Promise<void> {
  app.addHook('onRequest', (request, _reply, done) => {
    const fault = findHeaderFault(request.raw, mostHeaders())
    if (fault) done(fault)
    else done()
  })
}

export default fp(requestHeaders, { name: 'request-headers' })
