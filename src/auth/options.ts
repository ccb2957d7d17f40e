import type { BetterAuthOptions } from 'better-auth'
import { admin, bearer, oneTimeToken } from 'better-auth/plugins'
import { v7 as uuidV7 } from 'uuid'
import * as z from 'zod'
import type { Erasures } from '../account/erasure.js'
import { hashNameWithEach, hashName } from '../account/name-hash.js'
import type { Clock } from '../clock.js'
import { isLoopback } from '../address.js'
import type { SessionChecker } from '../check/session-checker.js'
import type { Config } from '../config.js'
import type { PrismaClient } from '../database/database.js'
import type { Confirmation } from '../revocation/confirmation.js'
import type { Revoker } from '../revocation/revoker.js'
import type { Thinning } from '../revocation/thinning.js'
import { languages } from '../language.js'
import type { Keys } from '../secrets/keys.js'
import { createAdapter, type AdapterOptions } from './adapter.js'
import { callRules } from './call-rules.js'
import { eraseEndpoint } from './erase-endpoint.js'
import { eventEndpoints } from './event-endpoints.js'
import { exportEndpoints } from './export-endpoints.js'
import { findUsers } from './find-users-endpoint.js'
import { firstAdministrator } from './first-administrator.js'
import { mailEndpoints } from './mail-endpoints/mail-endpoints.js'
import type { MailEndpointOptions } from './mail-endpoints/shared.js'
import type { Mailing } from './mailing.js'
import { passwordLengths } from './new-password.js'
import { hashPassword, verifyPassword } from './password.js'
import { recentSignIn } from './recent-sign-in.js'
import { secretVersion } from './reencrypt-second-factors.js'
import { secondFactors } from './second-factors.js'
import { generateOneTimeToken, sessionEndpoints, verifyOneTimeToken } from './session-endpoints.js'
import { LONGEST_COOKIE_SECONDS } from './session-model.js'
import { tokenTransport } from './token-transport.js'

/**
 * The only header from which better-auth takes the client's address. The bridge sets it, and
 * clients cannot.
 */
export const CLIENT_ADDRESS_HEADER = 'x-holdfast-client-address'

/** What better-auth is built on. */
export interface AuthOptions {
  config: Config
  /** The path of the routes: the prefix of the host application, or empty. */
  prefix: string
  keys: Keys
  prisma: PrismaClient
  reader: SessionChecker
  revoker: Revoker
  confirmation: Confirmation
  thinning: Thinning
  erasures: Erasures
  clock: Clock
  /** Writes mails. Null where mail is off. */
  mailing: Mailing | null
  /** Writes the uses of sessions that this process has noted. */
  flushUses: () => Promise<void>
  /**
   * Called with better-auth's own errors and warnings. They never contain a token or an address.
   */
  onMessage: (level: 'debug' | 'error', message: string, details: unknown) => void
}

/**
 * better-auth's options: the session store, without secondary storage and cookie cache, which a
 * revocation cannot reach.
 */
export function toBetterAuthOptions(options: AuthOptions) {
  const { config, prefix, keys, mailing, onMessage } = options
  return {
    appName: config.appName,
    baseURL: config.baseUrl,
    basePath: `${prefix}/api/auth`,
    // The numbered secrets encrypt and decrypt; the first of them signs. The single one reads what
    // was written before secrets had numbers.
    secret: keys.auth,
    secrets: keys.all.map((each) => ({ version: secretVersion(each), value: each.auth })),
    trustedOrigins: [...new Set([...ownOriginsFrom(config), ...config.trustedOrigins])],
    telemetry: { enabled: false },
    database: createAdapter(toAdapterOptions(options)),
    emailAndPassword: {
      enabled: true,
      disableSignUp: config.signUp === 'closed',
      ...passwordLengths,
      // Its mails are ours (mail-endpoints/). This has it refuse sign-ins of unproven addresses.
      requireEmailVerification: mailing !== null && config.requireEmailVerification,
      password: { hash: hashPassword, verify: verifyPassword }
    },
    user: {
      deleteUser: { enabled: true },
      additionalFields: {
        language: {
          type: 'string',
          required: false,
          returned: false,
          validator: { input: z.enum(languages.map(({ code }) => code)) }
        },
        credentialEpoch: { type: 'number', required: false, input: false, returned: false }
      }
    },
    // The cookie lives as long as the session may. The server decides on idleness, and never
    // rewrites a session on a read.
    session: {
      expiresIn: Math.min(config.sessionAbsoluteTtlSeconds, LONGEST_COOKIE_SECONDS),
      disableSessionRefresh: true,
      cookieCache: { enabled: false }
    },
    // better-auth removes expired rows during a request, all at once, however many there are.
    // Retention removes them in batches.
    verification: { storeIdentifier: 'hashed', disableCleanup: true },
    rateLimit: { enabled: false },
    // The text behind a colon is client input: it may be an address, or contain a token.
    logger: {
      level: 'warn',
      log: (_level, message, ...details) =>
        onMessage(
          details[0] instanceof Error ? 'error' : 'debug',
          message.split(':', 1)[0] ?? '',
          details[0]
        )
    },
    // Throws errors that are not better-auth's own answers, instead of printing them on the
    // console.
    onAPIError: { throw: true },
    advanced: {
      ...cookieSettings(config),
      // Set explicitly, because better-auth turns them off where NODE_ENV is "test".
      disableOriginCheck: false,
      disableCSRFCheck: false,
      database: { generateId: () => uuidV7() },
      ipAddress: { ipAddressHeaders: [CLIENT_ADDRESS_HEADER], ipv6Subnet: 128 }
    },
    plugins: pluginsFor(options)
  } satisfies BetterAuthOptions
}

