import { APIError, createAuthMiddleware, sessionMiddleware } from 'better-auth/api'
import * as z from 'zod'
import { parseRoles } from '../roles.js'

/** The id of the user that an administrator asks about. */
export const anyUserId = z
  .string()
  .min(1)
  .max(64)
  .meta({ description: 'The id of the user, who may have been deleted.' })

/**
 * Lets only administrators pass, as better-auth's own endpoints below /admin do. The bridge has
 * already refused access tokens and, where the change is sensitive, sessions that are not recent.
 *
 * @param refusal the error for others
 */
export function administratorsOnly(refusal: { code: string; message: string }) {
  return createAuthMiddleware({ use: [sessionMiddleware] }, async (ctx) => {
    const { role } = ctx.context.session.user as { role?: unknown }
    if (!parseRoles(typeof role === 'string' ? role : null).includes('admin'))
      throw new APIError('FORBIDDEN', refusal)
  })
}
