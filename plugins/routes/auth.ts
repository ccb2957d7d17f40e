import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createAuthScope, runInScope, type AuthScope } from '../../src/auth/scope.js'
import { watchFaults, type FaultScope } from '../../src/database/fault.js'
import { Refusal, refusalFor } from '../../src/errors.js'
import type { Holdfast } from '../../src/holdfast.js'
import { withoutTokens } from '../../src/session/session-token.js'
import { limits, secondFactorLockout } from '../../src/limits.js'
import { limitGuesses, limitMails, limitPasswords } from '../account-limit.js'
import { asked, credentialOf } from '../credential.js'
import { limitedBy } from '../rate-limit.js'
import { additionTo, transportOf } from '../token-transport.js'
import { isFromPage, toWebRequest } from '../web-request.js'

/** Largest request body of better-auth's endpoints, in bytes. */
const BODY_LIMIT = 128 * 1024

const methods = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'] as const

/** better-auth behind Fastify: every method, every content type, bodies untouched, cookies in order. */
export default async function auth(app: FastifyInstance, { holdfast }: { holdfast: Holdfast }): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: BODY_LIMIT }, (_request, body, done) => done(null, body))
  // Described by better-auth itself.
  const route = { schema: { hide: true }, method: [...methods], bodyLimit: BODY_LIMIT, handler: (request: FastifyRequest, reply: FastifyReply) => forward(holdfast, request, reply) }
  const { budgets } = app
  const guesses = { ...limitGuesses({ holdfast, budgets }, 401), config: limitedBy(limits.signInByAddress) }
  const passwords = { ...limitPasswords({ holdfast, budgets }), config: limitedBy(limits.confirmByAddress) }
  app.route({ ...route, ...guesses, url: '/api/auth/sign-in/*' })
  app.route({ ...route, ...guesses, config: limitedBy(limits.oneTimeTokenByAddress), url: '/api/auth/one-time-token/verify' })
  for (const path of ['two-factor/*', 'change-password', 'verify-password', 'delete-user']) app.route({ ...route, ...passwords, url: `/api/auth/${path}` })
  for (const path of ['request-password-reset', 'forget-password/*', 'reset-password', 'reset-password/*', 'send-verification-email']) {
    app.route({ ...route, ...limitMails({ holdfast, budgets }), config: limitedBy(limits.resetByAddress), url: `/api/auth/${path}` })
  }
  // 422 tells that the address has an account: who asks for that guesses as well.
  app.route({ ...route, ...limitGuesses({ holdfast, budgets }, 422), config: limitedBy(limits.signUpByAddress), url: '/api/auth/sign-up/*' })
  app.route({ ...route, url: '/api/auth/*' })
}

async function forward(holdfast: Holdfast, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  if (!holdfast.ready()) throw new Refusal('store_unavailable')
  // The route, and with it the rate limit, was chosen by the path as it was sent: better-auth must not see another.
  const { pathname } = new URL(request.raw.url ?? '/', holdfast.config.baseUrl)
  if (pathname !== pathOf(request)) throw new Refusal('not_found')
  const { auth, tokens } = holdfast
  const presented = credentialOf(asked(request), auth.cookieName)
  const transport = transportOf(request, presented, pathname)
  if (transport === 'body' && pathname.endsWith('/one-time-token/verify') && isFromPage(request)) throw new Refusal('invalid_input', 'A page is given no tokens for a one-time token')
  const scope = createAuthScope({
    presented: presented?.from === 'cookie' ? holdfast.reader.parse(presented.credential) : null,
    transport,
    standIn: presented?.credential.kind === 'access' ? await tokens.standInFor(presented.credential.value) : null
  })
  const response = await answer(holdfast, scope, toWebRequest(holdfast, request, presented, scope))
  if (scope.pendingUntil) reply.header('session-revocation', `pending; effective-by="${scope.pendingUntil.toISOString()}"`)
  // better-auth says "nobody" to a dead credential: a client that could use its refresh token must not take that for a sign-out.
  if (scope.standInRefused && request.headers['two-factor-challenge'] === undefined && (response.status === 401 || pathname.endsWith('/get-session'))) throw new Refusal(scope.standInRefused)
  const mayCarryTokens = scope.insertedSession && presented?.from !== 'cookie' && !(scope.source && isFromPage(request))
  const addition = await additionTo({ transport, begun: mayCarryTokens ? scope.begun : null }, response.headers.getSetCookie(), auth.cookiePrefix, tokens)
  // Who is given tokens needs no session token besides, which does not rotate.
  return send(request, reply, response, { mayCarryTokens: mayCarryTokens && !('tokens' in addition), mayCarryCookies: transport === 'cookie', addition })
}

