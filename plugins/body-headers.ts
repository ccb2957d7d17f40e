import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Refusal } from '../src/errors.js'

/**
 * What a request's headers say about its body. A request without a body has no media type: clients name one with every DELETE
 * (axios), and no parser must be asked about it. A body that is compressed is not unpacked: a small one could become a very large one.
 */
async function bodyHeaders(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', async ({ raw: { headers } }) => {
    if (!hasBody(headers)) delete headers['content-type']
    else if (isEncoded(headers)) throw new Refusal('unsupported_media_type', 'A body must not be compressed')
  })
}

/** RFC 9112 6: one of two headers announces a body. */
function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function isEncoded(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  return encoding !== '' && encoding !== 'identity'
}

export default fp(bodyHeaders, { name: 'body-headers' })
