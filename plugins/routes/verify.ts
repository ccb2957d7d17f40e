import { METHODS } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { Refusal } from '../../src/errors.js'
import type { Holdfast } from '../../src/holdfast.js'
import type { Check } from '../../src/session/session.js'
import { credentialOf } from '../credential.js'
import { beginRefusal, refusalOf } from '../errors.js'
import { quiet } from '../quiet.js'
import type { ForwardedRequest } from '../trusted-proxy.js'
import { identityHeaders, noIdentity } from './identity-headers.js'

const Role = Type.String({ pattern: '^[A-Za-z0-9._:-]{1,64}$' })

/** What the proxy's configuration asks for. A name that is not here is refused: a misspelt `role` would let everybody in. */
const Query = Type.Object({
  role: Type.Optional(Type.Union([Role, Type.Array(Role)])),
  credential: Type.Optional(Type.Union([Type.Literal('cookie'), Type.Literal('bearer')])),
  preflight: Type.Optional(Type.Literal('allow')),
  redirect: Type.Optional(Type.String({ minLength: 1 }))
}, { additionalProperties: false })
const query = Compile(Query)
const roles = Compile(Type.Array(Role))

type Wanted = Omit<Static<typeof Query>, 'role'> & { roles: readonly string[] }

interface Question {
  request: FastifyRequest
  reply: FastifyReply
  wanted: Wanted
  /** What the proxy says of the request that it asks about; looked for where it counts. */
  forwarded: () => ForwardedRequest
}

const empty = (description: string) => ({ description, type: 'null' })
const schema = {
  summary: 'May this request pass?', tags: ['Gateways'], security: [{ cookie: [] }, { bearer: [] }] as Record<string, string[]>[],
  response: {
    200: empty('Yes; the identity is in the headers Remote-User, Remote-Email, Remote-Name, Remote-Groups and X-Session-Id.'), 302: empty('To the sign-in address that `redirect` names.'),
    400: empty('The question is not valid.'), 401: empty('No session.'), 403: empty('A role is missing, or another site asks with a cookie.'), 503: empty('Nobody knows.')
  }
}

/** Where a proxy must require nothing but a session. No role is called so. */
const ANY = '*'
const none: readonly string[] = []
const nothingButASession: Wanted = { roles: none }
const methods = METHODS.filter((method) => method !== 'CONNECT')
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND'])

/**
 * Forward auth: may this request pass? Asked by proxies for every request, by any method. It is answered in `onRequest`, before
 * anything looks at a body, and never with a body of its own, which some proxies would pass on.
 */
export default async function verify(app: FastifyInstance, { holdfast }: { holdfast: Holdfast }): Promise<void> {
  for (const method of methods) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  }
  app.setErrorHandler<FastifyError | Refusal>((error, request, reply) => beginRefusal(reply, refusalOf(error, request)).send())

  const answer = (read: (request: FastifyRequest) => Wanted) => (request: FastifyRequest, reply: FastifyReply): void => {
    try {
      decide(holdfast, { request, reply, wanted: read(request), forwarded: () => app.forwardedRequest(request) })
    } catch (error) {
      reply.send(error)
    }
  }
  const route = { method: methods, ...quiet(app), schema, handler: () => { throw new Error('answered before') } }
  app.route({ ...route, url: '/verify', onRequest: answer(wantedByQuery) })
  // For proxies that append the original path and query to what they ask (Envoy): all of that is ignored.
  for (const url of ['/verify/for/:roles', '/verify/for/:roles/*']) app.route({ ...route, url, onRequest: answer(wantedByPath) })
}

function wantedByQuery({ query: sent }: FastifyRequest): Wanted {
  if (isEmpty(sent)) return nothingButASession
  if (!query.Check(sent)) throw new Refusal('invalid_input')
  const { role, ...wanted } = sent
  return { ...wanted, roles: role === undefined ? none : typeof role === 'string' ? [role] : role }
}

