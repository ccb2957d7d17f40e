import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { ROLE } from './auth/roles.js'
import { parseRedisUrl, RedisUrlError, type RedisTarget } from './cache/redis-url.js'
import { parseDatabaseUrl } from './database/database-url.js'
import { ConfigError } from './errors.js'
import { neverReport } from './error-report.js'
import { parseGatewayClients } from './gateway/gateway.js'

const seconds = (env: string, defaultValue: number) => Type.Integer({ env, minimum: 1, maximum: 10 * 365 * 86_400, default: defaultValue })
const list = (env: string) => Type.Array(Type.String({ minLength: 1 }), { env, default: [] })

/** The longest life that ACCESS_TOKEN_TTL_SECONDS may give an access token. */
export const LONGEST_ACCESS_TOKEN_SECONDS = 3_600

/** Every setting, its type, its limits, its default and the environment variable that sets it. */
const Settings = Type.Object({
  host: Type.String({ env: 'HOST', minLength: 1, default: '127.0.0.1' }),
  port: Type.Integer({ env: 'PORT', minimum: 0, maximum: 65_535, default: 3000 }),
  baseUrl: Type.Optional(Type.String({ env: 'BASE_URL' })),
  databaseUrl: Type.Optional(Type.String({ env: 'DATABASE_URL', secret: true })),
  databasePoolSize: Type.Integer({ env: 'DATABASE_POOL_SIZE', minimum: 2, maximum: 1000, default: 10 }),
  databaseConnectTimeoutMs: Type.Integer({ env: 'DATABASE_CONNECT_TIMEOUT_MS', minimum: 100, maximum: 60_000, default: 5_000 }),
  databasePreparedStatements: Type.Union([Type.Literal('auto'), Type.Literal('on'), Type.Literal('off')], { env: 'DATABASE_PREPARED_STATEMENTS', default: 'auto' }),
  dataDir: Type.String({ env: 'DATA_DIR', minLength: 1, default: '.data' }),
  redisUrl: Type.Optional(Type.String({ env: 'REDIS_URL', secret: true })),
  redisCaFile: Type.Optional(Type.String({ env: 'REDIS_CA_FILE', minLength: 1 })),
  authSecret: Type.Optional(Type.String({ env: 'AUTH_SECRET', secret: true })),
  authSecretPrevious: Type.Array(Type.String({ minLength: 1 }), { env: 'AUTH_SECRET_PREVIOUS', secret: true, default: [] }),
  gatewayClients: Type.Array(Type.String({ minLength: 1 }), { env: 'GATEWAY_CLIENTS', secret: true, default: [] }),
  trustedProxies: list('TRUSTED_PROXIES'),
  trustedOrigins: list('TRUSTED_ORIGINS'),
  workers: Type.Integer({ env: 'WORKERS', minimum: 1, maximum: 64, default: 1 }),
  drainDelayMs: Type.Integer({ env: 'DRAIN_DELAY_MS', minimum: 0, maximum: 60_000, default: 2_000 }),
  metricsPort: Type.Optional(Type.Integer({ env: 'METRICS_PORT', minimum: 1, maximum: 65_535 })),
  metricsHost: Type.String({ env: 'METRICS_HOST', minLength: 1, default: '127.0.0.1' }),
  // Node's own default, and four times that: room for the cookies of other applications on the same domain.
  maxHeaderBytes: Type.Integer({ env: 'MAX_HEADER_BYTES', minimum: 8_192, maximum: 65_536, default: 16_384 }),
  keepAliveTimeoutSeconds: Type.Integer({ env: 'KEEP_ALIVE_TIMEOUT_SECONDS', minimum: 1, maximum: 3_600, default: 72 }),
  otlpEndpoint: Type.Optional(Type.String({ env: 'OTEL_EXPORTER_OTLP_ENDPOINT' })),
  cookieDomain: Type.Optional(Type.String({ env: 'COOKIE_DOMAIN', pattern: '^[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+$' })),
  signUp: Type.Union([Type.Literal('open'), Type.Literal('closed')], { env: 'SIGN_UP', default: 'open' }),
  oneTimeTokens: Type.Boolean({ env: 'ONE_TIME_TOKENS', default: false }),
  roles: list('ROLES'),
  sessionIdleTtlSeconds: seconds('SESSION_IDLE_TTL_SECONDS', 604_800),
  sessionAbsoluteTtlSeconds: seconds('SESSION_ABSOLUTE_TTL_SECONDS', 7_776_000),
  sessionRetentionSeconds: seconds('SESSION_RETENTION_SECONDS', 2_592_000),
  // One statement must be able to end them all: hence the limit.
  maxSessionsPerUser: Type.Integer({ env: 'MAX_SESSIONS_PER_USER', minimum: 1, maximum: 1_000, default: 200 }),
  refreshGraceSeconds: Type.Integer({ env: 'REFRESH_GRACE_SECONDS', minimum: 0, maximum: 600, default: 30 }),
  // A retired signing key stays published for the longest life that any token can have: hence the limit.
  accessTokenTtlSeconds: Type.Integer({ env: 'ACCESS_TOKEN_TTL_SECONDS', minimum: 1, maximum: LONGEST_ACCESS_TOKEN_SECONDS, default: 300 }),
  accessTokenAudience: Type.Optional(Type.String({ env: 'ACCESS_TOKEN_AUDIENCE', minLength: 1, maxLength: 200 })),
  localCache: Type.Boolean({ env: 'LOCAL_CACHE', default: true }),
  nodeLeaseMs: Type.Integer({ env: 'NODE_LEASE_MS', minimum: 200, maximum: 60_000, default: 1_000 }),
  cacheTtlSeconds: Type.Integer({ env: 'CACHE_TTL_SECONDS', minimum: 1, maximum: 3_600, default: 60 }),
  rateLimit: Type.Boolean({ env: 'RATE_LIMIT', default: true }),
  logLevel: Type.Union([
    Type.Literal('fatal'), Type.Literal('error'), Type.Literal('warn'), Type.Literal('info'), Type.Literal('debug'), Type.Literal('trace'), Type.Literal('silent')
  ], { env: 'LOG_LEVEL', default: 'info' })
})

