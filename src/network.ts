import { isIPv4, isIPv6 } from 'node:net'

/** The networks of an address, for queues and budgets that must be fair between clients. */
export interface Networks {
  /** The most that one customer of a provider has: IPv4 /24, IPv6 /48. */
  wide: string
  /** One connection: the IPv4 address, IPv6 /64. */
  narrow: string
}

/** The networks of a client's address. A text that is not an address is a network of its own. */
export function toNetworks(address: string): Networks {
  const bare = address.replace(/%.*$/, '')
  const ipv4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1]
  if (ipv4 !== undefined && isIPv4(ipv4))
    return { wide: `${ipv4.replace(/\.\d+$/, '')}.0/24`, narrow: ipv4 }
  if (!isIPv6(bare)) return { wide: address, narrow: address }
  const groups = groupsFrom(bare)
  return {
    wide: `${groups.slice(0, 3).join(':')}::/48`,
    narrow: `${groups.slice(0, 4).join(':')}::/64`
  }
}

/**
 * The wide network of a client. A phone changes its address within it all the time. A change of the
 * network is worth an event.
 *
 * @returns the network as CIDR; null where there is no address
 */
export function toNetwork(address: string | null): string | null {
  if (address === null) return null
  const { wide } = toNetworks(address)
  return wide === address ? null : wide
}

/** The first four of an IPv6 address's eight groups, without leading zeros. */
function groupsFrom(address: string): string[] {
  const [head = '', tail] = address.split('::', 2)
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  // An IPv4 tail takes two groups, and only the first four groups are used.
  const length = right.length + (right.at(-1)?.includes('.') ? 1 : 0)
  const groups = [
    ...left,
    ...Array.from({ length: Math.max(0, 8 - left.length - length) }, () => '0'),
    ...right
  ]
  return groups.slice(0, 4).map((group) => group.toLowerCase().replace(/^0+(?=.)/, ''))
}
