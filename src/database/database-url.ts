import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { userInfo } from 'node:os'
import { createSecureContext, type ConnectionOptions } from 'node:tls'
import { ConfigError } from '../errors.js'

/** One way to reach a server: an address, with TLS or without. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
  readonly ssl: ConnectionOptions | false
  /** The index of its host in the URL. */
  readonly hostIndex: number
}

/** The meaning of DATABASE_URL, as libpq reads it. */
export interface PostgresTarget {
  /** In the order in which they are tried. */
  readonly places: readonly ServerAddress[]
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  /** The schema of the tables. Undefined for the first schema of the search path. */
  readonly schema: string | undefined
  /** Whether a server that takes no writes is skipped even if it is not a standby. */
  readonly needsWritable: boolean
  readonly connectTimeoutMs: number | undefined
  readonly applicationName: string
  readonly options: string | undefined
  readonly keepAlive: boolean
  readonly keepAliveIdleMs: number
  readonly needsChannelBinding: boolean
  readonly sslNegotiation: 'postgres' | 'direct'
  /** Prisma's `pgbouncer=true`: no state may stay on a connection. */
  readonly pooled: boolean
}

type Parameters = Map<string, string>

const DEFAULT_PORT = 5432
const ENCODE =
  'percent-encode what is not a letter or a digit in it (`#` as %23, `/` as %2F, `?` as %3F, `@` as %40, `%` as %25)'
const SOCKET_FOLDERS = ['/var/run/postgresql', '/tmp']

/**
 * Supported parameters. Any other is refused by name, because an operator would believe that an
 * ignored one works.
 */
const known = new Set([
  'host',
  'hostaddr',
  'port',
  'dbname',
  'user',
  'password',
  'schema',
  'pgbouncer',
  'connect_timeout',
  'client_encoding',
  'options',
  'application_name',
  'fallback_application_name',
  'keepalives',
  'keepalives_idle',
  'sslmode',
  'ssl',
  'sslnegotiation',
  'sslcompression',
  'sslcert',
  'sslkey',
  'sslpassword',
  'sslrootcert',
  'sslcrl',
  'sslsni',
  'ssl_min_protocol_version',
  'ssl_max_protocol_version',
  'gssencmode',
  'channel_binding',
  'target_session_attrs',
  'load_balance_hosts',
  'uselibpqcompat'
])

/** What to write instead of other programs' parameters. */
const instead: Record<string, string> = {
  connection_limit: 'set DATABASE_POOL_SIZE instead',
  pool_timeout: 'a request waits less than a second for a connection',
  socket_timeout: 'a statement is given up after 1.5 s',
  statement_timeout: 'statements are given up after 1.3 s',
  sslaccept: 'write sslmode=require or sslmode=verify-full',
  sslidentity: 'write sslcert and sslkey'
}

/**
 * Parses DATABASE_URL as libpq does, with Prisma's `schema` and `pgbouncer` beside libpq's
 * parameters, and reads the files that it names.
 *
 * @throws ConfigError that names DATABASE_URL and the parameter, and never shows the password
 */
