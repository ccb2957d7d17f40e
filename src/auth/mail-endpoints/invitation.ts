import { APIError, createAuthEndpoint } from 'better-auth/api'
import * as z from 'zod'
import { INVITATION_SECONDS } from '../../mail/proof.js'
import { administratorsOnly, anyUserId } from '../administrators.js'
import { inTransaction, type MailEndpointOptions } from './shared.js'

/** The endpoint with which an administrator has a user set a password. */
export function invitations(options: MailEndpointOptions) {
  return {
    sendPasswordReset: createAuthEndpoint(
      '/admin/send-password-reset',
      {
        method: 'POST',
        use: [
          administratorsOnly({
            code: 'YOU_ARE_NOT_ALLOWED_TO_SEND_PASSWORD_RESETS',
            message: 'You are not allowed to send password resets'
          })
        ],
        body: z.object({ userId: anyUserId })
      },
      async (ctx) => {
        const { userId } = ctx.body
        await inTransaction(options, async (db) => {
          const user = await db.user.findUnique({
            where: { id: userId },
            select: { email: true, accounts: { select: { id: true }, take: 1 } }
          })
          if (!user)
            throw new APIError('NOT_FOUND', { code: 'USER_NOT_FOUND', message: 'User not found' })
          const isFirst = user.accounts.length === 0
          await options.mailing.ask(db, isFirst ? 'invitation' : 'reset', {
            purpose: 'reset',
            email: user.email,
            userId,
            handleHash: null,
            ...(isFirst ? { ttlSeconds: INVITATION_SECONDS } : {})
          })
        })
        return ctx.json({ status: true })
      }
    )
  }
}
