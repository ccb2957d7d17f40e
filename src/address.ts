import { BlockList, isIP, isIPv4, SocketAddress } from 'node:net'

/** An address in brackets (RFC 3986), with or without a port. */
const BRACKETED = /^\[([^\]]+)\](?::\d{1,5})?$/
const IPV4_WITH_PORT = /^(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}$/
const MAPPED = /^::ffff:(?=\d+\.)/

/**
 * Parses an IP address in any form that proxies write: with a port (Azure, IIS), in brackets or
 * quotes (RFC 7239), with a zone, or as IPv4 mapped into IPv6. All forms of one address have one
 * result, so that a client cannot look like another by its spelling.
 *
 * @returns null for what is not an address
 */
export function parseAddress(text: string): string | null {
  const unquoted = text.trim().replace(/^"(.*)"$/, '$1')
  const [, bare = unquoted] = BRACKETED.exec(unquoted) ?? IPV4_WITH_PORT.exec(unquoted) ?? []
  // A zone is meaningful on one machine only, and a client could invent any number of them.
  const [address = ''] = bare.split('%', 1)
  const version = isIP(address)
  if (version === 4) return address
  return version === 6
    ? new SocketAddress({ address, family: 'ipv6' }).address.replace(MAPPED, '')
    : null
}

/** Whether a host name or address can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return (
    host === 'localhost' ||
    host === '::1' ||
    host === '[::1]' ||
    (isIP(host) === 4 && host.startsWith('127.'))
  )
}

/** A set of addresses and CIDR ranges. IPv4 mapped into IPv6 is IPv4 here too. */
export class AddressRanges {
  readonly #list = new BlockList()

  /** @param ranges addresses or CIDR ranges, already validated */
  constructor(ranges: readonly string[]) {
    for (const range of ranges) {
      const [text = '', length] = range.split('/')
      const address = parseAddress(text) ?? text
      const family = familyFrom(address)
      const isMapped = family === 'ipv4' && !isIPv4(text)
      if (length === undefined) this.#list.addAddress(address, family)
      else this.#list.addSubnet(address, Math.max(0, Number(length) - (isMapped ? 96 : 0)), family)
    }
  }

  /** @param address as `parseAddress` returns it */
  includes(address: string): boolean {
    return this.#list.check(address, familyFrom(address))
  }
}

function familyFrom(address: string): 'ipv4' | 'ipv6' {
  return isIPv4(address) ? 'ipv4' : 'ipv6'
}