export function parseDatabaseUrl(url: string): PostgresTarget {
  const { userinfo, hosts, path, query } = split(url)
  const parameters = parametersFrom(query)
  const [, user = '', password] = /^([^:]*)(?::([^]*))?$/.exec(userinfo) ?? []
  const tls = tlsFrom(parameters)
  const attributes = pickOne(
    parameters,
    'target_session_attrs',
    ['any', 'read-write', 'primary'],
    'Holdfast writes, and never asks a standby'
  )
  const finalUser =
    parameters.get('user') ??
    (decode(user, 'the user') || process.env['PGUSER'] || userInfo().username)
  return {
    places: placesFrom(
      hostsFrom(hosts, parameters),
      tls,
      pickOne(parameters, 'load_balance_hosts', ['disable', 'random']) === 'random'
    ),
    user: finalUser,
    password:
      parameters.get('password') ??
      (password === undefined ? undefined : decode(password, 'the password')),
    database:
      parameters.get('dbname') ??
      (decode(path, 'the name of the database') || process.env['PGDATABASE'] || finalUser),
    schema: schemaFrom(parameters),
    needsWritable: attributes === 'read-write',
    connectTimeoutMs: seconds(parameters, 'connect_timeout', 1, 600),
    applicationName:
      parameters.get('application_name') ??
      parameters.get('fallback_application_name') ??
      'holdfast',
    options: parameters.get('options'),
    keepAlive: pickOne(parameters, 'keepalives', ['1', '0']) !== '0',
    keepAliveIdleMs: seconds(parameters, 'keepalives_idle', 0, 86_400) ?? 0,
    needsChannelBinding:
      pickOne(parameters, 'channel_binding', ['disable', 'prefer', 'require']) === 'require',
    sslNegotiation: tls.negotiation,
    pooled: pickOne(parameters, 'pgbouncer', ['true', 'false']) === 'true'
  }
}

