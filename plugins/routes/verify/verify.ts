import { METHODS } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { LRUCache } from 'lru-cache'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import type { Credential } from '../../../src/session/session.js'
import { VERIFY_FOR } from '../../http/http-options.js'
import { toAsked } from '../../http/credential.js'
import { beginError, toAppError } from '../../http/send-error.js'
import type { CheckRoute, FastRequest, FastPath } from '../../fast-path/fast-path.js'
import { logOnlyFailures } from '../../http/log-only-failures.js'
import { ForwardAuth, type VerifyPolicy } from './forward-auth.js'

const Role = Type.String({ pattern: '^[A-Za-z0-9._:-]{1,64}$' })

/**
 * The proxy's configuration. Unknown names are refused: a misspelt `role` would let every user in.
 */
const Query = Type.Object(
  {
    role: Type.Optional(Type.Union([Role, Type.Array(Role)])),
    credential: Type.Optional(Type.Union([Type.Literal('cookie'), Type.Literal('bearer')])),
    preflight: Type.Optional(Type.Literal('allow')),
    redirect: Type.Optional(Type.String({ minLength: 1 })),
    redirect_status: Type.Optional(Type.Union([Type.Literal('302'), Type.Literal('401')]))
  },
  { additionalProperties: false }
)
const query = Compile(Query)
const roles = Compile(Type.Array(Role))

const empty = (description: string) => ({ description, type: 'null' })
const schema = {
  summary: 'May this request pass?',
  tags: ['Gateways'],
  security: [{ cookie: [] }, { bearer: [] }] as Record<string, string[]>[],
  response: {
    200: empty(
      'Yes; the identity is in the headers Remote-User, Remote-Email, Remote-Name, Remote-Groups and X-Session-Id.'
    ),
    302: empty('To the sign-in address that `redirect` names.'),
    400: empty('The question is not valid.'),
    401: empty('No session. With `redirect_status=401`, `Location` says where a browser signs in.'),
    403: empty('A role is missing, or another site asks with a cookie.'),
    503: empty('Nobody knows.')
  }
}

/** In place of roles, where only a session is required. No role has this name. */
const ANY = '*'
const nothingButASession: VerifyPolicy = { roles: [] }
const methods = METHODS.filter((method) => method !== 'CONNECT')

/** Addresses that are remembered, and their maximum length. Proxies use only a few. */
const REMEMBERED = 1_000
const LONGEST_REMEMBERED = 256

/** The parsed policy of an address, kept for later requests. */
interface VerifyRequest extends FastRequest {
  policy: VerifyPolicy
}

/**
 * Forward auth: proxies ask for every request, with any method, whether it may pass. It is answered
 * in `onRequest`, before a body is read, and without a body of its own, which some proxies would
 * pass on.
 *
 * @param options.fastPath where valid requests may be answered ahead of Fastify, for addresses that
 *   a route here has parsed before
 */
export default async function verify(
  app: FastifyInstance,
  { holdfast, fastPath }: { holdfast: Holdfast; fastPath: FastPath | null }
): Promise<void> {
  for (const method of methods) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  }
  app.setErrorHandler<FastifyError | AppError>((error, request, reply) =>
    beginError(reply, toAppError(error, request)).send()
  )

  const forwardAuth = new ForwardAuth(holdfast, app.forwardedRequest)
  const questions = new LRUCache<string, VerifyRequest>({ max: REMEMBERED })
  const below = app.prefix + VERIFY_FOR

  const route: CheckRoute<VerifyRequest, Credential | 'preflight'> = {
    match: ({ url = '' }) => questions.get(questionKey(url, below)),
    parse: (request, { policy }) => forwardAuth.read(request, policy),
    checkCached: (credential, { policy }) => forwardAuth.checkCached(credential, policy),
    check: (credential, { policy }) => forwardAuth.check(credential, policy)
  }
  const remember = (address: string, question: VerifyRequest) => {
    if (address.length > LONGEST_REMEMBERED || questions.get(address)) return
    // A copy, because a slice would keep the whole address in memory, with the tail, which may
    // contain one-time tokens.
    questions.set(Buffer.from(address, 'latin1').toString('latin1'), question)
  }
  const answer =
    (url: string, read: (request: FastifyRequest) => VerifyPolicy) =>
    async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      const policy = read(request)
      const head = { route: app.prefix + url, hasBody: false, policy }
      if (fastPath) remember(questionKey(request.raw.url ?? '', below), head)
      try {
        const reason = fastPath?.handedOn(request.raw)?.reason
        if (reason !== undefined) throw reason
        const { headers } = await route.check(forwardAuth.read(toAsked(request), policy), head)
        return reply.headers(headers).send()
      } catch (error) {
        const isSignedOut = error instanceof AppError && error.statusCode === 401
        const page =
          isSignedOut && policy.redirect !== undefined
            ? forwardAuth.signInPage(policy.redirect, toAsked(request))
            : null
        if (page === null) throw error
        reply.header('location', page)
        if (policy.redirectStatus === 401) throw error
        return reply.code(302).header('cache-control', 'no-store').send()
      }
    }
  const addRoute = (url: string, read: (request: FastifyRequest) => VerifyPolicy) =>
    app.route({
      method: methods,
      url,
      ...logOnlyFailures(app),
      schema,
      onRequest: answer(url, read),
      handler: () => {
        throw new Error('answered before')
      }
    })
  addRoute('/verify', policyFromQuery)
  // For proxies that append the original path and query to the address (Envoy). All of that is
  // ignored.
  addRoute(`${VERIFY_FOR}:roles`, policyFromPath)
  addRoute(`${VERIFY_FOR}:roles/*`, policyFromPath)

  fastPath?.add(route)
}

/**
 * The part of an address that decides the answer: all of it, or all before the ignored tail. The
 * tail may be invalid (`/100%`): it belongs to the application, and this server must not parse it.
 *
 * @param below the path of the routes that ignore it
 */
export function questionKey(url: string, below: string): string {
  if (!url.startsWith(below)) return url
  for (let i = below.length; i < url.length; i++) {
    const character = url[i]
    if (character === '/' || character === '?' || character === '#') return url.slice(0, i + 1)
  }
  return url
}

function policyFromQuery({ query: sent }: FastifyRequest): VerifyPolicy {
  if (isEmpty(sent)) return nothingButASession
  if (!query.Check(sent)) throw new AppError('invalid_input')
  const { role, redirect_status: status, ...wanted } = sent
  if (status !== undefined && wanted.redirect === undefined) throw new AppError('invalid_input')
  return {
    ...wanted,
    redirectStatus: status === '401' ? 401 : 302,
    roles: role === undefined ? [] : typeof role === 'string' ? [role] : role
  }
}

function policyFromPath({ params }: FastifyRequest): VerifyPolicy {
  const named = (params as { roles: string }).roles
  if (named === ANY) return nothingButASession
  const listed = named.split(',')
  if (!roles.Check(listed)) throw new AppError('invalid_input')
  return { roles: listed }
}

function isEmpty(object: unknown): boolean {
  for (const _key in object as object) return false
  return true
}
