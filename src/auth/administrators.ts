import { APIError, createAuthMiddleware, sessionMiddleware } from 'better-auth/api'
import * as z from 'zod'
import { parseRoles } from '../roles.js'

/** Of whom administrators ask. */
export const anyUserId = z
  .string()
  .min(1)
  .max(64)
  .meta({ description: 'The id of the user, who may have been deleted.' })

/**
 * Lets administrators pass, as better-auth's own endpoints below /admin do; the bridge has refused
 * access tokens by then, and where the endpoint is grave sessions that are not recent.
 *
 * @param refusal what others are told
 */
export function administratorsOnly(refusal: { code: string; message: string }) {
  return createAuthMiddleware({ use: [sessionMiddleware] }, async (ctx) => {
    const { role } = ctx.context.session.user as { role?: unknown }
    if (!parseRoles(typeof role === 'string' ? role : null).includes('admin'))
      throw new APIError('FORBIDDEN', refusal)
  })
}
