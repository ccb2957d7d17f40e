import type { FastifyRequest, onResponseHookHandler } from 'fastify'
import type { Shown } from '../../../src/auth/attempts.js'
import type { AuthCallContext } from '../../../src/auth/call-context.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { answerFacts } from '../../http/answer-facts.js'
import { authBody } from './body.js'
import { fromWhere } from './web-request.js'

const scopes = new WeakMap<FastifyRequest, AuthCallContext>()

/** Keeps the call context of better-auth's call for the hook after the answer. */
export function noteScope(request: FastifyRequest, scope: AuthCallContext): void {
  scopes.set(request, scope)
}

/**
 * A hook for routes where a user authenticates. After the answer it notes the attempt, whether it
 * was refused or not.
 */
export function noteAttempts({ attempts }: Holdfast, shown: Shown): onResponseHookHandler {
  return (request, reply, done) => {
    const { cause, code, userId, sessionId } = answerFacts(request)
    const name = shown === 'sign_in' ? authBody(request)?.['email'] : undefined
    attempts.note({
      shown,
      status: reply.statusCode,
      code: cause ?? code ?? null,
      name: typeof name === 'string' ? name : null,
      from: fromWhere(request),
      scope: scopes.get(request) ?? null,
      signedIn: userId !== undefined && sessionId !== undefined ? { userId, sessionId } : null
    })
    done()
  }
}