function toAdapterOptions({
  config,
  keys,
  prisma,
  reader,
  confirmation,
  thinning,
  erasures,
  clock,
  mailing,
  flushUses
}: AuthOptions): AdapterOptions {
  return {
    prisma,
    reader,
    peppers: keys.peppers,
    confirmation,
    thinning,
    idleTtlSeconds: config.sessionIdleTtlSeconds,
    absoluteTtlSeconds: config.sessionAbsoluteTtlSeconds,
    maxSessions: config.maxSessionsPerUser,
    flushUses,
    roles: config.roles,
    mailing,
    hashName: (name) => hashName(keys.eventNames, name),
    requestErasure: (db, userId) => erasures.request(db, userId),
    now: clock.monotonic
  }
}

/** Our plugins and better-auth's, in the order in which they see a call. */
function pluginsFor(options: AuthOptions) {
  const { config, keys, prisma, revoker, confirmation, erasures, clock, mailing } = options
  return [
    callRules(),
    sessionEndpoints({ revoker }),
    eventEndpoints({ prisma, hashesOf: (name) => hashNameWithEach(keys.all, name) }),
    eraseEndpoint({ prisma, erasures, confirmation }),
    exportEndpoints({ prisma }),
    ...(mailing === null ? [] : [mailEndpoints(toMailOptions(options, mailing))]),
    firstAdministrator({ prisma }),
    findUsers({ prisma }),
    admin(),
    secondFactors({ prisma, issuer: config.appName, now: clock.now }),
    ...(config.oneTimeTokens ? [oneTimeTokens(prisma)] : []),
    recentSignIn({ prisma, confirmation }),
    bearer({ requireSignature: true }),
    tokenTransport()
  ]
}

function toMailOptions(
  { config, prefix, keys, prisma }: AuthOptions,
  mailing: Mailing
): MailEndpointOptions {
  return {
    prisma,
    keys,
    mailing,
    baseUrl: config.baseUrl + prefix,
    appName: config.appName,
    signUpIsOpen: config.signUp === 'open',
    requiresVerification: config.requireEmailVerification
  }
}

/** better-auth's one-time tokens, with endpoints of ours that derive a session. */
function oneTimeTokens(prisma: PrismaClient) {
  return {
    ...oneTimeToken({ disableSetSessionCookie: true }),
    endpoints: {
      generateOneTimeToken: generateOneTimeToken({ prisma }),
      verifyOneTimeToken: verifyOneTimeToken({ prisma })
    }
  }
}

/** The attributes of every cookie. */
export type CookieAttributes = ReturnType<typeof cookieSettings>['defaultCookieAttributes']

/**
 * Cookie names carry their prefix themselves, because better-auth would add a second one. `__Host-`
 * binds a cookie to this host on https, `__Secure-` allows the configured domain, and plain http
 * (development) has neither.
 */
function cookieSettings({ baseUrl, cookieDomain }: Config) {
  const secure = baseUrl.startsWith('https:')
  const cookiePrefix = !secure
    ? 'holdfast'
    : cookieDomain === undefined
      ? '__Host-holdfast'
      : '__Secure-holdfast'
  const domain: { domain?: string } = cookieDomain === undefined ? {} : { domain: cookieDomain }
  return {
    cookiePrefix,
    useSecureCookies: false,
    defaultCookieAttributes: {
      secure,
      httpOnly: true,
      sameSite: 'lax' as const,
      path: '/',
      ...domain
    }
  }
}

/** The origins of this server. In embedded mode a new user may type either loopback name. */
export function ownOriginsFrom({
  baseUrl,
  databaseUrl
}: Pick<Config, 'baseUrl' | 'databaseUrl'>): string[] {
  const origins = new Set([baseUrl])
  const url = new URL(baseUrl)
  if (databaseUrl === undefined && isLoopback(url.hostname)) {
    for (const host of ['localhost', '127.0.0.1', '[::1]'])
      origins.add(`${url.protocol}//${host}${url.port ? `:${url.port}` : ''}`)
  }
  return [...origins]
}
