import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { shownTo } from '../../../src/auth/attempts.js'
import type { Auth } from '../../../src/auth/auth.js'
import type { Credential } from '../../../src/session/session.js'
import type { AuthEndpoint } from '../../../src/auth/endpoints.js'
import {
  createCallContext,
  runInScope,
  type AuthCallContext
} from '../../../src/auth/call-context.js'
import { watchFaults, type FaultContext } from '../../../src/database/fault.js'
import { AppError, appErrorForStatus, type ErrorCode } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { withoutTokens } from '../../../src/session/session-token.js'
import { limits, secondFactorLockout } from '../../../src/limits.js'
import { preferredLanguage } from '../../../src/language.js'
import {
  isCounted,
  limitCodes,
  limitGuesses,
  limitMails,
  limitPasswords,
  limitProbes,
  limitTokens,
  type AccountLimitOptions
} from './account-limit.js'
import { noteFacts, type AnswerFacts } from '../../http/answer-facts.js'
import { noteAttempts, noteScope } from './attempts.js'
import { authBody, readAuthBody } from './body.js'
import { checkFields } from './fields.js'
import { clientNetwork } from '../../limits/budgets.js'
import {
  toAsked,
  credentialFrom,
  expiredSessionCookies,
  namesTwoSessions
} from '../../http/credential.js'
import { refuseForeignAdministration } from '../../http/csrf.js'
import { readDeviceName } from './device-name.js'
import {
  isKnownDevice,
  newDeviceProof,
  SET_DEVICE_TOKEN_HEADER,
  setDeviceCookie
} from './known-device.js'
import { mailHandleCookie, mailHandleFrom } from './mail-handle.js'
import { limitedBy } from '../../limits/rate-limit.js'
import { noteOriginFrom } from './refused-origins.js'
import { additionTo, tokenTransportFrom } from './token-transport.js'
import {
  hashClientFrom,
  fromWhere,
  isFromPage,
  toWebRequest,
  toWireHeaders,
  withoutCookie
} from './web-request.js'
import { allowHeader, endpointMethods, endpointRule, type EndpointRule } from './endpoint-rules.js'

/** Largest request body of better-auth's endpoints, in bytes. */
const BODY_LIMIT = 128 * 1024

const knownMethods = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT']

/**
 * better-auth behind Fastify: one route for each of its endpoints, under the endpoint's own path
 * and methods, with the limits of its rule. better-auth cannot be reached any other way.
 */
export default async function auth(
  app: FastifyInstance,
  { holdfast }: { holdfast: Holdfast }
): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    '*',
    { parseAs: 'buffer', bodyLimit: BODY_LIMIT },
    (_request, body, done) => done(null, body)
  )
  const served: Served = {
    holdfast,
    withoutAdministration: originsWithoutAdministration(holdfast)
  }
  for (const endpoint of holdfast.auth.endpoints) {
    const rule = endpointRule(endpoint)
    if (rule.kind !== 'off') addEndpoint(app, served, endpoint, rule)
  }
  app.route({
    method: knownMethods,
    url: '/api/auth/*',
    schema: { hide: true },
    bodyLimit: BODY_LIMIT,
    handler: refuseUnknown
  })
}

/** What every endpoint needs. */
interface Served {
  holdfast: Holdfast
  /** The trusted origins from which a cookie administers nothing. */
  withoutAdministration: readonly string[]
}

function addEndpoint(
  app: FastifyInstance,
  served: Served,
  endpoint: AuthEndpoint,
  rule: EndpointRule
): void {
  const { holdfast } = served
  const url = `/api/auth${endpoint.path}`
  const allowed = endpointMethods(endpoint)
  const shown = shownTo(endpoint.path)
  app.route({
    url,
    method: allowed,
    exposeHeadRoute: false, // HEAD is among the methods where it is allowed
    schema: { hide: true }, // described by better-auth itself
    bodyLimit: BODY_LIMIT,
    preValidation: async (request) => {
      if (!(request.body instanceof Buffer) || request.body.length === 0) return
      await checkFields(
        endpoint.path,
        readAuthBody(request, request.body, endpoint),
        holdfast.config
      )
    },
    ...limitsFrom(rule, { holdfast, budgets: app.budgets }),
    ...(shown === null ? {} : { onResponse: noteAttempts(holdfast, shown) }),
    handler: (request, reply) => {
      if (rule.kind !== 'open' && !isCounted(request))
        throw new Error(`${endpoint.path} was asked without being counted`)
      return forward(served, endpoint, request, reply)
    }
  })
  app.route({
    url,
    method: knownMethods.filter((method) => !allowed.includes(method)),
    schema: { hide: true },
    bodyLimit: BODY_LIMIT,
    handler: (_request, reply) => {
      reply.header('allow', allowHeader(endpoint))
      throw new AppError('method_not_allowed')
    }
  })
}

