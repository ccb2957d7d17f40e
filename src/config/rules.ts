import { isIP } from 'node:net'
import { isLoopback } from '../address.js'
import { parseDatabaseUrl } from '../database/database-url.js'
import { ConfigError } from '../errors.js'
import { parseGatewayClients } from '../gateway/gateway.js'
import { parseMailbox } from '../mail/mailbox.js'
import { parseSmtpUrl, SmtpUrlError } from '../mail/smtp-url.js'
import { parseRedisUrl, RedisUrlError, type RedisTarget } from '../redis/redis-url.js'
import { ROLE } from '../roles.js'
import { readNamedFile } from './environment.js'
import type { Config, SettingName, Settings } from './settings.js'
import { isOrigin, parseUrl } from './url.js'

/**
 * A rule for a setting beyond its type, or for several together. Its errors name the first of
 * `keys`.
 */
interface Rule {
  keys: [SettingName, ...SettingName[]]
  /** @throws ConfigError */
  check: (config: Config) => void
}

/** All rules, in the order in which their problems are shown. */
export const rules: Rule[] = [
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
  { keys: ['databaseUrl'], check: checkDatabaseUrl },
  {
    keys: ['redisUrl'],
    check: ({ redisUrl }) => {
      if (redisUrl !== undefined) readRedisUrl(redisUrl)
    }
  },
  { keys: ['redisCaFile', 'redisUrl'], check: checkRedisCa },
  { keys: ['smtpUrl'], check: checkSmtpUrl },
  { keys: ['smtpCaFile', 'smtpUrl'], check: checkSmtpCa },
  { keys: ['mailFrom', 'smtpUrl'], check: checkMailFrom },
  { keys: ['gatewayClients'], check: checkGateways },
  { keys: ['roles'], check: checkRoles },
  { keys: ['trustedProxies'], check: checkProxies },
  {
    keys: ['trustedOrigins'],
    check: ({ trustedOrigins }) => checkOrigins('TRUSTED_ORIGINS', trustedOrigins)
  },
  { keys: ['adminOrigins', 'trustedOrigins'], check: checkAdminOrigins },
  { keys: ['cookieDomain', 'baseUrl'], check: checkCookieDomain },
  { keys: ['signInUrl'], check: checkSignInUrl },
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

/**
 * Checks what can be known before the server connects to PostgreSQL.
 *
 * @throws ConfigError
 */
export function checkDatabaseUrl({ databaseUrl }: Pick<Config, 'databaseUrl'>): void {
  if (databaseUrl !== undefined) parseDatabaseUrl(databaseUrl)
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

function checkOrigins(name: string, origins: readonly string[]): void {
  const wrong = origins.find((origin) => !isOrigin(origin))
  if (wrong !== undefined)
    throw new ConfigError(
      `${name}: must be origins such as https://app.example.com or capacitor://localhost (${JSON.stringify(wrong)} is none)`
    )
}

function checkAdminOrigins({ adminOrigins, trustedOrigins }: Config): void {
  checkOrigins('ADMIN_ORIGINS', adminOrigins)
  const untrusted = adminOrigins.find((origin) => !trustedOrigins.includes(origin))
  if (untrusted !== undefined)
    throw new ConfigError(
      `ADMIN_ORIGINS: each must also be one of TRUSTED_ORIGINS (${JSON.stringify(untrusted)} is not)`
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

function checkSignInUrl({ signInUrl }: Config): void {
  if (signInUrl !== undefined && !parseUrl(signInUrl, ['http:', 'https:']))
    throw new ConfigError('SIGN_IN_URL: must be an http or https URL')
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
  const pem = readNamedFile('REDIS_CA_FILE', redisCaFile)
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

function checkSmtpUrl({ smtpUrl }: Config): void {
  if (smtpUrl === undefined) return
  try {
    parseSmtpUrl(smtpUrl)
  } catch (error) {
    throw error instanceof SmtpUrlError ? new ConfigError(`SMTP_URL: ${error.message}`) : error
  }
}

function checkSmtpCa({ smtpUrl, smtpCaFile }: Config): void {
  if (smtpCaFile === undefined) return
  if (smtpUrl === undefined) throw new ConfigError('SMTP_CA_FILE: needs SMTP_URL')
  if (parseSmtpUrl(smtpUrl).tls === 'none')
    throw new ConfigError(
      'SMTP_CA_FILE: needs an SMTP_URL with TLS: smtps, or requireTLS=true on loopback'
    )
  const pem = readNamedFile('SMTP_CA_FILE', smtpCaFile)
  if (!pem.includes('-----BEGIN CERTIFICATE-----'))
    throw new ConfigError(`SMTP_CA_FILE: holds no certificate in PEM form (${smtpCaFile})`)
}

function checkMailFrom({ mailFrom, smtpUrl }: Config): void {
  if (mailFrom === undefined) {
    if (smtpUrl !== undefined)
      throw new ConfigError(
        'MAIL_FROM: is required with SMTP_URL (whom mails are from, such as `Field Notes <no-reply@example.com>`)'
      )
    return
  }
  if (!parseMailbox(mailFrom))
    throw new ConfigError(
      `MAIL_FROM: must be an address, or a name and an address, such as \`Field Notes <no-reply@example.com>\` (it is ${JSON.stringify(mailFrom)})`
    )
}

/**
 * Checks that REQUIRE_EMAIL_VERIFICATION is only on where mails can be sent: otherwise no sign-up
 * would ever be finished.
 *
 * @param canSend whether there is a way to send: SMTP_URL, the option `sendMail`, or the folder of
 *   the embedded store
 * @throws ConfigError
 */
export function checkVerificationMail(
  { requireEmailVerification }: Pick<Config, 'requireEmailVerification'>,
  canSend: boolean
): void {
  if (requireEmailVerification && !canSend)
    throw new ConfigError(
      'REQUIRE_EMAIL_VERIFICATION: needs SMTP_URL and MAIL_FROM (or the option sendMail), because addresses are verified by mail'
    )
}

function checkSecret(name: string, secret: string): void {
  if (Buffer.byteLength(secret) < 32) throw new ConfigError(`${name}: must be 32 bytes or more`)
  if (new Set(secret).size < 10)
    throw new ConfigError(
      `${name}: must be random (such as the output of \`openssl rand -base64 48\`)`
    )
}

/**
 * The public address of the server. A server on loopback with the embedded store may leave it out.
 *
 * @throws ConfigError
 */
export function baseUrlFrom({ baseUrl, databaseUrl, host, port }: Settings): string {
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

function isCidr(value: string): boolean {
  const [address = '', bits, rest] = value.split('/')
  const version = isIP(address)
  if (!version || rest !== undefined) return false
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
  )
}
