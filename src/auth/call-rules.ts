import type { BetterAuthPlugin } from 'better-auth'
import { createAuthMiddleware } from 'better-auth/api'
import { checkClientFields } from './input.js'
import { currentCall } from './call-context.js'

/**
 * Notes which endpoint better-auth has routed a call to, before any look-up. That decides what the
 * call's credential may do, however the path was spelled. It must be the first plugin.
 */
export function callRules(): BetterAuthPlugin {
  return {
    id: 'holdfast-call-rules',
    hooks: {
      before: [
        {
          matcher: () => true,
          handler: createAuthMiddleware(async (ctx) => {
            const { path, body, query } = ctx as { path: string; body?: unknown; query?: unknown }
            currentCall().call = { path, body }
            checkClientFields(path, body, query)
          })
        }
      ]
    }
  }
}
