import {
  getCurrentAuthContextAsyncLocalStorage,
  getCurrentDBAdapterAsyncLocalStorage,
  getRequestStateAsyncLocalStorage
} from '@better-auth/core/context'
import { betterAuth, type AuthContext, type DBAdapter } from 'better-auth'
import { openAPI } from 'better-auth/plugins'
import { disableWhenIdle } from '../async-local-storage-node20.js'
import type { Keys } from '../secrets/keys.js'
import { signToken, toWireForm, verifySignedToken } from '../session/session-token.js'
import { betterAuthNow } from './better-auth-clock.js'
import { confirmNow } from './call-context.js'
import { listEndpoints, type AuthEndpoint } from './endpoints.js'
import {
  ownOriginsFrom,
  toBetterAuthOptions,
  type AuthOptions,
  type CookieAttributes
} from './options.js'
import { resign } from './reencrypt-second-factors.js'
import { Users, type UserWriter } from './users.js'

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
    attributes: CookieAttributes
  }
  /**
   * The name of the cookie that a browser keeps of a request for a mail. It is of this host alone,
   * under COOKIE_DOMAIN as well: who could set it would own the sign-up of another browser.
   */
  mailCookie: string
  trustedOrigins: string[]
  /** The origins of this server: that of BASE_URL, and in embedded mode each loopback name. */
  ownOrigins: string[]
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

/** Builds better-auth and what Holdfast adds around it. */
export async function createAuth(options: AuthOptions): Promise<Auth> {
  await (quietened ??= quietenStorages())
  const { config, keys, prisma, confirmation, erasures } = options
  const authOptions = toBetterAuthOptions(options)
  const auth = betterAuth(authOptions)
  const { cookiePrefix, defaultCookieAttributes } = authOptions.advanced
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
    async describe() {
      // Called, and not registered: as a plugin it would serve pages of its own.
      const { generateOpenAPISchema } = openAPI().endpoints
      const described = (await generateOpenAPISchema({
        context: withOwnNames((await auth.$context) as unknown as AuthContext)
      } as never)) as unknown as ApiDescription
      return { ...described, errorCodes: Object.keys(auth.$ERROR_CODES) }
    },
    endpoints: listEndpoints(auth.api),
    basePath: authOptions.basePath,
    cookieName: `${cookiePrefix}.session_token`,
    cookiePrefix,
    ...tokenForms(keys),
    deviceCookie: { name: `${cookiePrefix}.device`, attributes: defaultCookieAttributes },
    mailCookie: defaultCookieAttributes.secure ? '__Host-holdfast.mail' : 'holdfast.mail',
    trustedOrigins: authOptions.trustedOrigins,
    ownOrigins: ownOriginsFrom(config)
  }
}

/**
 * A context in which no endpoint of a plugin has the name of one of better-auth's core: its generator
 * describes the core's in such a case. The sign-up that waits for a proof has the core's form.
 */
function withOwnNames(context: AuthContext): AuthContext {
  const plugins = (context.options.plugins ?? []).map((plugin) =>
    plugin.id === 'holdfast-mail'
      ? {
          ...plugin,
          endpoints: Object.fromEntries(
            Object.entries(plugin.endpoints ?? {}).map(([name, endpoint]) => [
              name === 'signUpEmail' ? name : `${plugin.id} ${name}`,
              endpoint
            ])
          )
        }
      : plugin
  )
  return { ...context, options: { ...context.options, plugins } }
}

/** The forms of a session token, and its signatures with the secrets. */
function tokenForms(
  keys: Keys
): Pick<Auth, 'resign' | 'sign' | 'signForBetterAuth' | 'toBetterAuth'> {
  return {
    resign: (signed) => (keys.all.length > 1 ? resign(keys, signed) : null),
    sign: (token) => signToken(token, keys.auth),
    signForBetterAuth: (token) => signToken(token, keys.auth, 'base64'),
    toBetterAuth(signed) {
      const token = verifySignedToken(
        toWireForm(signed),
        keys.all.map((each) => each.auth)
      )
      return token === null ? null : signToken(token, keys.auth, 'base64')
    }
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
        update: { password, updatedAt: new Date(betterAuthNow()) }
      }),
    deleteUser: (userId) =>
      adapter.deleteMany({ model: 'user', where: [{ field: 'id', value: userId }] })
  }
}
