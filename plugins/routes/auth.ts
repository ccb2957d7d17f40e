import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CLIENT_ADDRESS_HEADER } from '../../src/auth/auth.js'
import { createAuthScope, runInScope, type AuthScope } from '../../src/auth/scope.js'
import { watchFaults, type FaultScope } from '../../src/database/fault.js'
import { Refusal, refusalFor } from '../../src/errors.js'
import type { Holdfast } from '../../src/holdfast.js'
import { withoutTokens } from '../../src/session/session-token.js'
import { limits, secondFactorLockout } from '../../src/limits.js'
import { limitGuesses, limitMails, limitPasswords } from '../account-limit.js'
import { credentialOf, isCookie, type PresentedCredential } from '../credential.js'
import { limitedBy } from '../rate-limit.js'

/** Largest request body of better-auth's endpoints, in bytes. */
const BODY_LIMIT = 128 * 1024

// Not forwarded: what belongs to one connection (RFC 9110 7.6.1), what the body decides, and what a client could forge.
const ownHeaders = new Set([
  'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade',
  'content-length', 'expect', 'host', 'forwarded', 'via', 'x-real-ip', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip', CLIENT_ADDRESS_HEADER
])
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
  const presented = credentialOf(request, holdfast.auth.cookieName)
  const scope = createAuthScope(presented?.from === 'cookie' ? holdfast.reader.parse(presented.credential) : null)
  const response = await answer(holdfast, scope, toWebRequest(holdfast, request, presented))
  if (scope.pendingUntil) reply.header('session-revocation', `pending; effective-by="${scope.pendingUntil.toISOString()}"`)
  return send(request, reply, response, { mayCarryTokens: scope.insertedSession && presented?.from !== 'cookie' && !(scope.source && isFromPage(request)) })
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
  if (!(outcome instanceof Response)) throw outcome
  return outcome
}

function toWebRequest({ config, auth }: Holdfast, request: FastifyRequest, presented: PresentedCredential | null): Request {
  const headers = new Headers()
  const { rawHeaders } = request.raw
  // What remembers a device authenticates nobody: with it alone, a program needs no Origin.
  const cookie = withoutCookie(request.headers.cookie ?? '', auth.deviceCookie.name)
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? ''
    if (name === 'authorization' && presented?.from !== 'bearer') continue
    if (name === 'sec-fetch-mode' && isFromProgram(request, cookie)) continue
    if (!ownHeaders.has(name) && !name.startsWith('x-forwarded-')) headers.append(name, rawHeaders[i + 1] ?? '')
  }
  // The header that counts decides alone: the other one must not reach better-auth, which would let the cookie win.
  setCookieHeader(headers, presented?.from === 'bearer' ? withoutCookie(cookie, auth.cookieName) : cookie)
  headers.set(CLIENT_ADDRESS_HEADER, request.ip)
  const body = request.body instanceof Buffer && request.body.length > 0 ? new Uint8Array(request.body) : null
  // A request may name a whole address (RFC 9112 3.2.2): its host is the client's word.
  const { pathname, search } = new URL(request.raw.url ?? '/', config.baseUrl)
  return new Request(`${config.baseUrl}${pathname}${search}`, {
    method: request.method,
    headers,
    ...(body && request.method !== 'GET' && request.method !== 'HEAD' ? { body } : {})
  })
}

/**
 * Passes better-auth's answer on. A session token leaves only in the answer to a request that began a session and showed no session
 * cookie: script on a page could otherwise turn an httpOnly cookie into a credential that it can carry away.
 */
async function send(request: FastifyRequest, reply: FastifyReply, response: Response, { mayCarryTokens }: { mayCarryTokens: boolean }): Promise<FastifyReply> {
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
  if (cookies.length > 0) reply.header('set-cookie', cookies)
  reply.header('cache-control', response.headers.get('cache-control') ?? 'no-store')
  // better-auth answers an unknown path with a status and nothing else: say what it means.
  if (!response.body && response.status >= 400) throw refusalFor(response.status)
  if (!response.body) return reply.send()
  if (!isJson(response)) return reply.send(Readable.fromWeb(response.body as ReadableStream))
  const text = await response.text()
  return reply.send(mayCarryTokens ? text : withoutTokens(text))
}

// Script cannot keep a browser from sending these. A page that may ask for a one-time token must not get from it the credential that
// its httpOnly cookie withholds; the cookie of the new session it may have.
function isFromPage({ headers }: FastifyRequest): boolean {
  return headers.origin !== undefined || headers['sec-fetch-site'] !== undefined
}

// Node's own fetch sends this one header of a browser, for which better-auth would want an Origin. A browser sends Sec-Fetch-Site with it.
function isFromProgram({ headers }: FastifyRequest, cookie: string): boolean {
  return headers['sec-fetch-site'] === undefined && headers.origin === undefined && cookie === ''
}

// The path as it was sent; a request may name a whole address (RFC 9112 3.2.2).
function pathOf({ raw }: FastifyRequest): string {
  return (raw.url ?? '/').replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}

function isJson(response: Response): boolean {
  return /\bjson\b/i.test(response.headers.get('content-type') ?? '')
}

function withoutCookie(cookie: string, name: string): string {
  return cookie.split(';').filter((pair) => !isCookie(pair, name)).join(';').trim()
}

function setCookieHeader(headers: Headers, cookie: string): void {
  if (cookie === '') headers.delete('cookie')
  else headers.set('cookie', cookie)
}
