import { isIPv4, isIPv6 } from 'node:net'

/** Groups of an IPv6 address that name a site: /48 is what one is given. */
const SITE_GROUPS = 3

/**
 * The network of a client: /24 in IPv4, /48 in IPv6. Within it a phone changes its address all the time; a change of it is worth a line.
 *
 * @returns the network as CIDR; null where there is no address
 */
export function networkOf(address: string | null): string | null {
  if (address === null) return null
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
  if (isIPv4(mapped)) return `${mapped.slice(0, mapped.lastIndexOf('.'))}.0/24`
  const [plain = ''] = address.split('%', 1)
  if (!isIPv6(plain)) return null
  const [head = '', tail] = plain.split('::')
  const first = groupsOf(head)
  const last = tail === undefined ? [] : groupsOf(tail)
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0')
  const site = [...first, ...zeros, ...last].slice(0, SITE_GROUPS).map((group) => Number.parseInt(group, 16).toString(16))
  return `${site.join(':')}::/48`
}

/** The groups of a part of an IPv6 address; a dotted end stands for two of them, and never for one of the first three. */
function groupsOf(part: string): string[] {
  return part === '' ? [] : part.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group]))
}
