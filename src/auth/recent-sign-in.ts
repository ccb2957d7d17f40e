import type { BetterAuthPlugin } from 'better-auth'
import { createAuthMiddleware, isAPIError } from 'better-auth/api'
import type { Confirmation } from '../cache/confirmation.js'
import type { PrismaClient } from '../database/database.js'
import { giveBackFactorAttempts, noteFactor, notePassword } from '../session/recent-sign-in.js'
import { guessesFactor } from './endpoint-rules.js'
import { confirmBeforeAnswer, currentScope } from './scope.js'

/** Notes the credentials that a signed-in user shows again: the password at `verify-password`, then the second factor where there is one. */
export function recentSignIn({ prisma, confirmation }: { prisma: PrismaClient, confirmation: Confirmation }): BetterAuthPlugin {
  return {
    id: 'holdfast-recent-sign-in',
    hooks: {
      after: [{
        matcher: ({ path = '' }) => path === '/verify-password' || guessesFactor({ path, body: null }),
        handler: createAuthMiddleware(async (ctx) => {
          const session = currentScope().actor?.session
          if (!session || isAPIError(ctx.context.returned)) return
          const isFactor = guessesFactor(ctx)
          if (isFactor) await giveBackFactorAttempts(prisma, session.userId)
          await confirmBeforeAnswer(confirmation, { changes: await (isFactor ? noteFactor : notePassword)(prisma, session.id) })
        })
      }]
    }
  }
}