/**
 * Calls better-auth. It swallows errors of its database (a sign-out in an outage says "done" and clears the cookie), so the first
 * fault of the store is the answer, at once and whatever better-auth makes of it: 503, with no cookie set or cleared.
 */
async function answer(holdfast: Holdfast, scope: AuthScope, request: Request): Promise<Response> {
  const faults: FaultScope = { fault: null, refusedValue: false, onFault: () => {} }
  const faulted = new Promise<never>((_resolve, reject) => { faults.onFault = reject })
  const handled = watchFaults(faults, () => runInScope(scope, () => holdfast.auth.handler(request)))
  handled.catch(() => {}) // when the fault wins the race, nobody else listens
  const outcome = await Promise.race([handled, faulted]).catch((error: unknown) => error)
  if (faults.fault) throw faults.fault
  // better-auth makes a failure of its own of such an error, or an empty list and "done".
  const isAnswered = outcome instanceof Response && !outcome.ok && outcome.status < 500
  if ((scope.invalidInput || faults.refusedValue) && !isAnswered) throw new Refusal('invalid_input')
  if (scope.authorityEnded && !isAnswered) throw new Refusal('session_revoked')
  if (!(outcome instanceof Response)) throw outcome
  return outcome
}

interface Answering {
  mayCarryTokens: boolean
  mayCarryCookies: boolean
  /** What a JSON answer says besides. */
  addition: Record<string, unknown>
}

/**
 * Passes better-auth's answer on. A session token leaves only in the answer to a request that began a session and showed no session
 * cookie: script on a page could otherwise turn an httpOnly cookie into a credential that it can carry away.
 */
async function send(request: FastifyRequest, reply: FastifyReply, response: Response, { mayCarryTokens, mayCarryCookies, addition }: Answering): Promise<FastifyReply> {
  if (response.status >= 500) {
    request.log.error({ status: response.status }, 'better-auth failed')
    throw refusalFor(500)
  }
  reply.code(response.status)
  // A second factor that is locked: nobody need ask again before.
  if (response.status === 429) reply.header('retry-after', secondFactorLockout.durationSeconds)
  for (const [name, value] of response.headers) {
    if (name !== 'set-cookie' && name !== 'content-length' && (mayCarryTokens || name !== 'set-auth-token')) reply.header(name, value)
  }
  const cookies = response.headers.getSetCookie()
  if (cookies.length > 0 && mayCarryCookies) reply.header('set-cookie', cookies)
  reply.header('cache-control', response.headers.get('cache-control') ?? 'no-store')
  // better-auth answers an unknown path with a status and nothing else: say what it means.
  if (!response.body && response.status >= 400) throw refusalFor(response.status)
  if (!response.body) return reply.send()
  if (!isJson(response)) return reply.send(Readable.fromWeb(response.body as ReadableStream))
  const text = await response.text()
  const shown = mayCarryTokens ? text : withoutTokens(text)
  return reply.send(Object.keys(addition).length > 0 ? JSON.stringify({ ...JSON.parse(shown) as object, ...addition }) : shown)
}

// The path as it was sent; a request may name a whole address (RFC 9112 3.2.2).
function pathOf({ raw }: FastifyRequest): string {
  return (raw.url ?? '/').replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}

function isJson(response: Response): boolean {
  return /\bjson\b/i.test(response.headers.get('content-type') ?? '')
}
