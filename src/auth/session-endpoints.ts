import type { BetterAuthPlugin } from 'better-auth'
import {
  APIError,
  createAuthEndpoint,
  createAuthMiddleware,
  getSessionFromCtx,
  sensitiveSessionMiddleware,
  sessionMiddleware
} from 'better-auth/api'
import { parseUserOutput } from 'better-auth/db'
import { deleteSessionCookie, setSessionCookie } from 'better-auth/cookies'
import { generateRandomString } from 'better-auth/crypto'
import * as z from 'zod'
import type { PrismaClient } from '../database/database.js'
import type { Revoker } from '../revocation/revoker.js'
import { judge } from '../session/session.js'
import { findSessionToken, toHandle, parseHandle } from '../session/session-token.js'
import { findSession } from '../session/store.js'
import { betterAuthNow } from './better-auth-clock.js'
import { currentCall, notePending } from './call-context.js'

/** How long a one-time token may be used, in milliseconds: the same as better-auth's. */
const ONE_TIME_TOKEN_MS = 180_000

const byCookie = {
  code: 'ONE_TIME_TOKEN_BY_COOKIE',
  message:
    'A one-time token that was made with a cookie gives no tokens: redeem it without Token-Transport, or make one with a session token.'
}

const refuse = (message: string, code: string) => new APIError('BAD_REQUEST', { code, message })
/**
 * The value in a one-time token's row: the handle of the session that made it, the epoch of its
 * user's credentials, and `bearer` where the client sent a session token of a session that began by
 * a sign-in.
 */
const MADE_BY = /^(?<handle>\S+) (?<epoch>\d+)(?<bearer> bearer)?$/

const NO_ADMIN_SESSION =
  'This request has no session of an administrator to return to. Sign out to end the impersonation.'

const unauthorized = () =>
  new APIError('UNAUTHORIZED', { code: 'UNAUTHORIZED', message: 'Unauthorized' })

/**
 * better-auth's endpoints that revoke sessions, replaced under their own names and paths. Theirs
 * look sessions up by a token, which lists do not show here, and end "all others" one by one, for
 * the first hundred only. Requests and answers are unchanged.
 */
export function sessionEndpoints({ revoker }: { revoker: Revoker }): BetterAuthPlugin {
  return {
    id: 'holdfast-sessions',
    hooks: {
      before: [
        {
          // better-auth answers 500, but the client has no cookies, or has lost this one, so it is
          // a client error.
          matcher: ({ path = '' }) => path === '/admin/stop-impersonating',
          handler: createAuthMiddleware(async (ctx) => {
            const { name } = ctx.context.createAuthCookie('admin_session')
            const current = await getSessionFromCtx<{ impersonatedBy?: string | null }>(ctx)
            if (
              current?.session['impersonatedBy'] &&
              !(await ctx.getSignedCookie(name, ctx.context.secret))
            )
              throw refuse(NO_ADMIN_SESSION, 'NO_ADMIN_SESSION')
          })
        }
      ]
    },
    endpoints: {
      revokeSession: createAuthEndpoint(
        '/revoke-session',
        {
          method: 'POST',
          body: z.object({ token: z.string() }),
          use: [sensitiveSessionMiddleware],
          requireHeaders: true
        },
        async (ctx) => {
          const { session, user } = ctx.context.session
          const sessionId =
            parseHandle(ctx.body.token) ?? findSessionToken(ctx.body.token)?.sessionId
          if (sessionId !== undefined) {
            const ended = await revoker.revoke(
              [sessionId],
              user.id,
              'revoked_by_user',
              sessionId === session.id ? null : session.id
            )
            if (ended === null) throw unauthorized()
            notePending(ended.effectiveBy)
          }
          if (sessionId === session.id) deleteSessionCookie(ctx)
          return ctx.json({ status: true })
        }
      ),
      revokeOtherSessions: createAuthEndpoint(
        '/revoke-other-sessions',
        {
          method: 'POST',
          use: [sensitiveSessionMiddleware],
          requireHeaders: true
        },
        async (ctx) => {
          const { session, user } = ctx.context.session
          const ended = await revoker.revokeAll(
            { sessionId: session.id },
            { userId: user.id, exceptSessionId: session.id, reason: 'revoked_by_user' }
          )
          if (ended === null) throw unauthorized()
          notePending(ended.effectiveBy)
          return ctx.json({ status: true })
        }
      )
    }
  }
}