/** Endpoints where a user signs in or up, so an earlier session does not matter. */
const needsNoSession = new Set<EndpointRule['kind']>(['account', 'probe'])

function originsWithoutAdministration({ auth, config }: Holdfast): string[] {
  const allowed = [...auth.ownOrigins, ...config.adminOrigins]
  return auth.trustedOrigins.filter((origin) => !allowed.includes(origin))
}

/**
 * Whether an endpoint is for administrators. The two others below `/admin` are for everybody: one
 * gives a right back, the other tells what the caller may do.
 */
function administers({ path }: AuthEndpoint): boolean {
  return (
    path.startsWith('/admin/') &&
    path !== '/admin/stop-impersonating' &&
    path !== '/admin/has-permission'
  )
}

/**
 * Removes two session cookies that differ from a request. Where the session matters, such a request
 * is refused. A sign-in needs neither cookie.
 *
 * @returns whether there were two
 */
function dropTwoSessions({ raw }: FastifyRequest, { cookieName }: Auth): boolean {
  const { cookie } = raw.headers
  if (cookie === undefined || !namesTwoSessions(cookie, cookieName)) return false
  raw.headers.cookie = withoutCookie(cookie, cookieName)
  return true
}

function limitsFrom(
  rule: EndpointRule,
  options: AccountLimitOptions
): Pick<RouteOptions, 'config' | 'onSend' | 'preHandler'> {
  if (rule.kind === 'open' || rule.kind === 'off') return {}
  const config = limitedBy(rule.limit)
  if (rule.kind === 'account') return { ...limitGuesses(options), config }
  if (rule.kind === 'probe') return { ...limitProbes(options), config }
  if (rule.kind === 'session') return { ...limitPasswords(options), config }
  if (rule.kind === 'code') return { ...limitCodes(options), config }
  return { ...(rule.kind === 'mail' ? limitMails(options) : limitTokens), config }
}

/**
 * Answers where better-auth has no endpoint. Like any unknown route, it is counted by address, to
 * slow down scanners.
 */
async function refuseUnknown(request: FastifyRequest, reply: FastifyReply): Promise<never> {
  await request.server.budgets?.take(reply, limits.notFoundByAddress, clientNetwork(request))
  throw new AppError('not_found')
}

async function forward(
  { holdfast, withoutAdministration }: Served,
  endpoint: AuthEndpoint,
  request: FastifyRequest,
  reply: FastifyReply
): Promise<FastifyReply> {
  if (!holdfast.ready()) throw new AppError('store_unavailable')
  // Fastify has chosen the route, and so the limits, by its own reading of the path. better-auth
  // must see that endpoint and no other.
  const { pathname } = new URL(request.raw.url ?? '/', holdfast.config.baseUrl)
  if (pathname !== pathFrom(request) || !isPath(holdfast.auth.basePath, endpoint, pathname))
    throw new AppError('not_found')
  const { auth, tokens } = holdfast
  const hadTwoSessions =
    needsNoSession.has(endpointRule(endpoint).kind) && dropTwoSessions(request, auth)
  const credential = credentialFrom(toAsked(request), auth.cookieName)
  if (credential?.kind === 'cookie' && administers(endpoint))
    refuseForeignAdministration(request, withoutAdministration)
  const transport = tokenTransportFrom(request, credential, pathname)
  if (transport === 'body' && pathname.endsWith('/one-time-token/verify') && isFromPage(request))
    throw new AppError('invalid_input', 'A page is given no tokens for a one-time token')
  const scope = createCallContext({
    presented: credential?.kind === 'cookie' ? holdfast.reader.parse(credential) : null,
    transport,
    client: hashClientFrom(request, reply),
    from: fromWhere(request),
    deviceName: readDeviceName(request),
    language: preferredLanguage(request.headers['accept-language']),
    mailHandle: mailHandleFrom(holdfast, request),
    isKnownDevice: (account) => isKnownDevice(holdfast, request, account),
    surrogate: credential?.kind === 'access' ? await tokens.surrogateFor(credential.value) : null
  })
  noteScope(request, scope)
  try {
    const response = await answer(
      holdfast,
      scope,
      toWebRequest(holdfast, request, credential, scope)
    )
    if (response.status >= 400) await abandonSession(holdfast, scope, request)
    if (response.status === 405) reply.header('allow', allowHeader(endpoint))
    return await pass(holdfast, {
      request,
      reply,
      response,
      scope,
      credential,
      hadTwoSessions,
      pathname
    })
  } catch (error) {
    await abandonSession(holdfast, scope, request)
    throw error
  } finally {
    noteFacts(request, aboutWhom(scope))
  }
}

