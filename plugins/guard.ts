import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { reportError } from '../src/error-report.js'
import { AppError } from '../src/errors.js'
import type { Holdfast } from '../src/public.js'
import type { Session, User } from '../src/session/session.js'
import { noteFacts } from './http/answer-facts.js'
import { toAsked, credentialFrom } from './http/credential.js'
import { refuseForgery } from './http/csrf.js'
import { sendError } from './http/send-error.js'

/** The identity behind a request, as a guard found it. */
export interface Identity {
  session: Session
  user: User
}

/**
 * A hook for routes of any application, whatever its server, logger and type provider. It takes
 * Fastify's request and reply.
 */
export type Guard = (request: object, reply: object) => Promise<unknown>

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * A `preHandler` that lets only requests with an active session pass, and sets
     * `request.identity`.
     */
    requireSession: Guard
    /** Makes a `preHandler` that also wants every one of these roles. */
    requireRole: (...roles: string[]) => Guard
  }
  interface FastifyRequest {
    /** The identity behind the request. Set only on routes with one of the guards. */
    identity: Identity
  }
}

const identities = new WeakMap<object, Identity>()

/**
 * Adds the guard hooks to an application: Holdfast's own, or one that registers Holdfast. They
 * answer refusals themselves. `request.identity` is not a decorator, because an application may
 * already have one with that name, which is then left alone.
 */
export function addGuards(app: FastifyInstance, holdfast: Holdfast): void {
  async function identify(request: FastifyRequest, roles: readonly string[]): Promise<Identity> {
    if (!holdfast.ready()) throw new AppError('store_unavailable')
    const credential = credentialFrom(toAsked(request), holdfast.auth.cookieName)
    if (!credential) throw new AppError('credential_missing')
    if (credential.kind === 'cookie') refuseForgery(request, holdfast.auth.trustedOrigins)
    const check = await holdfast.reader.check(credential)
    if (!check.active) {
      const sessionId =
        credential.kind === 'access'
          ? await holdfast.accessTokens.sessionIdOf(credential.value)
          : holdfast.reader.parse(credential)?.sessionId
      if (sessionId) noteFacts(request, { sessionId })
      throw new AppError(check.cause)
    }
    noteFacts(request, { userId: check.user.id, sessionId: check.session.id })
    if (!roles.every((role) => check.user.roles.includes(role))) throw new AppError('role_missing')
    return { session: check.session, user: check.user }
  }

  const requiring =
    (roles: readonly string[]) => async (request: FastifyRequest, reply: FastifyReply) => {
      try {
        const identity = await identify(request, roles)
        const known = identities.get(request)
        if (!('identity' in request) || (known && request.identity === known))
          Object.assign(request, { identity })
        identities.set(request, identity)
        return undefined
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        if (error.cause) request.log.error({ err: reportError(error.cause) }, error.message)
        return sendError(request, reply, error)
      }
    }
  app.decorate('requireSession', requiring([]) as Guard)
  app.decorate('requireRole', (...roles: string[]) => requiring(roles) as Guard)
}

/**
 * The identity behind a request that has passed a guard: `request.identity`, also where the
 * application has a decorator with that name.
 *
 * @throws Error on a route without a guard
 */
export function requestIdentity(request: object): Identity {
  const identity = identities.get(request)
  if (!identity) throw new Error('the route lacks requireSession')
  return identity
}
