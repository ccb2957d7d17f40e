import type { FastifyInstance, FastifyReply, FastifyRequest, preHandlerAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { reportError } from '../src/error-report.js'
import { Refusal } from '../src/errors.js'
import type { Holdfast } from '../src/holdfast.js'
import type { Session, User } from '../src/session/session.js'
import { noteFacts } from './answer-facts.js'
import { asked, credentialOf } from './credential.js'
import { refuseForgery } from './csrf.js'
import { sendRefusal } from './errors.js'

/** Who sent a request, as `requireSession` found it. */
export interface Identity {
  session: Session
  user: User
}

declare module 'fastify' {
  interface FastifyInstance {
    /** A `preHandler` that lets only requests with an active session pass, and sets `request.identity`. */
    requireSession: preHandlerAsyncHookHandler
    /** Makes a `preHandler` that also wants every one of these roles. */
    requireRole: (...roles: string[]) => preHandlerAsyncHookHandler
  }
  interface FastifyRequest {
    identity: Identity | null
  }
}

/** The hooks that guard routes: those of Holdfast and those of an application that registers it. They answer refusals themselves. */
async function guard(app: FastifyInstance, { holdfast }: { holdfast: Holdfast }): Promise<void> {
  app.decorateRequest('identity', null)

  async function identify(request: FastifyRequest, roles: readonly string[]): Promise<void> {
    if (!holdfast.ready()) throw new Refusal('store_unavailable')
    const presented = credentialOf(asked(request), holdfast.auth.cookieName)
    if (!presented) throw new Refusal('credential_missing')
    if (presented.from === 'cookie') refuseForgery(request, holdfast.auth.trustedOrigins)
    const check = await holdfast.reader.check(presented.credential)
    if (!check.active) {
      const { kind, value } = presented.credential
      const sessionId = kind === 'access' ? await holdfast.accessTokens.sessionIdOf(value) : holdfast.reader.parse(presented.credential)?.sessionId
      if (sessionId) noteFacts(request, { sessionId })
      throw new Refusal(check.cause)
    }
    noteFacts(request, { userId: check.user.id, sessionId: check.session.id })
    if (!roles.every((role) => check.user.roles.includes(role))) throw new Refusal('role_missing')
    request.identity = { session: check.session, user: check.user }
  }

  const requiring = (roles: readonly string[]): preHandlerAsyncHookHandler => async (request: FastifyRequest, reply: FastifyReply) => {
    try {
      await identify(request, roles)
      return undefined
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.cause) request.log.error({ err: reportError(error.cause) }, error.message)
      return sendRefusal(request, reply, error)
    }
  }
  app.decorate('requireSession', requiring([]))
  app.decorate('requireRole', (...roles: string[]) => requiring(roles))
}

/** The identity of a request that has passed `requireSession`. */
export function identityOf(request: FastifyRequest): Identity {
  if (!request.identity) throw new Error('the route lacks requireSession')
  return request.identity
}

export default fp(guard, { name: 'guard' })