/** The user of a call, for the log: the one who is signed in, or whose account was named. */
function aboutWhom({ actor, epochs }: AuthCallContext): AnswerFacts {
  if (actor) return { userId: actor.session.userId, sessionId: actor.session.id }
  const [userId] = epochs.keys()
  return userId === undefined ? {} : { userId }
}

/**
 * Ends the session of a call that failed after it began one: its token was not given to a client.
 * Where the store does not answer, the session stays, but is of no use to anyone.
 */
async function abandonSession(
  { revoker }: Holdfast,
  scope: AuthCallContext,
  request: FastifyRequest
): Promise<void> {
  const sessionId = scope.insertedSession
  if (sessionId === null) return
  scope.insertedSession = null
  try {
    await revoker.revoke([sessionId], null, 'sign_in_failed')
  } catch (error) {
    request.log.error(
      { err: error, sessionId },
      'an abandoned session could not be ended: its token was not sent to a client'
    )
  }
}

interface Call {
  request: FastifyRequest
  reply: FastifyReply
  response: Response
  scope: AuthCallContext
  credential: Credential | null
  /** Whether the request had two session cookies that differ, at an endpoint that needs neither. */
  hadTwoSessions: boolean
  pathname: string
}

/** Passes better-auth's answer on, as far as the credential allows. */
async function pass(
  holdfast: Holdfast,
  { request, reply, response, scope, credential, hadTwoSessions, pathname }: Call
): Promise<FastifyReply> {
  const { auth, tokens } = holdfast
  const { transport } = scope
  if (scope.pendingUntil)
    reply.header(
      'session-revocation',
      `pending; effective-by="${scope.pendingUntil.toISOString()}"`
    )
  // For an invalid credential better-auth answers "no session". A client that could use its refresh
  // token must not mistake that for a sign-out.
  if (
    scope.surrogateRefused &&
    request.headers['two-factor-challenge'] === undefined &&
    (response.status === 401 || pathname.endsWith('/get-session'))
  )
    throw new AppError(scope.surrogateRefused)
  if (scope.insufficient && !response.ok) {
    if (scope.insufficient === 'rate_limited')
      reply.header('retry-after', secondFactorLockout.durationSeconds)
    throw new AppError(scope.insufficient)
  }
  const mayCarryTokens =
    scope.insertedSession !== null &&
    credential?.kind !== 'cookie' &&
    // A page that asks for a cookie wants no token where its script could see it.
    request.headers['token-transport'] !== 'cookie' &&
    !(scope.source && isFromPage(request))
  const addition = {
    ...(await additionTo(
      { transport, begun: mayCarryTokens ? scope.begun : null },
      response.headers.getSetCookie(),
      auth.cookiePrefix,
      tokens
    )),
    ...(scope.newMailHandle !== null && transport === 'body' && response.ok
      ? { challenge: scope.newMailHandle }
      : {}),
    ...causeFrom(scope)
  }
  // A client that gets tokens needs no session token, which does not rotate.
  const wire = toWireHeaders(response.headers, auth)
  const answering = {
    ...wire,
    // The session's cookie comes first: some clients look at one.
    cookies:
      scope.newMailHandle !== null && response.ok
        ? [...wire.cookies, mailHandleCookie(holdfast, scope.newMailHandle)]
        : wire.cookies,
    mayCarryTokens: mayCarryTokens && !('tokens' in addition),
    mayCarryCookies: transport === 'cookie',
    forgotten: hadTwoSessions ? expiredSessionCookies(auth) : [],
    noRoom: scope.noRoom,
    unauthorized: credential ? ('session_unknown' as const) : ('credential_missing' as const)
  }
  const begunHere =
    transport === 'body' ? 'tokens' in addition : setsCookie(response, auth.cookieName)
  const proof =
    request.server.budgets && response.status === 200
      ? newDeviceProof(holdfast, { request, scope, pathname, begunHere })
      : null
  if (proof === null) return send(request, reply, response, { ...answering, addition })
  if (transport === 'cookie') setDeviceCookie(holdfast, reply, proof)
  if (answering.mayCarryTokens) reply.header(SET_DEVICE_TOKEN_HEADER, proof)
  return send(request, reply, response, {
    ...answering,
    addition: transport === 'body' ? { ...addition, device_token: proof } : addition
  })
}

/**
 * Calls better-auth. It swallows database errors: a sign-out in an outage would say "done" and
 * clear the cookie. So the first fault of the store becomes the answer at once, whatever
 * better-auth makes of it: 503, with no cookie set or cleared.
 */