/**
 * Makes a one-time token. As better-auth's, except for what is kept: the session's handle, with the
 * epoch of the credentials, and whether a cookie made it, which a script on a page can use but not
 * read.
 */
export function generateOneTimeToken({ prisma }: { prisma: PrismaClient }) {
  return createAuthEndpoint(
    '/one-time-token/generate',
    { method: 'GET', use: [sessionMiddleware] },
    async (ctx) => {
      const { id } = ctx.context.session.session
      const token = generateRandomString(32)
      const { user } = (await findSession(prisma, id)) ?? {}
      if (!user) throw unauthorized()
      await ctx.context.internalAdapter.createVerificationValue({
        identifier: `one-time-token:${token}`,
        value: `${toHandle(id)} ${user.credentialEpoch}${(await isByBearer(prisma, id)) ? ' bearer' : ''}`,
        expiresAt: new Date(betterAuthNow() + ONE_TIME_TOKEN_MS)
      })
      return ctx.json({ token })
    }
  )
}

/**
 * Whether the client holds the session token itself, and not only a cookie. A session that began by
 * a one-time token does not count, because a cookie may have made that token.
 */
async function isByBearer(prisma: PrismaClient, sessionId: string): Promise<boolean> {
  if (currentCall().presented !== null) return false
  const session = await prisma.session.findUnique({
    where: { id: sessionId },
    select: { sourceSessionId: true }
  })
  return session?.sourceSessionId === null
}

/**
 * Verifies a one-time token. better-auth's sets the cookie of the session that made the token, and
 * keeps that session's token in the store for it. Here the store has a handle, and a new session
 * begins, which derives from the old one and ends with it. A change of the user's credentials ends
 * the token, even where the session that made it goes on, because a thief may hold it.
 *
 * Tokens in the body, among them a refresh token, are given only for a one-time token that a
 * session token made. Otherwise a script on a page could turn a cookie into a credential to carry
 * away. That is refused before the one-time token is used up.
 */
export function verifyOneTimeToken({ prisma }: { prisma: PrismaClient }) {
  return createAuthEndpoint(
    '/one-time-token/verify',
    {
      method: 'POST',
      body: z.object({ token: z.string() })
    },
    async (ctx) => {
      const identifier = `one-time-token:${ctx.body.token}`
      if (currentCall().transport === 'body') {
        const made = await ctx.context.internalAdapter.findVerificationValue(identifier)
        if (made && !MADE_BY.exec(made.value)?.groups?.['bearer'])
          throw new APIError('FORBIDDEN', byCookie)
      }
      const verification = await ctx.context.internalAdapter.consumeVerificationValue(identifier)
      if (!verification) throw refuse('Invalid token', 'INVALID_TOKEN')
      const { handle = '', epoch = '' } = MADE_BY.exec(verification.value)?.groups ?? {}
      const record = await findSession(prisma, parseHandle(handle) ?? '')
      const source = record && judge(record)
      if (!source?.active) throw refuse('Session not found', 'SESSION_NOT_FOUND')
      if (record?.user?.credentialEpoch !== Number(epoch))
        throw refuse('Invalid token', 'INVALID_TOKEN')
      currentCall().source = source.session
      // The session does not begin if they change now.
      currentCall().epochs.set(source.user.id, Number(epoch))
      const user = await ctx.context.internalAdapter.findUserById(source.user.id)
      const session = user && (await ctx.context.internalAdapter.createSession(user.id))
      if (!user || !session) throw refuse('Session not found', 'SESSION_NOT_FOUND')
      await setSessionCookie(ctx, { session, user })
      return ctx.json({ session, user: parseUserOutput(ctx.context.options, user) })
    }
  )
}