type Settings = Static<typeof Settings>

/** What a caller of the plugin may set; all of it optional. */
export type HoldfastOptions = Partial<Settings>

/** Settings that have been checked, with their defaults. Times are in seconds. */
export type Config = Readonly<Settings & { baseUrl: string }>

export { ConfigError }

const storeSettings = ['databaseUrl', 'databasePoolSize', 'databaseConnectTimeoutMs', 'databasePreparedStatements', 'dataDir'] as const

/** The settings that say where the store is, and how it is reached. */
export type StoreConfig = Pick<Config, (typeof storeSettings)[number]>

/**
 * Reads the settings from environment variables. Each secret may also come from a file that `<NAME>_FILE` names.
 *
 * @throws ConfigError naming the first wrong variable
 */
export function optionsFromEnvironment(env: NodeJS.ProcessEnv): HoldfastOptions {
  return read(env, Object.keys(Settings.properties))
}

function read(env: NodeJS.ProcessEnv, keys: readonly string[]): HoldfastOptions {
  const options: Record<string, unknown> = {}
  for (const [key, schema] of Object.entries(Settings.properties).filter(([key]) => keys.includes(key))) {
    const setting = schema as unknown as { env: string, type?: string, secret?: boolean }
    const raw = setting.secret ? secretFrom(env, setting.env) : env[setting.env]
    if (raw !== undefined && raw !== '') options[key] = parse(raw.trim(), setting.type)
  }
  return options
}

// better-auth reads these behind its options: another secret would sign everybody out, other origins would be trusted.
const foreign = ['BETTER_AUTH_SECRETS', 'BETTER_AUTH_TRUSTED_ORIGINS', 'BETTER_AUTH_TELEMETRY']

/**
 * Refuses an environment that would change better-auth behind our configuration.
 *
 * @throws ConfigError naming the variable
 */
export function refuseForeignVariables(env: NodeJS.ProcessEnv): void {
  const found = foreign.find((name) => env[name])
  if (found !== undefined) throw new ConfigError(`${found}: must not be set: it would override Holdfast's own settings`)
}

/**
 * Checks settings and adds the defaults.
 *
 * @throws ConfigError naming the first wrong setting by its environment variable
 */
export function resolveConfig(options: HoldfastOptions): Config {
  const unknown = Object.keys(options).find((key) => !(key in Settings.properties) && key !== 'baseUrl')
  if (unknown !== undefined) throw new ConfigError(`${unknown}: there is no such setting`)
  const settings = withDefaults(options)
  const config = { ...settings, baseUrl: baseUrlOf(settings) }
  checkTogether(config)
  return Object.freeze(config)
}

/**
 * Reads the settings of the store, and no others: what works on the store alone needs no address and no secret.
 *
 * @throws ConfigError naming the first wrong one by its environment variable
 */
export function storeConfigFrom(env: NodeJS.ProcessEnv): StoreConfig {
  const settings = withDefaults(read(env, storeSettings))
  if (settings.databaseUrl !== undefined) parseDatabaseUrl(settings.databaseUrl)
  return settings
}

function withDefaults(options: HoldfastOptions): Settings {
  const known = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const settings = Value.Default(Settings, known) as Settings
  neverReport(secretsIn(settings))
  for (const [key, schema] of Object.entries(Settings.properties)) {
    const value = settings[key as keyof Settings]
    if (value !== undefined && !Value.Check(schema, value)) throw wrong(schema, value)
  }
  return settings
}

