import { isIP } from 'node:net'
import { isLoopback } from '../address.js'

/** A parsed SMTP_URL. */
export interface SmtpTarget {
  host: string
  port: number
  /**
   * - `implicit`: the connection begins with TLS (smtps).
   * - `required`: STARTTLS, or nothing is sent.
   * - `offered`: STARTTLS where the server offers it.
   * - `none`: no TLS.
   */
  tls: 'implicit' | 'required' | 'offered' | 'none'
  login: { user: string; password: string } | null
  /** What this machine calls itself in EHLO. Null for its own name. */
  name: string | null
}

/** SMTP_URL cannot be parsed. The message says what is wrong, and never shows the credentials. */
export class SmtpUrlError extends Error {
  override readonly name = 'SmtpUrlError'
}

const URL_FORM = /^(smtps?):\/\/(?:([^/?#@]*)@)?([^/?#@]*)\/?(?:\?([^#]*))?$/
const HOST_FORM = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([^:]*))?$/
/** Submission, with STARTTLS and with TLS from the start (RFC 8314). */
const DEFAULT_PORTS = { smtp: 587, smtps: 465 } as const
/** The supported parameters, as nodemailer calls them. It would take any option of its own. */
const parameters = ['requireTLS', 'ignoreTLS', 'name'] as const
type Parameters = Partial<Record<(typeof parameters)[number], string>>

/**
 * Reads `smtp://[user:password@]host[:port]`, or `smtps://` for TLS from the start. `@`, `/`, `?`,
 * `#`, `:` and `%` in user and password are percent-encoded. Parameters: `requireTLS=true`,
 * `ignoreTLS=true`, and `name=` for EHLO.
 *
 * STARTTLS is required where there is a password, is used where the server offers it otherwise, and
 * is left out on loopback, where it protects nothing. A parameter changes that, but a password
 * never leaves this machine in plain text.
 *
 * @throws SmtpUrlError
 */
export function parseSmtpUrl(url: string): SmtpTarget {
  const [, scheme, credentials, authority = '', query = ''] = URL_FORM.exec(url) ?? []
  if (scheme !== 'smtp' && scheme !== 'smtps')
    throw new SmtpUrlError(
      'must be smtp://user:password@host:port (smtps for TLS from the start), with @ / ? # % : in user and password percent-encoded'
    )
  const { host, port } = parseHost(authority, DEFAULT_PORTS[scheme])
  const login = parseLogin(credentials)
  const given = parseQuery(query)
  return {
    host,
    port,
    login,
    tls: tlsFrom(scheme, host, login !== null, given),
    name: nameFrom(given)
  }
}

function parseHost(text: string, defaultPort: number): { host: string; port: number } {
  const [, ipv6, name, port] = HOST_FORM.exec(text) ?? []
  const host = ipv6 ?? name
  if (host === undefined || (ipv6 !== undefined && isIP(ipv6) !== 6))
    throw new SmtpUrlError(
      'must name a host as host, host:port or [IPv6 address]:port; @ / ? # % : in a password are percent-encoded'
    )
  if (port === undefined) return { host, port: defaultPort }
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
    throw new SmtpUrlError('must have a port from 1 to 65535 behind the host')
  return { host, port: Number(port) }
}

function parseLogin(credentials: string | undefined): SmtpTarget['login'] {
  if (credentials === undefined || credentials === '' || credentials === ':') return null
  const [user = '', password, ...rest] = credentials.split(':')
  if (rest.length > 0)
    throw new SmtpUrlError('has more than one : before the host: percent-encode it (%3A)')
  if (user === '' || password === undefined || password === '')
    throw new SmtpUrlError('must have both, a user and a password, or neither')
  return { user: decode(user), password: decode(password) }
}

function parseQuery(query: string): Parameters {
  const given: Parameters = {}
  for (const pair of query.split('&').filter(Boolean)) {
    const [name = '', value = ''] = pair.split(/=(.*)/s, 2)
    const known = parameters.find((parameter) => parameter === name)
    // The name is not repeated: it may be the end of a password.
    if (!known)
      throw new SmtpUrlError(`may have the parameters ${parameters.join(', ')}, and has another`)
    if (given[known] !== undefined) throw new SmtpUrlError(`has the parameter ${known} twice`)
    given[known] = decode(value)
  }
  return given
}

function tlsFrom(
  scheme: 'smtp' | 'smtps',
  host: string,
  hasLogin: boolean,
  { requireTLS, ignoreTLS }: Parameters
): SmtpTarget['tls'] {
  for (const [name, value] of Object.entries({ requireTLS, ignoreTLS }))
    if (value !== undefined && value !== 'true')
      throw new SmtpUrlError(`must say ${name}=true, or leave it out`)
  if (scheme === 'smtps') {
    if (ignoreTLS) throw new SmtpUrlError('says ignoreTLS, and smtps is TLS from the start')
    return 'implicit'
  }
  if (requireTLS) {
    if (ignoreTLS) throw new SmtpUrlError('says both requireTLS and ignoreTLS')
    return 'required'
  }
  if (isLoopback(host)) return 'none'
  if (!ignoreTLS) return hasLogin ? 'required' : 'offered'
  if (hasLogin)
    throw new SmtpUrlError('says ignoreTLS, which would send the password in plain text')
  return 'none'
}

function nameFrom({ name }: Parameters): string | null {
  if (name === undefined) return null
  if (!/^(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{1,64}\])$/.test(name))
    throw new SmtpUrlError('must have a host name, or an address in brackets, as its name')
  return name
}

function decode(text: string): string {
  let decoded
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw new SmtpUrlError('has a % that is not followed by two hexadecimal digits (write %25)')
  }
  if (/\p{Cc}/u.test(decoded)) throw new SmtpUrlError('has a control character')
  return decoded
}