function split(url: string): { userinfo: string; hosts: string; path: string; query: string } {
  const [, rest] = /^postgres(?:ql)?:\/\/([^]*)$/.exec(url) ?? []
  if (rest === undefined) throw wrong('must be a postgresql:// URL')
  if (rest.includes('#'))
    throw wrong(`contains a #, at which a URL ends; if it belongs to the password, ${ENCODE}`)
  const [, authority = '', path = '', query = ''] =
    /^([^/?]*)(?:\/([^?]*))?(?:\?([^]*))?$/.exec(rest) ?? []
  const parts = authority.split('@')
  // With more than one @, a part of the password could be taken for a host.
  if (parts.length > 2 || path.includes('@') || (parts.length === 1 && /@[^=&]*\//.test(query)))
    throw wrong(`has an @ where none may be; if it belongs to the user or the password, ${ENCODE}`)
  const [userinfo, hosts] = parts.length === 2 ? (parts as [string, string]) : ['', authority]
  if (/[\s<>"\\^`{|}]/.test(hosts))
    throw wrong(`has a host that is none; if part of it belongs to the password, ${ENCODE}`)
  return { userinfo, hosts, path, query }
}

function parametersFrom(query: string): Parameters {
  const parameters: Parameters = new Map()
  for (const pair of query.split('&').filter(Boolean)) {
    const [, name, value] = /^([\w.-]+)=([^]*)$/.exec(pair) ?? []
    if (name === undefined || value === undefined)
      throw wrong(
        `has something that is no parameter (name=value) behind its ?; if that belongs to the password, ${ENCODE}`
      )
    if (!known.has(name))
      throw wrong(
        `the parameter ${name} is not supported${instead[name] ? `: ${instead[name]}` : ''}`
      )
    if (value !== '') parameters.set(name, decode(value, `the parameter ${name}`))
  }
  for (const [name, allowed] of [
    ['client_encoding', ['UTF8', 'utf8', 'UTF-8', 'auto']],
    ['gssencmode', ['disable', 'prefer']],
    ['sslcompression', ['0']],
    ['sslsni', ['1']],
    ['uselibpqcompat', ['true']]
  ] as const)
    pickOne(parameters, name, allowed)
  return parameters
}

function schemaFrom(parameters: Parameters): string | undefined {
  const schema = parameters.get('schema')
  if (
    schema !== undefined &&
    (Buffer.byteLength(schema) > 63 || /\0|^pg_|^information_schema$/.test(schema))
  )
    throw wrong('the parameter schema names no schema that may hold tables')
  return schema
}

interface Host {
  host: string
  address: string | undefined
  port: number
}

function hostsFrom(authority: string, parameters: Parameters): Host[] {
  const named =
    authority === ''
      ? []
      : authority.split(',').map((part) => {
          const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(part) ?? []
          if (port === undefined && part.includes(':'))
            throw wrong('has a host that is none (an IPv6 address stands in brackets)')
          return { host: decode(host.replace(/^\[(.*)\]$/, '$1'), 'the host'), port: port ?? '' }
        })
  const list = (name: string) => parameters.get(name)?.split(',')
  const hosts = list('host') ?? named.map(({ host }) => host)
  const addresses = list('hostaddr')
  const ports = list('port') ?? named.map(({ port }) => port)
  const count = Math.max(hosts.length, addresses?.length ?? 0, 1)
  if (addresses && hosts.length > 0 && addresses.length !== hosts.length)
    throw wrong('the parameter hostaddr must name as many addresses as there are hosts')
  const badAddress = addresses?.some((address) => address !== '' && !isIP(address))
  if (badAddress) throw wrong('the parameter hostaddr must name IP addresses')
  if (ports.length > 1 && ports.length !== count)
    throw wrong('must name one port, or as many as there are hosts')
  return Array.from({ length: count }, (_, index) => {
    const port = portFrom((ports.length === 1 ? ports[0] : ports[index]) ?? '')
    const address = addresses?.[index] || undefined
    const host = hosts[index] || address || process.env['PGHOST'] || socketFolder(port)
    if (host.startsWith('@'))
      throw wrong('the host is a socket in the abstract namespace, which is not supported')
    return { host, address, port }
  })
}

function portFrom(text: string): number {
  const port =
    text === ''
      ? Number(process.env['PGPORT'] || DEFAULT_PORT)
      : /^\d{1,5}$/.test(text)
        ? Number(text)
        : Number.NaN
  if (!(port >= 1 && port <= 65_535))
    throw wrong(
      `the port must be a number from 1 to 65535; if what stands there belongs to the password, ${ENCODE}`
    )
  return port
}

/** libpq's default where no host is named: the system's socket, if a server has created one. */
function socketFolder(port: number): string {
  return SOCKET_FOLDERS.find((folder) => existsSync(`${folder}/.s.PGSQL.${port}`)) ?? 'localhost'
}

interface Tls {
  mode: string | undefined
  options: ConnectionOptions
  negotiation: 'postgres' | 'direct'
}

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']

function tlsFrom(parameters: Parameters): Tls {
  if (pickOne(parameters, 'ssl', ['true']) !== undefined && !parameters.has('sslmode'))
    parameters.set('sslmode', 'require') // as libpq reads JDBC's
  const root = parameters.get('sslrootcert')
  const mode =
    pickOne(parameters, 'sslmode', MODES) ?? (root === 'system' ? 'verify-full' : undefined)
  const negotiation = pickOne(parameters, 'sslnegotiation', ['postgres', 'direct']) ?? 'postgres'
  if (negotiation === 'direct' && !['require', 'verify-ca', 'verify-full'].includes(mode ?? ''))
    throw wrong('the parameter sslnegotiation=direct needs sslmode=require or stronger')
  if (root === 'system' && mode !== 'verify-full')
    throw wrong('the parameter sslrootcert=system needs sslmode=verify-full')
  if (root === undefined && (mode === 'verify-ca' || mode === 'verify-full')) {
    throw wrong(
      `the parameter sslmode=${mode} needs sslrootcert: a file with the certificates to trust${mode === 'verify-full' ? ', or `system` for those of public authorities' : ''}`
    )
  }
  if (parameters.has('sslcert') !== parameters.has('sslkey'))
    throw wrong('the parameters sslcert and sslkey need each other')
  return { mode, negotiation, options: tlsOptionsFrom(parameters, mode, root) }
}

function tlsOptionsFrom(
  parameters: Parameters,
  mode: string | undefined,
  root: string | undefined
): ConnectionOptions {
  const version = (name: 'ssl_min_protocol_version' | 'ssl_max_protocol_version') =>
    pickOne(parameters, name, ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'])
  const [min, max] = [version('ssl_min_protocol_version'), version('ssl_max_protocol_version')]
  const [cert, key, crl] = [
    readFile(parameters, 'sslcert'),
    readFile(parameters, 'sslkey'),
    readFile(parameters, 'sslcrl')
  ]
  const passphrase = parameters.get('sslpassword')
  const ca =
    root === undefined || root === 'system' ? undefined : readFile(parameters, 'sslrootcert')
  if (ca !== undefined) check('sslrootcert', () => new X509Certificate(ca))
  const options: ConnectionOptions = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(crl === undefined ? {} : { crl }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(min ? { minVersion: min } : {}),
    ...(max ? { maxVersion: max } : {})
  }
  check(key === undefined ? 'sslcrl' : 'sslkey', () => createSecureContext(options))
  // A named root certificate is always verified; the host name only where that is asked for.
  if (root === undefined) return { ...options, rejectUnauthorized: false }
  return mode === 'verify-full' ? options : { ...options, checkServerIdentity: () => {} }
}

function check(name: string, make: () => unknown): void {
  try {
    make()
  } catch (error) {
    throw wrong(
      `the parameter ${name} names a file that cannot be used (${error instanceof Error && 'code' in error ? String(error.code) : 'no PEM'})`
    )
  }
}

function readFile(parameters: Parameters, name: string): string | undefined {
  const path = parameters.get(name)
  if (path === undefined) return undefined
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw wrong(
      `the parameter ${name} names a file that cannot be read (${path}: ${error instanceof Error && 'code' in error ? String(error.code) : String(error)})`
    )
  }
}

/** Each host with TLS or without, in libpq's order. */
function placesFrom(hosts: readonly Host[], tls: Tls, shuffled: boolean): ServerAddress[] {
  const places = hosts.map(({ host, address, port }, hostIndex) =>
    modesFrom(host, tls.mode).map((encrypted) => {
      // The certificate is for the name, whatever address is used.
      const name = address === undefined || isIP(host) ? {} : { servername: host }
      return {
        host: address ?? host,
        port,
        ssl: encrypted ? { ...tls.options, ...name } : false,
        hostIndex
      } satisfies ServerAddress
    })
  )
  return (
    shuffled
      ? places
          .map((variants) => ({ variants, at: Math.random() }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ variants }) => variants)
      : places
  ).flat()
}

function modesFrom(host: string, mode: string | undefined): boolean[] {
  if (host.startsWith('/') || mode === 'disable') return [false]
  // libpq prefers TLS. On loopback there is no eavesdropper, and TLS only costs time.
  const loopback =
    host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
  switch (mode ?? (loopback ? 'allow' : 'prefer')) {
    case 'allow':
      return [false, true]
    case 'prefer':
      return [true, false]
    default:
      return [true]
  }
}

function pickOne<const T extends string>(
  parameters: Parameters,
  name: string,
  allowed: readonly T[],
  why?: string
): T | undefined {
  const value = parameters.get(name)
  if (value === undefined || allowed.includes(value as T)) return value as T | undefined
  throw wrong(
    `the parameter ${name} must be ${allowed.join(' or ')}${why === undefined ? '' : `: ${why}`}`
  )
}

function seconds(
  parameters: Parameters,
  name: string,
  min: number,
  max: number
): number | undefined {
  const value = parameters.get(name)
  if (value === undefined) return undefined
  if (!/^\d{1,6}$/.test(value) || Number(value) < min || Number(value) > max)
    throw wrong(`the parameter ${name} must be a number of seconds from ${min} to ${max}`)
  return Number(value) * 1_000
}

function decode(text: string, what: string): string {
  try {
    const decoded = decodeURIComponent(text)
    if (!decoded.includes('\0')) return decoded
  } catch {
    /* said below */
  }
  throw wrong(`${what} is not percent-encoded well: ${ENCODE}`)
}

function wrong(message: string): ConfigError {
  return new ConfigError(`DATABASE_URL: ${message}`)
}