/** The settings that hold secrets, by their names in the environment. */
export const secretSettings: readonly string[] = Object.values(Settings.properties).flatMap((schema) => {
  const { env, secret } = schema as unknown as { env: string, secret?: boolean }
  return secret ? [env] : []
})

/** The values of secret settings, and the passwords within them: of a URL, of `id:secret`. */
function secretsIn(settings: Settings): string[] {
  return Object.entries(Settings.properties).flatMap(([key, schema]) => {
    if (!('secret' in schema)) return []
    return [settings[key as keyof Settings] ?? []].flat().map(String).flatMap((value) => [value, ...passwordsIn(value)])
  })
}

function passwordsIn(value: string): string[] {
  const [, ofUrl] = /^[a-z+]+:\/\/[^:@/]*:(.*)@/i.exec(value) ?? []
  const first = ofUrl ?? /^[^:]+:([^/].*)$/s.exec(value)?.[1]
  const further = [...value.matchAll(/[?&][^=&]*password=([^&#]*)/gi)].map(([, password = '']) => password)
  return [...(first === undefined ? [] : [first]), ...further].flatMap((password) => [password, decodeOr(password)])
}

function decodeOr(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function parse(raw: string, type: string | undefined): unknown {
  if (type === 'integer') return /^-?\d+$/.test(raw) ? Number(raw) : raw
  if (type === 'boolean') return raw === 'on' || raw === 'true' ? true : raw === 'off' || raw === 'false' ? false : raw
  if (type === 'array') return raw.split(/[,\n]/).map((item) => item.trim()).filter(Boolean)
  return raw
}

function secretFrom(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const path = env[`${name}_FILE`]
  if (!path) return env[name]
  if (env[name]) throw new ConfigError(`${name} and ${name}_FILE are both set: set one of them`)
  return readText(`${name}_FILE`, path).trim()
}

function wrong(schema: object, value: unknown): ConfigError {
  const setting = schema as { env: string, type?: string, secret?: boolean, minimum?: number, maximum?: number, anyOf?: { const: string }[] }
  const shown = setting.secret ? '' : ` (it is ${JSON.stringify(value)})`
  if (setting.anyOf) return new ConfigError(`${setting.env}: must be one of ${setting.anyOf.map((option) => option.const).join(', ')}${shown}`)
  if (setting.type === 'integer') return new ConfigError(`${setting.env}: must be a whole number from ${setting.minimum} to ${setting.maximum}${shown}`)
  if (setting.type === 'boolean') return new ConfigError(`${setting.env}: must be on or off${shown}`)
  return new ConfigError(`${setting.env}: is not valid${shown}`)
}

function baseUrlOf({ baseUrl, databaseUrl, host, port }: Settings): string {
  if (baseUrl === undefined) {
    if (databaseUrl !== undefined) throw new ConfigError('BASE_URL: is required with DATABASE_URL (the public address of this server, such as https://auth.example.com)')
    if (!isLoopback(host)) throw new ConfigError(`BASE_URL: is required when HOST is not loopback (it is ${JSON.stringify(host)})`)
    return `http://localhost:${port}`
  }
  const url = parseUrl(baseUrl, ['http:', 'https:'])
  if (!url || url.pathname !== '/' || url.search || url.hash || url.username) {
    throw new ConfigError(`BASE_URL: must be an http or https origin without a path (it is ${JSON.stringify(baseUrl)})`)
  }
  return url.origin
}

function checkTogether(config: Config): void {
  const { databaseUrl, redisUrl, authSecret, authSecretPrevious, trustedProxies, trustedOrigins } = config
  if (databaseUrl !== undefined) parseDatabaseUrl(databaseUrl)
  checkRedis(config)
  if (databaseUrl !== undefined && authSecret === undefined) throw new ConfigError('AUTH_SECRET: is required with DATABASE_URL (32 bytes or more, such as the output of `openssl rand -base64 48`)')
  if (authSecret !== undefined) checkSecret('AUTH_SECRET', authSecret)
  for (const previous of authSecretPrevious) checkSecret('AUTH_SECRET_PREVIOUS', previous)
  if (new Set([authSecret, ...authSecretPrevious]).size <= authSecretPrevious.length) throw new ConfigError('AUTH_SECRET_PREVIOUS: must not repeat a secret, or name the one in AUTH_SECRET')
  if (!parseGatewayClients(config.gatewayClients)) {
    throw new ConfigError('GATEWAY_CLIENTS: must be id:secret, separated by commas; both of the characters A-Z, a-z, 0-9, _ and -, a secret 32 of them or more, an id twice at most')
  }
  const badRole = config.roles.find((role) => !ROLE.test(role))
  if (badRole !== undefined) throw new ConfigError(`ROLES: must be names of the characters A-Z, a-z, 0-9, ., _, : and -, 64 of them at most (${JSON.stringify(badRole)} is none)`)
  const badProxy = trustedProxies.find((proxy) => !isCidr(proxy))
  if (badProxy !== undefined) throw new ConfigError(`TRUSTED_PROXIES: must be addresses or CIDR ranges (${JSON.stringify(badProxy)} is none)`)
  const badOrigin = trustedOrigins.find((origin) => !isOrigin(origin))
  if (badOrigin !== undefined) throw new ConfigError(`TRUSTED_ORIGINS: must be origins such as https://app.example.com or capacitor://localhost (${JSON.stringify(badOrigin)} is none)`)
  const { hostname, protocol } = new URL(config.baseUrl)
  if (config.cookieDomain !== undefined && hostname !== config.cookieDomain && !hostname.endsWith(`.${config.cookieDomain}`)) {
    throw new ConfigError(`COOKIE_DOMAIN: must be the host of BASE_URL or a domain above it (${config.cookieDomain} is not above ${hostname}, and browsers would drop the cookie)`)
  }
  if (config.cookieDomain !== undefined && protocol !== 'https:') throw new ConfigError('COOKIE_DOMAIN: needs an https BASE_URL')
  if (config.workers > 1 && (databaseUrl === undefined || redisUrl === undefined)) {
    throw new ConfigError(`WORKERS: more than one need DATABASE_URL and REDIS_URL, through which they hear of each other's revocations (it is ${config.workers})`)
  }
  if (config.otlpEndpoint !== undefined && !parseUrl(config.otlpEndpoint, ['http:', 'https:'])) throw new ConfigError('OTEL_EXPORTER_OTLP_ENDPOINT: must be an http or https URL')
  if (config.metricsPort !== undefined && config.metricsPort === config.port) throw new ConfigError('METRICS_PORT: must not be PORT')
  if (config.sessionIdleTtlSeconds > config.sessionAbsoluteTtlSeconds) throw new ConfigError('SESSION_IDLE_TTL_SECONDS: must not be longer than SESSION_ABSOLUTE_TTL_SECONDS')
}

/** Redis is reached when the server runs: what can be known to be wrong is told before. */
function checkRedis({ redisUrl, redisCaFile }: Settings): void {
  const target = redisUrl === undefined ? null : readRedisUrl(redisUrl)
  if (redisCaFile === undefined) return
  if (!target?.tls) throw new ConfigError('REDIS_CA_FILE: needs a REDIS_URL that begins with rediss')
  const pem = readText('REDIS_CA_FILE', redisCaFile)
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new ConfigError(`REDIS_CA_FILE: holds no certificate in PEM form (${redisCaFile})`)
}

function readRedisUrl(url: string): RedisTarget {
  try {
    return parseRedisUrl(url)
  } catch (error) {
    throw error instanceof RedisUrlError ? new ConfigError(`REDIS_URL: ${error.message}`) : error
  }
}

function readText(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(`${name}: the file cannot be read (${path})`, { cause: error })
  }
}

function checkSecret(name: string, secret: string): void {
  if (Buffer.byteLength(secret) < 32) throw new ConfigError(`${name}: must be 32 bytes or more`)
  if (new Set(secret).size < 10) throw new ConfigError(`${name}: must be random (such as the output of \`openssl rand -base64 48\`)`)
}

/** Whether a host name or address can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'))
}

function parseUrl(value: string, protocols: string[]): URL | null {
  const url = URL.canParse(value) ? new URL(value) : null
  return url && protocols.includes(url.protocol) ? url : null
}

// What apps in a web view and browser extensions send as their origin: a scheme of their own, and a host.
const APP_ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/[A-Za-z0-9._-]+(:\d{1,5})?$/
/** Any page can have an address of these; their origin is "null" or somebody else's. */
const NO_APP = new Set(['about', 'blob', 'data', 'file', 'filesystem', 'ftp', 'http', 'https', 'javascript', 'view-source', 'vbscript', 'ws', 'wss'])

/** Whether a text is an origin just as a browser writes it: origins are compared as texts. */
function isOrigin(text: string): boolean {
  if (/^https?:/i.test(text)) return !/[*?]/.test(text) && parseUrl(text, ['http:', 'https:'])?.origin === text
  const scheme = APP_ORIGIN.exec(text)?.[1]
  return scheme !== undefined && !NO_APP.has(scheme)
}

function isCidr(value: string): boolean {
  const [address = '', bits, rest] = value.split('/')
  const version = isIP(address)
  if (!version || rest !== undefined) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}
