import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AppError } from '../../src/errors.js'

/**
 * What a request's headers say about its body. A request without a body has no media type: clients
 * name one with every DELETE (axios), and no parser must be asked about it. A body that is
 * compressed is not unpacked: a small one could become a very large one.
 */
async function bodyHeaders(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', async ({ raw }) => {
    if (!hasBody(raw)) delete raw.headers['content-type']
    else if (isEncoded(raw.headers))
      throw new AppError('unsupported_media_type', 'A body must not be compressed')
  })
}

/**
 * One of two headers announces a body (RFC 9112 6). In HTTP/2 none need do so: the stream ends with
 * the headers, or goes on (RFC 9113 8.1).
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