async function answer(
  holdfast: Holdfast,
  scope: AuthCallContext,
  request: Request
): Promise<Response> {
  const faults: FaultContext = { fault: null, refusedValue: false, onFault: () => {} }
  const faulted = new Promise<never>((_resolve, reject) => {
    faults.onFault = reject
  })
  const handled = watchFaults(faults, () => runInScope(scope, () => holdfast.auth.handler(request)))
  handled.catch(() => {}) // when the fault wins the race, its error has no other listener
  const outcome = await Promise.race([handled, faulted]).catch((error: unknown) => error)
  if (faults.fault) throw faults.fault
  // For such an error better-auth answers with a failure of its own, or an empty list and "done".
  const isAnswered = outcome instanceof Response && !outcome.ok && outcome.status < 500
  if ((scope.invalidInput || faults.refusedValue) && !isAnswered)
    throw new AppError('invalid_input')
  if (scope.authorityEnded && !isAnswered) throw new AppError(scope.authorityEnded)
  if (!(outcome instanceof Response)) throw outcome
  return outcome
}

/** The stable code, where it is one of ours. */
function causeFrom({ noRoom }: AuthCallContext): { cause?: ErrorCode } {
  return noRoom ? { cause: 'too_many_sessions' } : {}
}

interface Answering {
  /** The code for a 401 without a body: better-auth's guard of admin/* sends only the status. */
  unauthorized: 'session_unknown' | 'credential_missing'
  cookies: string[]
  /** The session token for a client without cookies. */
  bearer: string | null
  mayCarryTokens: boolean
  mayCarryCookies: boolean
  /** Cookies that a new one replaces. Without a new one they stay. */
  forgotten: readonly string[]
  /** Further members of a JSON answer. */
  addition: Record<string, unknown>
  /** Present where a sign-in has met the cap of sessions. */
  noRoom: AuthCallContext['noRoom']
}

/**
 * Sends better-auth's answer. A session token is sent only where the request began a session and
 * carried no session cookie. Otherwise a script on a page could turn an httpOnly cookie into a
 * credential that it can carry away.
 */
async function send(
  request: FastifyRequest,
  reply: FastifyReply,
  response: Response,
  {
    cookies,
    bearer,
    mayCarryTokens,
    mayCarryCookies,
    forgotten,
    addition,
    noRoom,
    unauthorized
  }: Answering
): Promise<FastifyReply> {
  if (response.status >= 500) {
    request.log.error({ status: response.status }, 'better-auth failed')
    throw appErrorForStatus(500)
  }
  reply.code(response.status)
  // The second factor is locked, or there is no room for a session: the client need not try again
  // sooner.
  if (response.status === 429)
    reply.header('retry-after', noRoom?.retryAfterSeconds ?? secondFactorLockout.durationSeconds)
  for (const [name, value] of response.headers) {
    if (name !== 'set-cookie' && name !== 'content-length' && name !== 'set-auth-token')
      reply.header(name, value)
  }
  if (bearer !== null && mayCarryTokens) reply.header('set-auth-token', bearer)
  if (cookies.length > 0 && mayCarryCookies) reply.header('set-cookie', [...forgotten, ...cookies])
  reply.header('cache-control', response.headers.get('cache-control') ?? 'no-store')
  // better-auth answers an unknown path with a bare status. Add a body that explains it.
  if (!response.body && response.status >= 400)
    throw response.status === 401 ? new AppError(unauthorized) : appErrorForStatus(response.status)
  if (!response.body) return reply.send()
  if (!isJson(response)) return reply.send(Readable.fromWeb(response.body as ReadableStream))
  const text = await response.text()
  if (response.status >= 400) noteError(request, text)
  const shown = mayCarryTokens ? text : withoutTokens(text)
  return reply.send(
    Object.keys(addition).length > 0
      ? JSON.stringify({ ...(JSON.parse(shown) as object), ...addition })
      : shown
  )
}

/** Notes the code of a better-auth error for the log, and the origin that it is about. */
function noteError(request: FastifyRequest, text: string): void {
  const error = JSON.parse(text) as { code?: unknown } | null
  if (typeof error?.code !== 'string') return
  noteFacts(request, { code: error.code })
  noteOriginFrom(request.server.holdfast, request, error.code, authBody(request))
}

// The path as it was sent. A request may name a whole address (RFC 9112 3.2.2).
function pathFrom({ raw }: FastifyRequest): string {
  return (raw.url ?? '/').replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] || '/'
}

/**
 * Fastify accepts more spellings of a path than better-auth: percent-encoded letters, and what a
 * host application allows.
 */
function isPath(basePath: string, { path }: AuthEndpoint, pathname: string): boolean {
  const fixed = `${basePath}${path}`
  return fixed.includes(':')
    ? pathname.startsWith(fixed.slice(0, fixed.indexOf(':')))
    : pathname === fixed
}

/** Whether an answer sets a cookie to a value, and does not delete it. */
function setsCookie(response: Response, name: string): boolean {
  return response.headers
    .getSetCookie()
    .some((cookie) => cookie.startsWith(`${name}=`) && !/; Max-Age=0/i.test(cookie))
}

function isJson(response: Response): boolean {
  return /\bjson\b/i.test(response.headers.get('content-type') ?? '')
}
