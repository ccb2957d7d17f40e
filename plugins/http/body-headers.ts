import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AppError } from '../../src/errors.js'

/**
 * Checks what a request's headers say about its body. The media type of a request without a body is
 * ignored: clients such as axios name one with every DELETE, and no parser must see it. A
 * compressed body is refused: a small one could unpack to a very large one.
 */
async function bodyHeaders(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', async ({ raw }) => {
    if (!hasBody(raw)) delete raw.headers['content-type']
    else if (isEncoded(raw.headers))
      throw new AppError('unsupported_media_type', 'A body must not be compressed')
  })
}

/**
 * Whether a request has a body. One of two headers announces it (RFC 9112 6). In HTTP/2 neither is
 * needed: the stream ends with the headers, or goes on (RFC 9113 8.1).
 */
function hasBody({
  headers,
  stream
}: IncomingMessage & Partial<Pick<Http2ServerRequest, 'stream'>>): boolean {
  const { 'content-length': length, 'transfer-encoding': transfer } = headers
  if (stream && length === undefined) return !stream.endAfterHeaders
  return transfer !== undefined || Number(length ?? 0) > 0
}

function isEncoded(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  return encoding !== '' && encoding !== 'identity'
}

export default fp(bodyHeaders, { name: 'body-headers' })
