import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { AddressRanges, parseAddress } from '../../src/address.js'

/**
 * Entries of `X-Forwarded-For` that are read. No real chain of proxies is longer, and an invented
 * one must not cost more.
 */
const LONGEST_CHAIN = 32

/** Knows the operator's proxies, and reads what they say about a client. Each Holdfast has one. */
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
    const peer = peerFrom(socket)
    const isTrusted = peer !== null && this.#ranges.includes(peer)
    this.#peers.set(socket, isTrusted)
    return isTrusted
  }

  /**
   * The client's address: of the entries in `X-Forwarded-For`, from the right, the first that is
   * not one of the operator's proxies. A client can write everything left of it.
   *
   * @returns the peer's address where an entry is not an address; an empty text where the peer has
   *   disconnected
   */
  addressOf({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string {
    const peer = peerFrom(socket) ?? ''
    const chain = headers['x-forwarded-for']
    if (chain === undefined || !this.isTrusted(socket)) return peer
    let address = peer
    for (const entry of lastEntriesFrom(chain)) {
      const named = parseAddress(entry)
      if (named === null) return peer
      address = named
      if (!this.#ranges.includes(address)) return address
    }
    return address
  }
}

const proxiesOfRequests = new WeakMap<object, TrustedProxies>()

/** Makes `clientAddress` trust these proxies for a request. */
export function noteProxies({ raw }: FastifyRequest, proxies: TrustedProxies): void {
  proxiesOfRequests.set(raw, proxies)
}

/**
 * The client's address in canonical form, without a port. Limits, logs, session rows, events and
 * better-auth all use it. Empty where the client has disconnected.
 */
export function clientAddress({ raw, headers }: FastifyRequest): string {
  const proxies = proxiesOfRequests.get(raw)
  return proxies ? proxies.addressOf({ headers, socket: raw.socket }) : (peerFrom(raw.socket) ?? '')
}

function peerFrom({ remoteAddress }: Socket): string | null {
  // undefined after a disconnect
  return remoteAddress === undefined ? null : parseAddress(remoteAddress)
}

/** The entries of a list from the right, up to a bound. Empty ones are skipped (RFC 9110 5.6.1). */
function lastEntriesFrom(chain: string | string[]): string[] {
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
