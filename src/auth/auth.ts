import {
  getCurrentAuthContextAsyncLocalStorage,
  getCurrentDBAdapterAsyncLocalStorage,
  getRequestStateAsyncLocalStorage
} from '@better-auth/core/context'
import { betterAuth, type AuthContext, type BetterAuthOptions, type DBAdapter } from 'better-auth'
import { admin, bearer, oneTimeToken, openAPI } from 'better-auth/plugins'
import { v7 as uuidV7 } from 'uuid'
import type { Erasures } from '../account/erasure.js'
import { hashNameWithEach, hashName } from '../account/name-hash.js'
import { isLoopback } from '../address.js'
import type { Config } from '../config.js'
import type { Confirmation } from '../revocation/confirmation.js'
import type { PrismaClient } from '../database/database.js'
import { disableWhenIdle } from '../async-local-storage-node20.js'
import type { SessionChecker } from '../check/session-checker.js'
import { signToken, toWireForm, verifySignedToken } from '../session/session-token.js'
import type { Revoker } from '../revocation/revoker.js'
import type { Thinning } from '../revocation/thinning.js'
import { createAdapter } from './adapter.js'
import { callRules } from './call-rules.js'
import { exportEndpoints } from './export-endpoints.js'
import { eraseEndpoint } from './erase-endpoint.js'
import { listEndpoints, type AuthEndpoint } from './endpoints.js'
import { eventEndpoints } from './event-endpoints.js'
import type { Keys } from '../secrets/keys.js'
import { passwordLengths } from './new-password.js'
import { hashPassword, verifyPassword } from './password.js'
import { secretVersion, resign } from './reencrypt-second-factors.js'
import { recentSignIn } from './recent-sign-in.js'
import { confirmNow } from './call-context.js'
import { secondFactors } from './second-factors.js'
import { LONGEST_COOKIE_SECONDS } from './session-model.js'
import { generateOneTimeToken, sessionEndpoints, verifyOneTimeToken } from './session-endpoints.js'
import { tokenTransport } from './token-transport.js'
import { Users, type UserWriter } from './users.js'

/**
 * The only header from which better-auth takes the client's address. The bridge sets it, and
 * clients cannot.
 */
export const CLIENT_ADDRESS_HEADER = 'x-holdfast-client-address'

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
  /** Writes the uses of sessions that this process has noted. */
  flushUses: () => Promise<void>
  /**
   * Called with better-auth's own errors and warnings. They never contain a token or an address.
   */
  onMessage: (level: 'debug' | 'error', message: string, details: unknown) => void
}

/** better-auth's generated description of its endpoints. */
export interface ApiDescription {
  paths: Record<string, Record<string, Record<string, unknown>>>
  components: { schemas: Record<string, unknown> }
  /** The codes of its errors. */
  errorCodes: string[]
}

/** better-auth, behind its fetch handler. */
export interface Auth {
  handler(request: Request): Promise<Response>
  /** Changes of users outside of a request. */
  users: Users
  /**
   * Re-signs a cookie's value or a bearer token that a previous secret has signed. Null for any
   * other.
   */
  resign(signed: string): string | null
  /** Describes the handler's endpoints (OpenAPI 3.1); paths are below `basePath`. */
  describe(): Promise<ApiDescription>
  /** The endpoints that the handler answers. */
  endpoints: readonly AuthEndpoint[]
  /** The path below which the handler answers. */
  basePath: string
  /** The name of the session cookie, and the prefix of all cookie names. */
  cookieName: string
  cookiePrefix: string
  /** A session token with its signature, in its wire form. */
  sign(token: string): string
  /** The same in better-auth's form: signed with the current secret, in base64. */
  signForBetterAuth(token: string): string
  /**
   * Converts a session token from the wire, in any form and signed with any configured secret, to
   * better-auth's form. Null for anything else.
   */
  toBetterAuth(signed: string): string | null
  /**
   * The cookie that remembers accounts that signed in on this device, and the attributes of every
   * cookie.
   */
  deviceCookie: {
    name: string
    attributes: ReturnType<typeof cookieSettings>['defaultCookieAttributes']
  }
  trustedOrigins: string[]
}

let quietened: Promise<void> | undefined

/**
 * Switches better-auth's AsyncLocalStorages off when idle. A process has one of each, even if other
 * code in it uses better-auth.
 */
async function quietenStorages(): Promise<void> {
  disableWhenIdle(await getCurrentDBAdapterAsyncLocalStorage())
  disableWhenIdle(await getRequestStateAsyncLocalStorage())
  disableWhenIdle(await getCurrentAuthContextAsyncLocalStorage())
}

/**
 * Builds better-auth on the session store, without secondary storage and cookie cache, which a
 * revocation cannot reach.
 */
