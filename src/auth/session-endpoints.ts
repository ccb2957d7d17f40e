import type { BetterAuthPlugin } from 'better-auth'
import { APIError, createAuthEndpoint, sensitiveSessionMiddleware } from 'better-auth/api'
import { parseUserOutput } from 'better-auth/db'
import { deleteSessionCookie, setSessionCookie } from 'better-auth/cookies'
import * as z from 'zod'
import type { PrismaClient } from '../database/database.js'
import type { Revoker } from '../session/revoker.js'
import { judge } from '../session/session.js'
import { findSessionToken, parseHandle } from '../session/session-token.js'
import { findSession } from '../session/store.js'
import { currentScope, notePending } from './scope.js'

const refuse = (message: string, code: string) => new APIError('BAD_REQUEST', { code, message })
const unauthorized = () => new APIError('UNAUTHORIZED', { code: 'UNAUTHORIZED', message: 'Unauthorized' })

/**
 * better-auth's endpoints that revoke sessions, replaced under their own names and paths: theirs looks sessions up by a token, which
 * lists do not show here, and ends "all others" one by one, for the first hundred. Requests and answers are unchanged.
 */
export function sessionEndpoints({ revoker }: { revoker: Revoker }): BetterAuthPlugin {
  return {
    id: 'holdfast-sessions',
    endpoints: {
      revokeSession: createAuthEndpoint('/revoke-session', {
        method: 'POST',
        body: z.object({ token: z.string() }),
        use: [sensitiveSessionMiddleware],
        requireHeaders: true
      }, async (ctx) => {
        const { session, user } = ctx.context.session
        const sessionId = parseHandle(ctx.body.token) ?? findSessionToken(ctx.body.token)?.sessionId
        if (sessionId !== undefined) {
          const ended = await revoker.revoke([sessionId], user.id, 'revoked_by_user', sessionId === session.id ? null : session.id)
          if (ended === null) throw unauthorized()
          notePending(ended.effectiveBy)
        }
        if (sessionId === session.id) deleteSessionCookie(ctx)
        return ctx.json({ status: true })
      }),
      revokeOtherSessions: createAuthEndpoint('/revoke-other-sessions', {
        method: 'POST',
        use: [sensitiveSessionMiddleware],
        requireHeaders: true
      }, async (ctx) => {
        const { session, user } = ctx.context.session
        const ended = await revoker.revokeAll({ sessionId: session.id }, { userId: user.id, exceptSessionId: session.id, reason: 'revoked_by_user' })
        if (ended === null) throw unauthorized()
        notePending(ended.effectiveBy)
        return ctx.json({ status: true })
      })
    }
  }
}

/**
 * The verification of a one-time token. better-auth's sets the cookie of the session that made the token, for which it keeps
 * that session's token in the store; here the store has a handle, and a new session begins on the authority of the old one.
 */
export function verifyOneTimeToken({ prisma }: { prisma: PrismaClient }) {
  return createAuthEndpoint('/one-time-token/verify', {
    method: 'POST',
    body: z.object({ token: z.string() })
  }, async (ctx) => {
    const verification = await ctx.context.internalAdapter.consumeVerificationValue(`one-time-token:${ctx.body.token}`)
    if (!verification) throw refuse('Invalid token', 'INVALID_TOKEN')
    const record = await findSession(prisma, parseHandle(verification.value) ?? '')
    const source = record && judge(record)
    if (!source?.active) throw refuse('Session not found', 'SESSION_NOT_FOUND')
    currentScope().source = source.session
    const user = await ctx.context.internalAdapter.findUserById(source.user.id)
    const session = user && await ctx.context.internalAdapter.createSession(user.id)
    if (!user || !session) throw refuse('Session not found', 'SESSION_NOT_FOUND')
    await setSessionCookie(ctx, { session, user })
    return ctx.json({ session, user: parseUserOutput(ctx.context.options, user) })
  })
}
