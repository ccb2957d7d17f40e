import { fastifyCookie } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest, onSendAsyncHookHandler, preHandlerAsyncHookHandler } from 'fastify'
import { accountKey } from '../src/auth/device.js'
import type { Holdfast } from '../src/holdfast.js'
import { limits, type Limit } from '../src/limits.js'
import { Refusal } from '../src/errors.js'
import { authBody, setAuthBody } from './auth-body.js'
import { clientNetwork, type Budgets } from './budgets.js'
import { asked, credentialOf } from './credential.js'

/** What a request has taken, to be given back if it does not count. */
type Takings = [limit: Limit, of: string][]

/** Device cookies live as long as browsers allow. */
const DEVICE_COOKIE_SECONDS = 400 * 86_400

/** Requests whose guess has been counted. */
const counted = new WeakSet<FastifyRequest>()

/** Whether a hook of this file has counted what the request guesses at: without that, no guess may reach better-auth. */
export function isCounted(request: FastifyRequest): boolean {
  return counted.has(request)
}

/** What the hooks need; `budgets` is null where RATE_LIMIT is off. */
export interface AccountLimitOptions {
  holdfast: Holdfast
  budgets: Budgets | null
}

export interface AccountHooks {
  preHandler: preHandlerAsyncHookHandler
  onSend: onSendAsyncHookHandler
}

/**
 * Hooks for routes where an account's password is guessed. A failure is spent from the account's budget at this address, then from
 * that of the account; or, on a device that signed in to it before, from the device's own and no other. Known and unknown accounts
 * are treated alike.
 *
 * @param wrong the status of a wrong guess. All else is no guess (400), a right one (200, 403), or nobody knows (503).
 */
export function limitGuesses({ holdfast, budgets }: AccountLimitOptions, wrong: number): AccountHooks {
  const taken = new WeakMap<FastifyRequest, Takings>()
  return {
    async preHandler(request, reply) {
      const email = takeEmail(request)
      const account = accountKey(email)
      const device = holdfast.devices.find(deviceCookieOf(holdfast, request), email)
      await takeAll(request, reply, device === null
        ? [[limits.accountFromAddress, `${account}:${clientNetwork(request)}`], [limits.account, account]]
        : [[limits.accountFromDevice, `${account}:${device}`]])
      counted.add(request)
    },
    async onSend(request, reply, payload) {
      if (reply.statusCode !== wrong) await giveBackAll(request)
      if (budgets) rememberDevice(holdfast, request, reply, payload)
      return payload
    }
  }

  async function takeAll(request: FastifyRequest, reply: FastifyReply, wanted: Takings): Promise<void> {
    const takings: Takings = []
    for (const [limit, of] of wanted) {
      await budgets?.take(reply, limit, of)
      takings.push([limit, of])
      taken.set(request, takings)
    }
  }

  async function giveBackAll(request: FastifyRequest): Promise<void> {
    for (const [limit, of] of taken.get(request) ?? []) await budgets?.giveBack(limit, of)
    taken.delete(request)
  }
}

/** As `limitGuesses`, for a password that a signed-in user is asked for again: failures are spent from the session's budget. */
export function limitPasswords({ holdfast, budgets }: AccountLimitOptions): AccountHooks {
  const taken = new WeakMap<FastifyRequest, string>()
  return {
    async preHandler(request, reply) {
      const presented = credentialOf(asked(request), holdfast.auth.cookieName)
      const sessionId = presented && (presented.credential.kind === 'access'
        ? await holdfast.accessTokens.sessionIdOf(presented.credential.value)
        : holdfast.reader.parse(presented.credential)?.sessionId)
      if (sessionId && budgets) {
        await budgets.take(reply, limits.passwordBySession, sessionId)
        taken.set(request, sessionId)
      }
      // Without a session there is nobody whose secret could be guessed; a pending second factor is counted in the store.
      counted.add(request)
    },
    async onSend(request, reply, payload) {
      const sessionId = taken.get(request)
      // better-auth answers a wrong password with 400 here: INVALID_PASSWORD.
      if (sessionId !== undefined && reply.statusCode !== 400) await budgets?.giveBack(limits.passwordBySession, sessionId)
      if (budgets) rememberDevice(holdfast, request, reply, payload)
      return payload
    }
  }
}

/** A hook for routes that send mail to an account: each request counts, whatever becomes of it. */
export function limitMails({ budgets }: AccountLimitOptions): Pick<AccountHooks, 'preHandler'> {
  return {
    async preHandler(request, reply) {
      await budgets?.take(reply, limits.resetByAccount, accountKey(takeEmail(request)))
      counted.add(request)
    }
  }
}

/** Hooks for routes that take a token too long to guess: the limit by address, which Fastify's hook has counted, is enough. */
export function limitTokens({ holdfast, budgets }: AccountLimitOptions): AccountHooks {
  return {
    async preHandler(request) {
      counted.add(request)
    },
    async onSend(request, reply, payload) {
      if (budgets) rememberDevice(holdfast, request, reply, payload)
      return payload
    }
  }
}

/**
 * The e-mail address that a request is about, in the one spelling that is counted here and looked up by better-auth.
 *
 * @throws Refusal 400 where there is none: what cannot be counted must not be guessed at
 */
function takeEmail(request: FastifyRequest): string {
  const body = authBody(request)
  const email = body?.['email']
  if (typeof email !== 'string') throw new Refusal('invalid_input', 'email must be a string')
  const spelled = email.toLowerCase()
  setAuthBody(request, { ...body, email: spelled })
  return spelled
}

function deviceCookieOf({ auth }: Holdfast, { headers }: FastifyRequest): string | undefined {
  return headers.cookie === undefined ? undefined : fastifyCookie.parse(headers.cookie)[auth.deviceCookie.name]
}

/** A browser that was given a session is known from now on; a client that keeps no cookies is not. */
function rememberDevice(holdfast: Holdfast, request: FastifyRequest, reply: FastifyReply, payload: unknown): void {
  const { cookieName, deviceCookie: { name, attributes } } = holdfast.auth
  const cookies = [reply.getHeader('set-cookie') ?? []].flat().map(String)
  if (reply.statusCode !== 200 || typeof payload !== 'string' || !cookies.some((cookie) => cookie.startsWith(`${cookieName}=`) && !/; Max-Age=0/i.test(cookie))) return
  const answer = parseJson(payload)
  const email = typeof answer === 'object' && answer !== null && 'user' in answer ? stringAt(answer.user, 'email') : null
  if (email === null) return
  const value = holdfast.devices.remember(deviceCookieOf(holdfast, request), email)
  void reply.header('set-cookie', fastifyCookie.serialize(name, value, { ...attributes, maxAge: DEVICE_COOKIE_SECONDS }))
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function stringAt(value: unknown, field: string): string | null {
  const found: unknown = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[field] : null
  return typeof found === 'string' ? found : null
}
