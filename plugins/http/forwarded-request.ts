import type { IncomingHttpHeaders } from 'node:http'

/** What a proxy says about the request that it asks about. */
export interface ForwardedRequest {
  /** Every method that was named, in upper case. Two headers may disagree. */
  methods: readonly string[]
  /** The whole address, http or https. Null where it was not sent, or where headers disagree. */
  address: URL | null
}

/** For a request about which no proxy says anything. */
export const nothingForwarded: ForwardedRequest = { methods: [], address: null }
/** Most proxies send the first, ingress-nginx the second, and Envoy the third where it rewrites. */
const METHOD_HEADERS = [
  'x-forwarded-method',
  'x-original-method',
  'x-envoy-original-method'
] as const
const PATH_HEADERS = ['x-forwarded-uri', 'x-original-uri', 'x-envoy-original-path'] as const
/** Headers that only a proxy should send. */
export const forwardingHeaders = [
  ...METHOD_HEADERS,
  ...PATH_HEADERS,
  'x-forwarded-for',
  'x-forwarded-host',
  'x-original-url'
]

/** What the headers of a trusted proxy say. */
export function readForwarded(headers: IncomingHttpHeaders): ForwardedRequest {
  const methods = METHOD_HEADERS.flatMap((name) => String(headers[name] ?? '').split(','))
    .map((method) => method.trim().toUpperCase())
    .filter(Boolean)
  return { methods, address: addressIn(headers) }
}

/**
 * Reads the address. Where two headers name different origins, one may be the client's and not the
 * proxy's, so neither counts.
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
  // Traefik says "wss" for a handshake, whose Origin says "https".
  const addresses = named
    .map((address) => address.replace(/^ws(?=s?:)/i, 'http'))
    .map((address) => (URL.canParse(address) ? new URL(address) : null))
  const [first] = addresses
  // For any other scheme the origin is 'null', which a page without an origin also sends.
  return first &&
    /^https?:$/.test(first.protocol) &&
    addresses.every((address) => address?.origin === first.origin)
    ? first
    : null
}

// A list came through several proxies or from a client. Which entry is right is not known, so none
// counts.
function single(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' && !header.includes(',') ? header : undefined
}
