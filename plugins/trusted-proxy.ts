import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { AddressRanges, parseAddress } from '../src/address.js'
import type { Asked } from './credential.js'

/** What a proxy says of the request that it asks about. */
export interface ForwardedRequest {
  /** Every method that was named, in upper case: two headers may disagree. */
  methods: readonly string[]
  /**
   * The whole address, http or https; null where it was not said, or said in ways that disagree.
   */
  address: URL | null
}

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * What the proxy in front says of the original request; nothing where the peer is not one of
     * TRUSTED_PROXIES.
     */
    forwardedRequest: (request: Asked) => ForwardedRequest
  }
}

const nothing: ForwardedRequest = { methods: [], address: null }
/**
 * The first is what most proxies send, the second ingress-nginx, the third Envoy where it rewrites.
 */
const METHOD_HEADERS = [
  'x-forwarded-method',
  'x-original-method',
  'x-envoy-original-method'
] as const
const PATH_HEADERS = ['x-forwarded-uri', 'x-original-uri', 'x-envoy-original-path'] as const
const forwarded = [
  ...METHOD_HEADERS,
  ...PATH_HEADERS,
  'x-forwarded-for',
  'x-forwarded-host',
  'x-original-url'
]

/**
 * Entries of `X-Forwarded-For` that are looked at: no real chain of proxies is longer, and a
 * made-up one costs no more.
 */
const LONGEST_CHAIN = 32

/**
 * Knows which peers are proxies of the operator's, and what these say of a client. One for each
 * Holdfast.
 */
export class TrustedProxies {
  readonly #ranges: AddressRanges
  readonly #peers = new WeakMap<Socket, boolean>()

  constructor(ranges: readonly string[]) {
    this.#ranges = new AddressRanges(ranges)
  }

  /** Whether a connection comes from a proxy whose headers count. */
  isTrusted(socket: Socket): boolean {
    const known = this.#peers.get(socket)
    if (known !== undefined) return known
    const peer = peerOf(socket)
    const isTrusted = peer !== null && this.#ranges.includes(peer)
    this.#peers.set(socket, isTrusted)
    return isTrusted
  }

  /**
   * The address of the client: of the entries in `X-Forwarded-For`, from the right, the first that
   * is no proxy of the operator's. What stands left of it, a client can write.
   *
   * @returns the peer's address where an entry is no address; an empty text where the peer has gone
   */
  addressOf({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string {
    const peer = peerOf(socket) ?? ''
    const chain = headers['x-forwarded-for']
    if (chain === undefined || !this.isTrusted(socket)) return peer
    let address = peer
    for (const entry of lastEntriesOf(chain)) {
      const named = parseAddress(entry)
      if (named === null) return peer
      address = named
      if (!this.#ranges.includes(address)) return address
    }
    return address
  }
}

const proxiesOfRequests = new WeakMap<object, TrustedProxies>()

/**
 * The client's address in its one form, without a port: for limits, logs, the session's row, events
 * and better-auth alike. Empty where the client has gone.
 */
export function clientAddress({ raw, headers }: FastifyRequest): string {
  const proxies = proxiesOfRequests.get(raw)
  return proxies ? proxies.addressOf({ headers, socket: raw.socket }) : (peerOf(raw.socket) ?? '')
}

/** Believes the headers of trusted proxies, and nobody else's. */
async function trustedProxy(
  app: FastifyInstance,
  { proxies }: { proxies: TrustedProxies }
): Promise<void> {
  let warned = false
  app.addHook('onRequest', (request, _reply, done) => {
    proxiesOfRequests.set(request.raw, proxies)
    done()
  })
  app.decorate('forwardedRequest', (request: Asked): ForwardedRequest => {
    if (!forwarded.some((name) => request.headers[name] !== undefined)) return nothing
    if (proxies.isTrusted(request.socket)) return read(request.headers)
    if (!warned)
      app.log.warn(
        { peer: request.socket.remoteAddress },
        'forwarded headers are ignored: their sender is not in TRUSTED_PROXIES'
      )
    warned = true
    return nothing
  })
}

function peerOf({ remoteAddress }: Socket): string | null {
  // undefined once it has gone
  return remoteAddress === undefined ? null : parseAddress(remoteAddress)
}

/**
 * The entries of a list from the right, up to a bound. Empty ones count for nothing (RFC 9110
 * 5.6.1).
 */
function lastEntriesOf(chain: string | string[]): string[] {
  const entries: string[] = []
  const text = String(chain)
  for (let end = text.length; end >= 0 && entries.length < LONGEST_CHAIN;) {
    const comma = end === 0 ? -1 : text.lastIndexOf(',', end - 1)
    const entry = text.slice(comma + 1, end).trim()
    if (entry !== '') entries.push(entry)
    end = comma
  }
  return entries
}

function read(headers: IncomingHttpHeaders): ForwardedRequest {
  const methods = METHOD_HEADERS.flatMap((name) => String(headers[name] ?? '').split(','))
    .map((method) => method.trim().toUpperCase())
    .filter(Boolean)
  return { methods, address: addressIn(headers) }
}

/**
 * Two headers that name different origins leave it open which of them is the proxy's, and which
 * came from the client.
 */
function addressIn(headers: IncomingHttpHeaders): URL | null {
  const host = single(headers['x-forwarded-host'])
  const path =
    PATH_HEADERS.map((name) => headers[name]).find(
      (value) => typeof value === 'string' && value.startsWith('/')
    ) ?? '/'
  const named = [
    host === undefined
      ? undefined
      : `${single(headers['x-forwarded-proto']) ?? 'http'}://${host}${String(path)}`,
    typeof headers['x-original-url'] === 'string' ? headers['x-original-url'] : undefined
  ].filter((address) => address !== undefined)
  // Traefik says "wss" of a handshake, whose Origin says "https".
  const addresses = named
    .map((address) => address.replace(/^ws(?=s?:)/i, 'http'))
    .map((address) => (URL.canParse(address) ? new URL(address) : null))
  const [first] = addresses
  // Of any other scheme the origin is 'null', which is what a page without one sends as well.
  return first &&
    /^https?:$/.test(first.protocol) &&
    addresses.every((address) => address?.origin === first.origin)
    ? first
    : null
}

// A list came through several proxies, or from a client: nobody knows which of them meant what.
function single(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' && !header.includes(',') ? header : undefined
}

export default fp(trustedProxy, { name: 'trusted-proxy' })
