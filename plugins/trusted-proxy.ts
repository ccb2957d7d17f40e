import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { noteProxies, type TrustedProxies } from './http/client-address.js'
import type { Asked } from './http/credential.js'
import {
  forwardingHeaders,
  nothingForwarded,
  readForwarded,
  type ForwardedRequest
} from './http/forwarded-request.js'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * What the proxy in front says about the original request. Empty where the peer is not one of
     * TRUSTED_PROXIES.
     */
    forwardedRequest: (request: Asked) => ForwardedRequest
  }
}

/** Trusts the forwarding headers of TRUSTED_PROXIES only. */
async function trustedProxy(
  app: FastifyInstance,
  { proxies }: { proxies: TrustedProxies }
): Promise<void> {
  let warned = false
  app.addHook('onRequest', (request, _reply, done) => {
    noteProxies(request, proxies)
    done()
  })
  app.decorate('forwardedRequest', (request: Asked): ForwardedRequest => {
    if (!forwardingHeaders.some((name) => request.headers[name] !== undefined))
      return nothingForwarded
    if (proxies.isTrusted(request.socket)) return readForwarded(request.headers)
    if (!warned)
      app.log.warn(
        { peer: request.socket.remoteAddress },
        'forwarded headers are ignored: their sender is not in TRUSTED_PROXIES'
      )
    warned = true
    return nothingForwarded
  })
}

export default fp(trustedProxy, { name: 'trusted-proxy' })
