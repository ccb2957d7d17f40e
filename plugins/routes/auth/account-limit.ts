import type { FastifyRequest, onSendAsyncHookHandler, preHandlerAsyncHookHandler } from 'fastify'
import { accountKey } from '../../../src/auth/device.js'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { limits, type Limit } from '../../../src/limits.js'
import { noteFacts } from '../../http/answer-facts.js'
import { authBody, setAuthBody } from './body.js'
import { clientNetwork, type Budgets, type Taking } from '../../limits/budgets.js'
import { toAsked, credentialFrom } from '../../http/credential.js'
import { knownDevice } from './known-device.js'

/** Budgets to take from, in order. */
type BudgetClaims = [limit: Limit, of: string][]

/** Requests whose guess has been counted. */
const counted = new WeakSet<FastifyRequest>()

/**
 * Whether a hook of this file has counted the request's guess. Uncounted guesses must not reach
 * better-auth.
 */
export function isCounted(request: FastifyRequest): boolean {
  return counted.has(request)
}

/** What the hooks need. `budgets` is null where RATE_LIMIT is off. */
export interface AccountLimitOptions {
  holdfast: Holdfast
  budgets: Budgets | null
}

export interface AccountHooks {
  preHandler: preHandlerAsyncHookHandler
  onSend: onSendAsyncHookHandler
}

/**
 * Hooks for routes where a client guesses at an account's password. A failure is counted for the
 * account at this address, then for the account. On a device that signed in to the account before,
 * it is counted for that device, then for all known devices. Known and unknown accounts are treated
 * alike.
 */
export function limitGuesses({ holdfast, budgets }: AccountLimitOptions): AccountHooks {
  return takeAndGiveBack(budgets, [401], async (request) => {
    const email = takeEmail(request)
    if (!budgets) return []
    const account = accountKey(email)
    const device = await knownDevice(holdfast, request, email)
    return device === null
      ? [
          [limits.accountFromAddress, `${account}:${clientNetwork(request)}`],
          [limits.account, account]
        ]
      : [
          [limits.accountFromDevice, `${account}:${device}`],
          [limits.accountFromDevices, account]
        ]
  })
}

/**
 * As `limitGuesses`, for sign-up: a 422 tells that the address has an account. These counts are
 * separate from the owner's sign-in. Where a sign-up waits for its proof, it is a mail, and no
 * answer tells anything.
 */
export function limitProbes({ holdfast, budgets }: AccountLimitOptions): AccountHooks {
  const isMail = holdfast.mail !== null && holdfast.config.requireEmailVerification
  return takeAndGiveBack(budgets, isMail ? [200] : [422], async (request) => {
    const account = accountKey(takeEmail(request))
    if (isMail) return mailClaims(account)
    return [
      [limits.probeFromAddress, `${account}:${clientNetwork(request)}`],
      [limits.probe, account]
    ]
  })
}

/**
 * As `limitGuesses`, for passwords and codes that a signed-in user is asked for again. Failures are
 * counted for the session, then for its user. better-auth answers them with 400 (INVALID_PASSWORD)
 * or 401 (INVALID_CODE).
 */
export function limitPasswords({ holdfast, budgets }: AccountLimitOptions): AccountHooks {
  return takeAndGiveBack(budgets, [400, 401], async (request) => {
    const credential = budgets && credentialFrom(toAsked(request), holdfast.auth.cookieName)
    const check = credential && (await holdfast.reader.check(credential))
    // Without a session there is no user whose secret could be guessed. A pending second factor is
    // counted in the store.
    if (!check?.active) return []
    noteFacts(request, { userId: check.session.userId, sessionId: check.session.id })
    return [
      [limits.passwordBySession, check.session.id],
      [limits.passwordByUser, check.session.userId]
    ]
  })
}

/** A hook for routes that send mail: each request counts, whatever the result. */
export function limitMails({
  holdfast,
  budgets
}: AccountLimitOptions): Pick<AccountHooks, 'preHandler'> {
  return {
    async preHandler(request, reply) {
      const field = authBody(request)?.['newEmail'] === undefined ? 'email' : 'newEmail'
      const email = takeEmail(request, field)
      if (budgets) {
        const account = accountKey(email)
        const device = await knownDevice(holdfast, request, email)
        const claims: BudgetClaims =
          device === null ? mailClaims(account) : [[limits.mailsFromDevice, `${account}:${device}`]]
        for (const [limit, of] of claims) await budgets.take(reply, limit, of)
      }
      counted.add(request)
    }
  }
}

/** The budgets of a mail to an address. */
function mailClaims(account: string): BudgetClaims {
  return [
    [limits.mailsToAddress, account],
    [limits.mailsToAddressByDay, account],
    [limits.mailsInAll, '']
  ]
}

/** A hook for routes that take the code of a mail: wrong ones are counted by client, and in all. */
export function limitCodes({ budgets }: AccountLimitOptions): AccountHooks {
  return takeAndGiveBack(budgets, [400, 403], async (request) => [
    [limits.codesByAddress, clientNetwork(request)],
    [limits.codesInAll, '']
  ])
}

/**
 * A hook for routes that take a token too long to guess. The limit by address, which Fastify's hook
 * has counted, is enough.
 */
export const limitTokens: Pick<AccountHooks, 'preHandler'> = {
  async preHandler(request) {
    counted.add(request)
  }
}

/**
 * Takes from budgets before a request is handled, and gives back if it was not a wrong guess.
 *
 * @param wrong the statuses of a wrong guess; any other is a request without a guess (400), a right
 *   guess (200, 403), or an outage (503)
 */
function takeAndGiveBack(
  budgets: Budgets | null,
  wrong: readonly number[],
  wanted: (request: FastifyRequest) => Promise<BudgetClaims>
): AccountHooks {
  const taken = new WeakMap<FastifyRequest, Taking[]>()
  return {
    async preHandler(request, reply) {
      const takings: Taking[] = []
      taken.set(request, takings)
      for (const [limit, of] of await wanted(request))
        if (budgets) takings.push(await budgets.take(reply, limit, of))
      counted.add(request)
    },
    async onSend(request, reply, payload) {
      const takings = taken.get(request) ?? []
      if (!wrong.includes(reply.statusCode)) {
        taken.delete(request)
        for (const taking of takings) await budgets?.giveBack(taking)
      }
      return payload
    }
  }
}

/**
 * The e-mail address of a request, in lower case, as it is counted here and looked up by
 * better-auth.
 *
 * @throws AppError 400 where there is none: a guess that cannot be counted must not be made
 */
function takeEmail(request: FastifyRequest, field: 'email' | 'newEmail' = 'email'): string {
  const body = authBody(request)
  const email = body?.[field]
  if (typeof email !== 'string') throw new AppError('invalid_input', `${field} must be a string`)
  const spelled = email.toLowerCase()
  setAuthBody(request, { ...body, [field]: spelled })
  return spelled
}
