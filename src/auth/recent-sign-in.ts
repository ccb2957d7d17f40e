import type { BetterAuthPlugin } from 'better-auth'
import {
  createAuthEndpoint,
  createAuthMiddleware,
  isAPIError,
  sessionMiddleware
} from 'better-auth/api'
import type { Confirmation } from '../revocation/confirmation.js'
import type { PrismaClient } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import {
  findRecentSignIn,
  giveBackFactorAttempts,
  noteFactor,
  notePassword
} from '../session/recent-sign-in.js'
import { guessesFactor } from './endpoint-rules.js'
import { confirmBeforeAnswer, currentCall } from './call-context.js'

/**
 * Tells whether the caller's sign-in is recent, and whether they have a second factor. Notes
 * credentials that a signed-in user enters again: the password at `verify-password`, then the
 * second factor where there is one.
 */
export function recentSignIn({
  prisma,
  confirmation
}: {
  prisma: PrismaClient
  confirmation: Confirmation
}) {
  return {
    id: 'holdfast-recent-sign-in',
    endpoints: {
      getRecentSignIn: createAuthEndpoint(
        '/recent-sign-in',
        { method: 'GET', use: [sessionMiddleware] },
        async (ctx) => ctx.json(await findRecentSignIn(prisma, ctx.context.session.session.id))
      )
    },
    hooks: {
      after: [
        {
          matcher: ({ path = '' }) =>
            path === '/verify-password' || guessesFactor({ path, body: null }),
          handler: createAuthMiddleware(async (ctx) => {
            const { actor, challenged, shown } = currentCall()
            if (isAPIError(ctx.context.returned)) return
            const isFactor = guessesFactor(ctx)
            const userId = actor?.session.userId ?? challenged
            if (isFactor && userId !== null) await giveBackFactorAttempts(prisma, userId)
            if (!actor) return
            const { id } = actor.session
            const changes = isFactor
              ? await noteFactor(prisma, id)
              : await withTransaction(prisma, async (transaction) =>
                  notePassword(await transaction.forWrite(), id, shown.password)
                )
            await confirmBeforeAnswer(confirmation, { changes })
          })
        }
      ]
    }
  } satisfies BetterAuthPlugin
}