export async function createAuth({
  config,
  prefix,
  keys,
  prisma,
  reader,
  revoker,
  confirmation,
  thinning,
  erasures,
  flushUses,
  onMessage
}: AuthOptions): Promise<Auth> {
  await (quietened ??= quietenStorages())
  const basePath = `${prefix}/api/auth`
  const trustedOrigins = originsFrom(config)
  const cookies = cookieSettings(config)
  const oneTime = oneTimeToken({ disableSetSessionCookie: true })
  const auth = betterAuth({
    appName: config.appName,
    baseURL: config.baseUrl,
    basePath,
    // The numbered secrets encrypt and decrypt; the first of them signs. The single one reads what
    // was written before secrets had numbers.
    secret: keys.auth,
    secrets: keys.all.map((each) => ({ version: secretVersion(each), value: each.auth })),
    trustedOrigins,
    telemetry: { enabled: false },
    database: createAdapter({
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
      hashName: (name) => hashName(keys.eventNames, name),
      requestErasure: (db, userId) => erasures.request(db, userId)
    }),
    emailAndPassword: {
      enabled: true,
      disableSignUp: config.signUp === 'closed',
      ...passwordLengths,
      password: { hash: hashPassword, verify: verifyPassword }
    },
    user: {
      deleteUser: { enabled: true },
      additionalFields: {
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
      ...cookies,
      // Set explicitly, because better-auth turns them off where NODE_ENV is "test".
      disableOriginCheck: false,
      disableCSRFCheck: false,
      database: { generateId: () => uuidV7() },
      ipAddress: { ipAddressHeaders: [CLIENT_ADDRESS_HEADER], ipv6Subnet: 128 }
    },
    plugins: [
      callRules(),
      sessionEndpoints({ revoker }),
      eventEndpoints({ prisma, hashesOf: (name) => hashNameWithEach(keys.all, name) }),
      eraseEndpoint({ prisma, erasures, confirmation }),
      exportEndpoints({ prisma }),
      admin(),
      secondFactors({ prisma, issuer: config.appName, now: () => Date.now() }),
      ...(config.oneTimeTokens
        ? [
            {
              ...oneTime,
              endpoints: {
                generateOneTimeToken: generateOneTimeToken({ prisma }),
                verifyOneTimeToken: verifyOneTimeToken({ prisma })
              }
            }
          ]
        : []),
      recentSignIn({ prisma, confirmation }),
      bearer({ requireSignature: true }),
      tokenTransport()
    ]
  } satisfies BetterAuthOptions)
  return {
    async handler(request) {
      const response = await auth.handler(request)
      await confirmNow(confirmation)
      return response
    },
    users: new Users({
      prisma,
      confirmation,
      erasures,
      appName: config.appName,
      roles: config.roles,
      writer: async () => userWriter(await auth.$context)
    }),
    resign: (signed) => (keys.all.length > 1 ? resign(keys, signed) : null),
    async describe() {
      // Called, and not registered: as a plugin it would serve pages of its own.
      const { generateOpenAPISchema } = openAPI().endpoints
      const described = (await generateOpenAPISchema({
        context: await auth.$context
      } as never)) as unknown as ApiDescription
      return { ...described, errorCodes: Object.keys(auth.$ERROR_CODES) }
    },
    endpoints: listEndpoints(auth.api),
    basePath,
    cookieName: `${cookies.cookiePrefix}.session_token`,
    cookiePrefix: cookies.cookiePrefix,
    sign: (token) => signToken(token, keys.auth),
    signForBetterAuth: (token) => signToken(token, keys.auth, 'base64'),
    toBetterAuth(signed) {
      const token = verifySignedToken(
        toWireForm(signed),
        keys.all.map((each) => each.auth)
      )
      return token === null ? null : signToken(token, keys.auth, 'base64')
    },
    deviceCookie: {
      name: `${cookies.cookiePrefix}.device`,
      attributes: cookies.defaultCookieAttributes
    },
    trustedOrigins
  }
}

/**
 * The writes of better-auth's internal adapter: they run its hooks, and all go through our adapter.
 */
function userWriter({
  internalAdapter,
  adapter
}: {
  internalAdapter: AuthContext['internalAdapter']
  adapter: Pick<DBAdapter, 'deleteMany' | 'updateMany'>
}): UserWriter {
  return {
    createUser: (user) =>
      internalAdapter.createUser(user as Parameters<typeof internalAdapter.createUser>[0], {
        method: 'admin'
      }),
    createAccount: (account) => internalAdapter.createAccount(account),
    updateUser: (userId, update) => internalAdapter.updateUser(userId, update),
    updatePassword: (userId, password) =>
      adapter.updateMany({
        model: 'account',
        where: [
          { field: 'userId', value: userId },
          { field: 'providerId', value: 'credential' }
        ],
        update: { password, updatedAt: new Date() }
      }),
    deleteUser: (userId) =>
      adapter.deleteMany({ model: 'user', where: [{ field: 'id', value: userId }] })
  }
}

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

/** The trusted origins. In embedded mode a new user may type either loopback name. */
function originsFrom({ baseUrl, databaseUrl, trustedOrigins }: Config): string[] {
  const origins = new Set([baseUrl, ...trustedOrigins])
  const url = new URL(baseUrl)
  if (databaseUrl === undefined && isLoopback(url.hostname)) {
    for (const host of ['localhost', '127.0.0.1', '[::1]'])
      origins.add(`${url.protocol}//${host}${url.port ? `:${url.port}` : ''}`)
  }
  return [...origins]
}
