import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { AddressRanges, parseAddress } from '../../src/address.js'

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

/** Has `clientAddress` believe these proxies about a request. */
export function noteProxies({ raw }: FastifyRequest, proxies: TrustedProxies): void {
  proxiesOfRequests.set(raw, proxies)
}

/**
 * The client's address in its one form, without a port: for limits, logs, the session's row, events
 * and better-auth alike. Empty where the client has gone.
 */
export function clientAddress({ raw, headers }: FastifyRequest): string {
  const proxies = proxiesOfRequests.get(raw)
  return proxies ? proxies.addressOf({ headers, socket: raw.socket }) : (peerOf(raw.socket) ?? '')
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
