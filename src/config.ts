import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { Type, type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { ROLE } from './roles.js'
import { parseRedisUrl, RedisUrlError, type RedisTarget } from './redis/redis-url.js'
import { parseDatabaseUrl } from './database/database-url.js'
import { ConfigError } from './errors.js'
import { LONGEST_ACCESS_TOKEN_SECONDS } from './limits.js'
import { neverReport } from './error-report.js'
import { parseGatewayClients } from './gateway/gateway.js'
import { nearNames } from './near-names.js'

const seconds = (env: string, defaultValue: number) =>
  Type.Integer({ env, minimum: 1, maximum: 10 * 365 * 86_400, default: defaultValue })
// A name, an IPv4 or an IPv6 address, the last with or without brackets.
const hostOptions = {
  pattern:
    '^([A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[^\\]]+)?|\\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[^\\]]+)?\\])$',
  mustBe: 'a host name or an address'
} as const
// A colon separates the name from the account in authenticator apps.
const APP_NAME = '^(?=.*\\S)[^:\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]{1,64}$'
const list = (env: string) => Type.Array(Type.String({ minLength: 1 }), { env, default: [] })

/** Every setting, its type, its limits, its default and the environment variable that sets it. */
const Settings = Type.Object({
  host: Type.String({ env: 'HOST', ...hostOptions, default: '127.0.0.1' }),
  port: Type.Integer({ env: 'PORT', minimum: 0, maximum: 65_535, default: 3000 }),
  baseUrl: Type.Optional(Type.String({ env: 'BASE_URL' })),
  databaseUrl: Type.Optional(Type.String({ env: 'DATABASE_URL', secret: true })),
  databasePoolSize: Type.Integer({
    env: 'DATABASE_POOL_SIZE',
    minimum: 2,
    maximum: 1000,
    default: 10
  }),
  databaseConnectTimeoutMs: Type.Integer({
    env: 'DATABASE_CONNECT_TIMEOUT_MS',
    minimum: 100,
    maximum: 60_000,
    default: 5_000
  }),
  databasePreparedStatements: Type.Union(
    [Type.Literal('auto'), Type.Literal('on'), Type.Literal('off')],
    { env: 'DATABASE_PREPARED_STATEMENTS', default: 'auto' }
  ),
  dataDir: Type.String({ env: 'DATA_DIR', minLength: 1, default: '.data' }),
  redisUrl: Type.Optional(Type.String({ env: 'REDIS_URL', secret: true })),
  redisCaFile: Type.Optional(Type.String({ env: 'REDIS_CA_FILE', minLength: 1 })),
  authSecret: Type.Optional(Type.String({ env: 'AUTH_SECRET', secret: true })),
  authSecretPrevious: Type.Array(Type.String({ minLength: 1 }), {
    env: 'AUTH_SECRET_PREVIOUS',
    secret: true,
    default: []
  }),
  gatewayClients: Type.Array(Type.String({ minLength: 1 }), {
    env: 'GATEWAY_CLIENTS',
    secret: true,
    default: []
  }),
  trustedProxies: list('TRUSTED_PROXIES'),
  trustedOrigins: list('TRUSTED_ORIGINS'),
  workers: Type.Integer({ env: 'WORKERS', minimum: 1, maximum: 64, default: 1 }),
  drainDelayMs: Type.Integer({
    env: 'DRAIN_DELAY_MS',
    minimum: 0,
    maximum: 60_000,
    default: 2_000
  }),
  metricsPort: Type.Optional(Type.Integer({ env: 'METRICS_PORT', minimum: 1, maximum: 65_535 })),
  metricsHost: Type.String({ env: 'METRICS_HOST', ...hostOptions, default: '127.0.0.1' }),
  // Default: Node's own. Maximum: four times that, because other applications on the same domain
  // have cookies too.
  maxHeaderBytes: Type.Integer({
    env: 'MAX_HEADER_BYTES',
    minimum: 8_192,
    maximum: 65_536,
    default: 16_384
  }),
  keepAliveTimeoutSeconds: Type.Integer({
    env: 'KEEP_ALIVE_TIMEOUT_SECONDS',
    minimum: 1,
    maximum: 3_600,
    default: 72
  }),
  otlpEndpoint: Type.Optional(Type.String({ env: 'OTEL_EXPORTER_OTLP_ENDPOINT' })),
  cookieDomain: Type.Optional(
    Type.String({ env: 'COOKIE_DOMAIN', pattern: '^[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+$' })
  ),
  appName: Type.String({
    env: 'APP_NAME',
    pattern: APP_NAME,
    mustBe: 'a name of 1 to 64 characters, without a colon',
    default: 'Holdfast'
  }),
  signUp: Type.Union([Type.Literal('open'), Type.Literal('closed')], {
    env: 'SIGN_UP',
    default: 'open'
  }),
  oneTimeTokens: Type.Boolean({ env: 'ONE_TIME_TOKENS', default: false }),
  roles: list('ROLES'),
  sessionIdleTtlSeconds: seconds('SESSION_IDLE_TTL_SECONDS', 604_800),
  sessionAbsoluteTtlSeconds: seconds('SESSION_ABSOLUTE_TTL_SECONDS', 7_776_000),
  sessionRetentionSeconds: seconds('SESSION_RETENTION_SECONDS', 2_592_000),
  accountEventRetentionSeconds: seconds('ACCOUNT_EVENT_RETENTION_SECONDS', 7_776_000),
  // One statement must be able to end them all, hence the limit.
  maxSessionsPerUser: Type.Integer({
    env: 'MAX_SESSIONS_PER_USER',
    minimum: 1,
    maximum: 1_000,
    default: 200
  }),
  refreshGraceSeconds: Type.Integer({
    env: 'REFRESH_GRACE_SECONDS',
    minimum: 0,
    maximum: 600,
    default: 30
  }),
  // A retired signing key stays published for the longest life that a token can have, hence the
  // limit.
  accessTokenTtlSeconds: Type.Integer({
    env: 'ACCESS_TOKEN_TTL_SECONDS',
    minimum: 1,
    maximum: LONGEST_ACCESS_TOKEN_SECONDS,
    default: 300
  }),
  accessTokenAudience: Type.Optional(
    Type.String({ env: 'ACCESS_TOKEN_AUDIENCE', minLength: 1, maxLength: 200 })
  ),
  localCache: Type.Boolean({ env: 'LOCAL_CACHE', default: true }),
  nodeLeaseMs: Type.Integer({
    env: 'NODE_LEASE_MS',
    minimum: 200,
    maximum: 60_000,
    default: 1_000
  }),
  cacheTtlSeconds: Type.Integer({
    env: 'CACHE_TTL_SECONDS',
    minimum: 1,
    maximum: 3_600,
    default: 60
  }),
  rateLimit: Type.Boolean({ env: 'RATE_LIMIT', default: true }),
  logLevel: Type.Union(
    [
      Type.Literal('fatal'),
      Type.Literal('error'),
      Type.Literal('warn'),
      Type.Literal('info'),
      Type.Literal('debug'),
      Type.Literal('trace'),
      Type.Literal('silent')
    ],
    { env: 'LOG_LEVEL', default: 'info' }
  )
})

type Settings = Static<typeof Settings>
type Key = keyof Settings

/** Our additions to a setting's schema. */
interface SettingSchema {
  env: string
  type?: string
  secret?: boolean
  minimum?: number
  maximum?: number
  anyOf?: { const: string }[]
  /** What to say where the value does not match its pattern. */
  mustBe?: string
}

/** The settings that a caller of the plugin may give. All are optional. */
export type HoldfastOptions = {
  [Name in keyof Settings]?: Settings[Name] | (Name extends 'logLevel' ? never : undefined)
}

/** Validated settings, with their defaults. Times are in seconds. */
export type Config = Readonly<Settings & { baseUrl: string }>

const storeSettings = [
  'databaseUrl',
  'databasePoolSize',
  'databaseConnectTimeoutMs',
  'databasePreparedStatements',
  'dataDir'
] as const

/** The settings of the store and its connection. */
export type StoreConfig = Pick<Config, (typeof storeSettings)[number]>

/**
 * Reads the settings from environment variables. Each secret may also come from a file that
 * `<NAME>_FILE` names.
 *
 * @throws ConfigError naming every variable that cannot be read
 */
export function optionsFromEnvironment(env: NodeJS.ProcessEnv): HoldfastOptions {
  const problems = new Problems()
  const options = read(env, Object.keys(Settings.properties) as Key[], problems)
  problems.throwIfAny()
  return options
}

/** The settings in the environment, and variables that look like misspelt names of settings. */
export interface EnvironmentConfig {
  config: Config
  /** A line for each variable that looks like a setting but is not one. */
  misspelt: string[]
}

/**
 * Reads and checks the whole environment.
 *
 * @throws ConfigError naming everything that is wrong, and what may be misspelt
 */
export function configFromEnvironment(env: NodeJS.ProcessEnv): EnvironmentConfig {
  const problems = new Problems()
  for (const name of foreignVariables(env)) problems.add(foreignMessage(name))
  const config = resolve(read(env, Object.keys(Settings.properties) as Key[], problems), problems)
  const misspelt = misspeltVariables(env)
  problems.throwIfAny(misspelt)
  return { config, misspelt }
}

function read(env: NodeJS.ProcessEnv, keys: readonly Key[], problems: Problems): HoldfastOptions {
  const options: Record<string, unknown> = {}
  for (const key of keys) {
    const setting = Settings.properties[key] as unknown as SettingSchema
    const raw = problems.attempt([key], () =>
      setting.secret ? secretFrom(env, setting.env) : env[setting.env]
    )
    if (raw !== undefined && raw !== '') options[key] = parse(raw.trim(), setting.type)
  }
  return options
}

/** Collects all problems, so that an operator sees every mistake at the first start. */
class Problems {
  readonly #messages: string[] = []
  readonly #wrong = new Set<Key>()

  add(message: string, key?: Key): void {
    this.#messages.push(message)
    if (key !== undefined) this.#wrong.add(key)
  }

  /**
   * Runs a check of `keys`, and records the ConfigError that it throws under the first of them. A
   * setting that is known to be wrong is not checked again, because further errors would only
   * follow from it.
   */
  attempt<T>(keys: readonly [Key, ...Key[]], check: () => T): T | undefined {
    if (keys.some((key) => this.#wrong.has(key))) return undefined
    try {
      return check()
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      this.add(error.message, keys[0])
      return undefined
    }
  }

  throwIfAny(hints: readonly string[] = []): void {
    if (this.#messages.length > 0) throw new ConfigError([...this.#messages, ...hints])
  }
}

/** The names of all variables that are read. */
function knownVariables(): Set<string> {
  const schemas = Object.values(Settings.properties) as unknown as SettingSchema[]
  return new Set(schemas.flatMap(({ env, secret }) => (secret ? [env, `${env}_FILE`] : [env])))
}

// Kubernetes gives every pod such variables for a Service, whatever its name.
const SERVICE_LINK = /^(tcp|udp|sctp):\/\//
const UNITS = /_(SECONDS|MS|BYTES)$/

/**
 * A line for each variable whose name almost matches a setting that is not set. Values are never
 * shown.
 */
function misspeltVariables(env: NodeJS.ProcessEnv): string[] {
  const known = knownVariables()
  const unset = [...known].filter((name) => !env[name])
  return Object.keys(env).flatMap((name) => {
    if (known.has(name) || !env[name] || SERVICE_LINK.test(env[name]) || name.startsWith('npm_'))
      return []
    const plain = name.replace(/^HOLDFAST_/i, '')
    const [meant] = [
      ...unset.filter((candidate) => candidate.replace(UNITS, '') === plain),
      ...nearNames(plain, unset)
    ]
    return meant === undefined ? [] : [`${name}: is no setting, and is not read: ${meant} is one`]
  })
}

// better-auth reads these variables past its options. With another secret every user would be
// signed out; with other origins, those would be trusted.
const foreign = ['BETTER_AUTH_SECRETS', 'BETTER_AUTH_TRUSTED_ORIGINS', 'BETTER_AUTH_TELEMETRY']

const foreignVariables = (env: NodeJS.ProcessEnv) => foreign.filter((name) => env[name])
const foreignMessage = (name: string) =>
  `${name}: must not be set: it would override Holdfast's own settings`

/**
 * Refuses an environment that would override our configuration of better-auth.
 *
 * @throws ConfigError naming the variables
 */
export function refuseForeignVariables(env: NodeJS.ProcessEnv): void {
  const found = foreignVariables(env)
  if (found.length > 0) throw new ConfigError(found.map(foreignMessage))
}

/**
 * Checks settings and adds the defaults.
 *
 * @throws ConfigError naming every wrong setting by its environment variable
 */
export function resolveConfig(options: HoldfastOptions): Config {
  const problems = new Problems()
  const config = resolve(options, problems)
  problems.throwIfAny()
  return config
}

function resolve(options: HoldfastOptions, problems: Problems): Config {
  for (const key of Object.keys(options))
    if (!(key in Settings.properties)) problems.add(`${key}: there is no such setting`)
  const settings = withDefaults(options, problems)
  const baseUrl =
    problems.attempt(['baseUrl', 'databaseUrl', 'host'], () => baseUrlFrom(settings)) ?? ''
  const config = { ...settings, baseUrl }
  for (const { keys, check } of rules) problems.attempt(keys, () => check(config))
  return Object.freeze(config)
}

/**
 * Reads only the settings of the store: a command that works on the store alone needs no address
 * and no secret.
 *
 * @throws ConfigError naming every wrong one by its environment variable
 */
export function storeConfigFrom(env: NodeJS.ProcessEnv): {
  config: StoreConfig
  misspelt: string[]
} {
  const problems = new Problems()
  const config = withDefaults(read(env, storeSettings, problems), problems)
  problems.attempt(['databaseUrl'], () => {
    if (config.databaseUrl !== undefined) parseDatabaseUrl(config.databaseUrl)
  })
  const misspelt = misspeltVariables(env)
  problems.throwIfAny(misspelt)
  return { config, misspelt }
}

/**
 * Adds the defaults. Wrong settings are reported and left out, so that the others can be checked.
 */
function withDefaults(options: HoldfastOptions, problems: Problems): Settings {
  neverReport(secretsIn(options))
  const right = Object.entries(options).filter(([name, value]) => {
    const schema =
      value === undefined ? undefined : (Settings.properties as Record<string, TSchema>)[name]
    if (schema === undefined) return false
    const isRight = Value.Check(schema, value)
    if (!isRight)
      problems.add(describeWrong(schema as unknown as SettingSchema, value), name as Key)
    return isRight
  })
  const settings = Value.Default(Settings, Object.fromEntries(right)) as Settings
  return {
    ...settings,
    host: withoutBrackets(settings.host),
    metricsHost: withoutBrackets(settings.metricsHost)
  }
}

// In a URL an IPv6 address has brackets.
function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1')
}

/** The settings that hold secrets, by their names in the environment. */
export const secretSettings: readonly string[] = Object.values(Settings.properties).flatMap(
  (schema) => {
    const { env, secret } = schema as unknown as { env: string; secret?: boolean }
    return secret ? [env] : []
  }
)

/** The values of secret settings, and the passwords within them: of a URL, of `id:secret`. */
function secretsIn(options: HoldfastOptions): string[] {
  return Object.entries(Settings.properties).flatMap(([key, schema]) => {
    if (!('secret' in schema)) return []
    return [options[key as Key] ?? []]
      .flat()
      .map(String)
      .flatMap((value) => [value, ...passwordsIn(value)])
  })
}

function passwordsIn(value: string): string[] {
  const [, ofUrl] = /^[a-z+]+:\/\/[^:@/]*:(.*)@/i.exec(value) ?? []
  const first = ofUrl ?? /^[^:]+:([^/].*)$/s.exec(value)?.[1]
  const further = [...value.matchAll(/[?&][^=&]*password=([^&#]*)/gi)].map(
    ([, password = '']) => password
  )
  return [...(first === undefined ? [] : [first]), ...further].flatMap((password) => [
    password,
    decodeOr(password)
  ])
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
  if (type === 'boolean')
    return raw === 'on' || raw === 'true' ? true : raw === 'off' || raw === 'false' ? false : raw
  if (type === 'array')
    return raw
      .split(/[,\n]/)
      .map((item) => item.trim())
      .filter(Boolean)
  return raw
}

function secretFrom(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const path = env[`${name}_FILE`]
  if (!path) return env[name]
  if (env[name]) throw new ConfigError(`${name} and ${name}_FILE are both set: set one of them`)
  return readText(`${name}_FILE`, path).trim()
}

function describeWrong(
  { env, type, secret, minimum, maximum, anyOf, mustBe }: SettingSchema,
  value: unknown
): string {
  const shown = secret ? '' : ` (it is ${JSON.stringify(value)})`
  const [, service] = /^(.+)_PORT$/.exec(env) ?? []
  const origin =
    service !== undefined && typeof value === 'string' && SERVICE_LINK.test(value)
      ? `. Kubernetes sets this variable for a Service of the name ${service.toLowerCase()}: write \`enableServiceLinks: false\` into the pod's spec, or give the Service another name`
      : ''
  if (mustBe) return `${env}: must be ${mustBe}${shown}`
  if (anyOf)
    return `${env}: must be one of ${anyOf.map((option) => option.const).join(', ')}${shown}`
  if (type === 'integer')
    return `${env}: must be a whole number from ${minimum} to ${maximum}${shown}${origin}`
  if (type === 'boolean') return `${env}: must be on or off${shown}`
  return `${env}: is not valid${shown}`
}

function baseUrlFrom({ baseUrl, databaseUrl, host, port }: Settings): string {
  if (baseUrl === undefined) {
    if (databaseUrl !== undefined)
      throw new ConfigError(
        'BASE_URL: is required with DATABASE_URL (the public address of this server, such as https://auth.example.com)'
      )
    if (!isLoopback(host))
      throw new ConfigError(
        `BASE_URL: is required when HOST is not loopback (it is ${JSON.stringify(host)})`
      )
    return `http://localhost:${port}`
  }
  const url = parseUrl(baseUrl, ['http:', 'https:'])
  if (!url || url.pathname !== '/' || url.search || url.hash || url.username) {
    throw new ConfigError(
      `BASE_URL: must be an http or https origin without a path (it is ${JSON.stringify(baseUrl)})`
    )
  }
  return url.origin
}

/**
 * A rule for a setting beyond its type, or for several together. Its errors name the first of
 * `keys`.
 */
interface Rule {
  keys: [Key, ...Key[]]
  /** @throws ConfigError */
  check: (config: Config) => void
}

const rules: Rule[] = [
  {
    keys: ['authSecret'],
    check: ({ authSecret }) => {
      if (authSecret !== undefined) checkSecret('AUTH_SECRET', authSecret)
    }
  },
  { keys: ['authSecret', 'databaseUrl'], check: requireSecret },
  {
    keys: ['authSecretPrevious'],
    check: ({ authSecretPrevious }) =>
      authSecretPrevious.forEach((secret) => checkSecret('AUTH_SECRET_PREVIOUS', secret))
  },
  { keys: ['authSecretPrevious', 'authSecret'], check: refuseRepeatedSecrets },
  {
    keys: ['databaseUrl'],
    check: ({ databaseUrl }) => {
      if (databaseUrl !== undefined) parseDatabaseUrl(databaseUrl)
    }
  },
  {
    keys: ['redisUrl'],
    check: ({ redisUrl }) => {
      if (redisUrl !== undefined) readRedisUrl(redisUrl)
    }
  },
  { keys: ['redisCaFile', 'redisUrl'], check: checkRedisCa },
  { keys: ['gatewayClients'], check: checkGateways },
  { keys: ['roles'], check: checkRoles },
  { keys: ['trustedProxies'], check: checkProxies },
  { keys: ['trustedOrigins'], check: checkOrigins },
  { keys: ['cookieDomain', 'baseUrl'], check: checkCookieDomain },
  { keys: ['workers', 'databaseUrl', 'redisUrl'], check: checkWorkers },
  { keys: ['otlpEndpoint'], check: checkOtlpEndpoint },
  { keys: ['metricsPort', 'port'], check: checkMetricsPort },
  { keys: ['sessionIdleTtlSeconds', 'sessionAbsoluteTtlSeconds'], check: checkTtls }
]

function requireSecret({ databaseUrl, authSecret }: Config): void {
  if (databaseUrl !== undefined && authSecret === undefined)
    throw new ConfigError(
      'AUTH_SECRET: is required with DATABASE_URL (32 bytes or more, such as the output of `openssl rand -base64 48`)'
    )
}

function refuseRepeatedSecrets({ authSecret, authSecretPrevious }: Config): void {
  if (new Set([authSecret, ...authSecretPrevious]).size <= authSecretPrevious.length) {
    throw new ConfigError(
      'AUTH_SECRET_PREVIOUS: must not repeat a secret, or name the one in AUTH_SECRET'
    )
  }
}

function checkGateways({ gatewayClients }: Config): void {
  if (parseGatewayClients(gatewayClients)) return
  throw new ConfigError(
    'GATEWAY_CLIENTS: must be id:secret, separated by commas; both of the characters A-Z, a-z, 0-9, _ and -, a secret 32 of them or more, an id twice at most'
  )
}

function checkRoles({ roles }: Config): void {
  const wrong = roles.find((role) => !ROLE.test(role))
  if (wrong !== undefined)
    throw new ConfigError(
      `ROLES: must be names of the characters A-Z, a-z, 0-9, ., _, : and -, 64 of them at most (${JSON.stringify(wrong)} is none)`
    )
}

function checkProxies({ trustedProxies }: Config): void {
  const wrong = trustedProxies.find((proxy) => !isCidr(proxy))
  if (wrong !== undefined)
    throw new ConfigError(
      `TRUSTED_PROXIES: must be addresses or CIDR ranges (${JSON.stringify(wrong)} is none)`
    )
}

function checkOrigins({ trustedOrigins }: Config): void {
  const wrong = trustedOrigins.find((origin) => !isOrigin(origin))
  if (wrong !== undefined)
    throw new ConfigError(
      `TRUSTED_ORIGINS: must be origins such as https://app.example.com or capacitor://localhost (${JSON.stringify(wrong)} is none)`
    )
}

function checkCookieDomain({ cookieDomain, baseUrl }: Config): void {
  if (cookieDomain === undefined) return
  const { hostname, protocol } = new URL(baseUrl)
  if (hostname !== cookieDomain && !hostname.endsWith(`.${cookieDomain}`)) {
    throw new ConfigError(
      `COOKIE_DOMAIN: must be the host of BASE_URL or a domain above it (${cookieDomain} is not above ${hostname}, and browsers would drop the cookie)`
    )
  }
  if (protocol !== 'https:') throw new ConfigError('COOKIE_DOMAIN: needs an https BASE_URL')
}

function checkWorkers({ workers, databaseUrl, redisUrl }: Config): void {
  if (workers === 1 || (databaseUrl !== undefined && redisUrl !== undefined)) return
  throw new ConfigError(
    `WORKERS: more than one need DATABASE_URL and REDIS_URL, through which they hear of each other's revocations (it is ${workers})`
  )
}

function checkOtlpEndpoint({ otlpEndpoint }: Config): void {
  if (otlpEndpoint !== undefined && !parseUrl(otlpEndpoint, ['http:', 'https:']))
    throw new ConfigError('OTEL_EXPORTER_OTLP_ENDPOINT: must be an http or https URL')
}

function checkMetricsPort({ metricsPort, port }: Config): void {
  if (metricsPort !== undefined && metricsPort === port)
    throw new ConfigError('METRICS_PORT: must not be PORT')
}

function checkTtls({ sessionIdleTtlSeconds, sessionAbsoluteTtlSeconds }: Config): void {
  if (sessionIdleTtlSeconds > sessionAbsoluteTtlSeconds)
    throw new ConfigError(
      'SESSION_IDLE_TTL_SECONDS: must not be longer than SESSION_ABSOLUTE_TTL_SECONDS'
    )
}

/** Checks what can be known before the server connects to Redis. */
function checkRedisCa({ redisUrl, redisCaFile }: Config): void {
  if (redisCaFile === undefined) return
  if (redisUrl === undefined || !readRedisUrl(redisUrl).tls)
    throw new ConfigError('REDIS_CA_FILE: needs a REDIS_URL that begins with rediss')
  const pem = readText('REDIS_CA_FILE', redisCaFile)
  if (!pem.includes('-----BEGIN CERTIFICATE-----'))
    throw new ConfigError(`REDIS_CA_FILE: holds no certificate in PEM form (${redisCaFile})`)
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
  if (new Set(secret).size < 10)
    throw new ConfigError(
      `${name}: must be random (such as the output of \`openssl rand -base64 48\`)`
    )
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

function parseUrl(value: string, protocols: string[]): URL | null {
  const url = URL.canParse(value) ? new URL(value) : null
  return url && protocols.includes(url.protocol) ? url : null
}

// Apps in a web view and browser extensions send such origins: a scheme of their own, and a host.
const APP_ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/[A-Za-z0-9._-]+(:\d{1,5})?$/
/** Any page can have an address with these schemes. Their origin is "null" or another site's. */
const NO_APP = new Set([
  'about',
  'blob',
  'data',
  'file',
  'filesystem',
  'ftp',
  'http',
  'https',
  'javascript',
  'view-source',
  'vbscript',
  'ws',
  'wss'
])

/**
 * Whether a text is an origin exactly as a browser writes it, because origins are compared as
 * texts.
 */
function isOrigin(text: string): boolean {
  if (/^https?:/i.test(text))
    return !/[*?]/.test(text) && parseUrl(text, ['http:', 'https:'])?.origin === text
  const scheme = APP_ORIGIN.exec(text)?.[1]
  return scheme !== undefined && !NO_APP.has(scheme)
}

function isCidr(value: string): boolean {
  const [address = '', bits, rest] = value.split('/')
  const version = isIP(address)
  if (!version || rest !== undefined) return false
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
  )
}
