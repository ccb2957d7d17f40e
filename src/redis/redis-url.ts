/** A parsed Redis URL. */
export interface RedisTarget {
  kind: 'single' | 'sentinel' | 'cluster'
  tls: boolean
  /** The server; or the Sentinels, or some nodes of the cluster. */
  nodes: RedisNode[]
  /** The user and password. Null where there is no password. */
  login: RedisLogin | null
  /** The index of the database. Clusters have only one. */
  database: number
  /** 4 or 6 to use only that kind of address; 0 for either. */
  family: 0 | 4 | 6
  sentinel: { primary: string; login: RedisLogin | null } | null
}

export interface RedisNode {
  host: string
  port: number
}

export interface RedisLogin {
  username: string
  password: string
}

/**
 * A Redis URL cannot be parsed. The message says what is wrong, and never shows the credentials.
 */
export class RedisUrlError extends Error {
  override readonly name = 'RedisUrlError'
}

const URL_FORM =
  /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^/?#]*)@)?([^/?#@]*)(\/[^?#]*)?(?:\?([^#]*))?$/
const NODE_FORM = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([^:]*))?$/
const DEFAULT_PORT = 6_379
const DEFAULT_SENTINEL_PORT = 26_379
const DEFAULT_PRIMARY = 'mymaster'

/** The supported parameters. ioredis would take any option of its own from a URL. */
const parameters = ['db', 'family', 'sentinel_username', 'sentinel_password'] as const
type Parameters = Partial<Record<(typeof parameters)[number], string>>

/**
 * Reads a Redis URL: `redis://[user:password@]host[:port][/database]`;
 * `redis+sentinel://…@host:port,host:port/primary` for Sentinel;
 * `redis+cluster://…@host:port,host:port` for a cluster; each with `rediss` for TLS. IPv6 addresses
 * stand in brackets. A password may hold colons; `@`, `/`, `?`, `#` and `%` in it are
 * percent-encoded. `?db=` also names the database, `?family=4` or `6` restricts addresses,
 * `?sentinel_username=` and `?sentinel_password=` are for Sentinels whose credentials differ.
 *
 * @throws RedisUrlError
 */
export function parseRedisUrl(url: string): RedisTarget {
  const match = URL_FORM.exec(url)
  if (!match) {
    throw new RedisUrlError(
      'must be redis://host:port, redis+sentinel://host:port,…/primary or redis+cluster://host:port,… (rediss for TLS), ' +
        'with @ / ? # % in a password percent-encoded'
    )
  }
  const [, scheme, form, credentials, hosts = '', path = '', query = ''] = match
  const kind = form === 'sentinel' || form === 'cluster' ? form : 'single'
  const nodes = hosts
    .split(',')
    .map((node) => parseNode(node, kind === 'sentinel' ? DEFAULT_SENTINEL_PORT : DEFAULT_PORT))
  if (kind === 'single' && nodes.length > 1)
    throw new RedisUrlError('names several hosts: write redis+sentinel:// or redis+cluster://')
  const given = parseQuery(query, kind)
  const login = parseLogin(credentials)
  return {
    kind,
    tls: scheme === 'rediss',
    nodes,
    login,
    database: databaseFrom(kind, path, given),
    family: familyFrom(given),
    sentinel:
      kind === 'sentinel'
        ? { primary: primaryFrom(path), login: sentinelLogin(login, given) }
        : null
  }
}

function parseNode(text: string, defaultPort: number): RedisNode {
  const [, ipv6, name, port] = NODE_FORM.exec(text) ?? []
  const host = ipv6 ?? name
  if (host === undefined) {
    throw new RedisUrlError(
      'must name each host as host, host:port or [IPv6 address]:port; @ / ? # % in a password are percent-encoded'
    )
  }
  if (port === undefined) return { host, port: defaultPort }
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
    throw new RedisUrlError(`must have a port from 1 to 65535 behind the host ${host}`)
  return { host, port: Number(port) }
}

function parseLogin(credentials: string | undefined): RedisLogin | null {
  if (!credentials || credentials === ':') return null
  const colon = credentials.indexOf(':')
  const password = colon < 0 ? '' : decode(credentials.slice(colon + 1))
  if (password === '')
    throw new RedisUrlError(
      'names a user without a password: write user:password@, or :password@ for the default user'
    )
  return { username: decode(credentials.slice(0, colon)) || 'default', password }
}

/**
 * Sentinels get the same credentials, unless the URL has others for them. An empty password means
 * none.
 */
function sentinelLogin(
  login: RedisLogin | null,
  { sentinel_username: username, sentinel_password: password }: Parameters
): RedisLogin | null {
  if (password === undefined) {
    if (username !== undefined)
      throw new RedisUrlError('has sentinel_username without sentinel_password')
    return login
  }
  return password === '' ? null : { username: username || 'default', password }
}

function parseQuery(query: string, kind: RedisTarget['kind']): Parameters {
  const given: Parameters = {}
  for (const [name, value] of query === ''
    ? []
    : query.split('&').map((pair) => pair.split(/=(.*)/s, 2) as [string, string?])) {
    const known = parameters.find((parameter) => parameter === name)
    if (!known || (known.startsWith('sentinel') && kind !== 'sentinel'))
      throw new RedisUrlError(`has a parameter that means nothing here: ${name}`)
    if (given[known] !== undefined) throw new RedisUrlError(`has the parameter ${name} twice`)
    given[known] = decode(value ?? '')
  }
  return given
}

function databaseFrom(kind: RedisTarget['kind'], path: string, { db }: Parameters): number {
  const fromPath = kind === 'sentinel' ? '' : path.slice(1)
  if (fromPath !== '' && db !== undefined && fromPath !== db)
    throw new RedisUrlError('names two databases: one in its path, another as db')
  const index = fromPath || (db ?? '')
  if (db === '' || (index !== '' && !/^\d{1,5}$/.test(index)))
    throw new RedisUrlError('must name the database by its number, such as /2')
  if (kind === 'cluster' && Number(index) !== 0)
    throw new RedisUrlError('names a database, and a cluster has only 0')
  return Number(index)
}

function primaryFrom(path: string): string {
  const primary = decode(path.slice(1))
  if (primary.includes('/'))
    throw new RedisUrlError(
      'must name the primary behind the Sentinels by one word, such as /mymaster'
    )
  return primary || DEFAULT_PRIMARY
}

function familyFrom({ family = '0' }: Parameters): RedisTarget['family'] {
  if (family !== '0' && family !== '4' && family !== '6')
    throw new RedisUrlError('has a family that is none of 4, 6 and 0')
  return Number(family) as RedisTarget['family']
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new RedisUrlError(
      'has a percent sign that encodes nothing: write %25 for the sign itself'
    )
  }
}
