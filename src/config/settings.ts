import { Type, type Static } from 'typebox'
import { LONGEST_ACCESS_TOKEN_SECONDS } from '../limits.js'

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
const webUrl = (env: string) =>
  Type.Optional(
    Type.String({ env, pattern: '^https?://[^\\s"<>]+$', mustBe: 'an http or https address' })
  )
const list = (env: string) => Type.Array(Type.String({ minLength: 1 }), { env, default: [] })

/** Every setting, its type, its limits, its default and the environment variable that sets it. */
export const Settings = Type.Object({
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
  adminOrigins: list('ADMIN_ORIGINS'),
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
  pages: Type.Boolean({ env: 'PAGES', default: true }),
  brandName: Type.Optional(
    Type.String({
      env: 'BRAND_NAME',
      pattern: '^(?=.*\\S)[^\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]{1,64}$',
      mustBe: 'a name of 1 to 64 characters'
    })
  ),
  brandLogo: Type.Optional(Type.String({ env: 'BRAND_LOGO', minLength: 1 })),
  brandAccent: Type.Optional(
    Type.String({
      env: 'BRAND_ACCENT',
      pattern: '^#[0-9A-Fa-f]{6}$',
      mustBe: 'a colour such as #1f4f82'
    })
  ),
  pagesStylesheet: Type.Optional(Type.String({ env: 'PAGES_STYLESHEET', minLength: 1 })),
  termsUrl: webUrl('TERMS_URL'),
  privacyUrl: webUrl('PRIVACY_URL'),
  signInUrl: webUrl('SIGN_IN_URL'),
  smtpUrl: Type.Optional(Type.String({ env: 'SMTP_URL', secret: true })),
  smtpCaFile: Type.Optional(Type.String({ env: 'SMTP_CA_FILE', minLength: 1 })),
  mailFrom: Type.Optional(Type.String({ env: 'MAIL_FROM', minLength: 1 })),
  requireEmailVerification: Type.Boolean({ env: 'REQUIRE_EMAIL_VERIFICATION', default: false }),
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

/** The values of all settings. */
export type Settings = Static<typeof Settings>
export type SettingName = keyof Settings

/** The names of all settings. */
export const allSettings = Object.keys(Settings.properties) as SettingName[]

/** The settings of the store and its connection. */
export const storeSettings = [
  'databaseUrl',
  'databasePoolSize',
  'databaseConnectTimeoutMs',
  'databasePreparedStatements',
  'dataDir'
] as const

/** The settings that a caller of the plugin may give. All are optional. */
export type HoldfastOptions = {
  [Name in keyof Settings]?: Settings[Name] | (Name extends 'logLevel' ? never : undefined)
}

/** Validated settings, with their defaults. Times are in seconds. */
export type Config = Readonly<Settings & { baseUrl: string }>

/** The validated settings of the store and its connection. */
export type StoreConfig = Pick<Config, (typeof storeSettings)[number]>

/** Our additions to a setting's schema. */
export interface SettingSchema {
  env: string
  type?: string
  secret?: boolean
  minimum?: number
  maximum?: number
  anyOf?: { const: string }[]
  /** What to say where the value does not match its pattern. */
  mustBe?: string
}

/** The schema of a setting, with our additions. */
export function schemaFor(key: SettingName): SettingSchema {
  return Settings.properties[key] as unknown as SettingSchema
}

/** The settings that hold secrets, by their names in the environment. */
export const secretSettings: readonly string[] = allSettings
  .map(schemaFor)
  .flatMap(({ env, secret }) => (secret ? [env] : []))