function wantedByPath({ params }: FastifyRequest): Wanted {
  const named = (params as { roles: string }).roles
  if (named === ANY) return nothingButASession
  const listed = named.split(',')
  if (!roles.Check(listed)) throw new Refusal('invalid_input')
  return { roles: listed }
}

/** Answers at once where this process knows; a promise is made only where somebody must be asked. */
function decide(holdfast: Holdfast, question: Question): void {
  const { request, reply, wanted, forwarded } = question
  if (wanted.preflight && isPreflight(request, forwarded())) return pass(reply, noIdentity)
  if (!holdfast.ready()) throw new Refusal('store_unavailable')
  const presented = credentialOf(request, holdfast.auth.cookieName)
  if (!presented || (wanted.credential && presented.from !== wanted.credential)) return refuse(holdfast, question, new Refusal('credential_missing'))
  if (presented.from === 'cookie') refuseForgery(request, forwarded(), holdfast.auth.trustedOrigins)
  const answer = holdfast.reader.answer(presented.credential)
  if (answer instanceof Promise) void wait(holdfast, question, answer)
  else conclude(holdfast, question, answer)
}

async function wait(holdfast: Holdfast, question: Question, answer: Promise<Check>): Promise<void> {
  try {
    conclude(holdfast, question, await answer)
  } catch (error) {
    question.reply.send(error)
  }
}

function conclude(holdfast: Holdfast, question: Question, check: Check): void {
  if (!check.active) return refuse(holdfast, question, new Refusal(check.cause))
  for (const role of question.wanted.roles) {
    if (!check.user.roles.includes(role)) throw new Refusal('role_missing')
  }
  pass(question.reply, identityHeaders(check))
}

function refuse(holdfast: Holdfast, { request, reply, wanted, forwarded }: Question, refusal: Refusal): void {
  const page = wanted.redirect === undefined ? null : signInPage(wanted.redirect, request, forwarded(), holdfast.auth.trustedOrigins)
  if (!page) throw refusal
  reply.code(302).header('location', page).header('cache-control', 'no-store').send()
}

function pass(reply: FastifyReply, headers: Record<string, string>): void {
  reply.headers(headers).send()
}

function isEmpty(object: unknown): boolean {
  for (const _key in object as object) return false
  return true
}

function isPreflight({ method, headers }: FastifyRequest, forwarded: ForwardedRequest): boolean {
  return (method === 'OPTIONS' || forwarded.method === 'OPTIONS') && headers.origin !== undefined && headers['access-control-request-method'] !== undefined
}

/** A browser sends cookies with requests that other sites make it send. What is changed here is behind the proxy: its method and origin count. */
function refuseForgery({ method, headers }: FastifyRequest, forwarded: ForwardedRequest, trustedOrigins: readonly string[]): void {
  if (safeMethods.has(method) && (forwarded.method === undefined || safeMethods.has(forwarded.method))) return
  const { origin, host, 'sec-fetch-site': site } = headers
  if (site === 'same-origin' || site === 'none') return
  if (origin === undefined && site === undefined) return // no browser
  const isOwn = origin !== undefined && (trustedOrigins.includes(origin) || origin === forwarded.address?.origin || hostOf(origin) === host)
  if (!isOwn) throw new Refusal('origin_refused')
}

/** Where a browser that opens a page shall sign in, and come back to; null where nobody is looking. */
function signInPage(redirect: string, { method, headers }: FastifyRequest, { method: original = method, address }: ForwardedRequest, trustedOrigins: readonly string[]): string | null {
  const page = URL.canParse(redirect) ? new URL(redirect) : null
  if (!page || !trustedOrigins.includes(page.origin)) throw new Refusal('invalid_input')
  if ((original !== 'GET' && original !== 'HEAD') || !/\btext\/html\b/i.test(headers.accept ?? '')) return null
  if (address && trustedOrigins.includes(address.origin)) page.searchParams.set('return_to', address.href)
  return page.href
}

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null
}
