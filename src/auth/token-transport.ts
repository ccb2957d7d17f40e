import type { BetterAuthPlugin } from 'better-auth'
import { createAuthMiddleware } from 'better-auth/api'
import { currentCall } from './call-context.js'

/**
 * For clients that want tokens and no cookies. It must be the last plugin: after every other hook
 * it reads with which session the call has ended, whatever endpoint began it. A pending second
 * factor has taken that session back by then.
 */
export function tokenTransport(): BetterAuthPlugin {
  return {
    id: 'holdfast-token-transport',
    hooks: {
      before: [
        {
          // The refresh tokens of the session that changes its password may have been stolen, so a
          // new session replaces it.
          matcher: ({ path }) => path === '/change-password' && currentCall().transport === 'body',
          handler: createAuthMiddleware(async (ctx) => ({
            context: { body: { ...(ctx.body as object), revokeOtherSessions: true } }
          }))
        }
      ],
      after: [
        {
          matcher: () => currentCall().family !== null,
          handler: createAuthMiddleware(async (ctx) => {
            const scope = currentCall()
            const result = ctx.context.newSession
            if (!scope.family || result?.session.id !== scope.family.session.id) return
            scope.begun = scope.family
          })
        }
      ]
    }
  }
}
