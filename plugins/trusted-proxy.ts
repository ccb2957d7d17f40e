import { BlockList, isIPv4, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.js'
import type { Asked } from './credential.js'

/** What a proxy says of the request that it asks about; what it does not say is absent. */
export interface ForwardedRequest {
  method?: string
  /** The whole address. */
  address?: URL
}

declare module 'fastify' {
  interface FastifyInstance {
    /** What the proxy in front says of the original request; nothing where the peer is not one of TRUSTED_PROXIES. */
    forwardedRequest: (request: Asked) => ForwardedRequest
  }
}

const nothing: ForwardedRequest = {}
const forwarded = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-method', 'x-forwarded-uri', 'x-original-url']

/** Believes the headers of trusted proxies, and nobody else's. */
async function trustedProxy(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const trusted = listOf(config.trustedProxies)
  const peers = new WeakMap<Socket, boolean>()
  let warned = false

  function isTrusted(socket: Socket): boolean {
    const known = peers.get(socket) ?? (socket.remoteAddress !== undefined && isIn(trusted, socket.remoteAddress)) // undefined once it has gone
    peers.set(socket, known)
    return known
  }

  app.decorate('forwardedRequest', (request: Asked): ForwardedRequest => {
    if (!forwarded.some((name) => request.headers[name] !== undefined)) return nothing
    if (isTrusted(request.socket)) return read(request)
    if (!warned) app.log.warn({ peer: request.socket.remoteAddress }, 'forwarded headers are ignored: their sender is not in TRUSTED_PROXIES')
    warned = true
    return nothing
  })
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}

function isIn(list: BlockList, peer: string): boolean {
  const address = peer.replace(/^::ffff:(?=\d+\.)/, '') // IPv4 on a socket that takes both
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

function read({ headers }: Asked): ForwardedRequest {
  const method = single(headers['x-forwarded-method'])
  const host = single(headers['x-forwarded-host'])
  const target = headers['x-forwarded-uri']
  const path = typeof target === 'string' && target.startsWith('/') ? target : '/'
  const whole = host === undefined ? headers['x-original-url'] : `${single(headers['x-forwarded-proto']) ?? 'http'}://${host}${path}`
  return {
    ...(method === undefined ? {} : { method: method.toUpperCase() }),
    ...(typeof whole === 'string' && URL.canParse(whole) ? { address: new URL(whole) } : {})
  }
}

// A list came through several proxies, or from a client: nobody knows which of them meant what.
function single(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' && !header.includes(',') ? header : undefined
}

export default fp(trustedProxy, { name: 'trusted-proxy' })
