import { createAuthEndpoint } from 'better-auth/api'
import * as z from 'zod'
import type { Queryable } from '../../database/database.js'
import { endOtherNotices, endProofs } from '../../mail/proofs.js'
import { mailHandleHash } from '../mail-handle.js'
import {
  getProof,
  invalidToken,
  redeem,
  refuseTaken,
  findAccount,
  tokenField,
  type MailEndpointOptions
} from './shared.js'
import { writesFrom } from './user-writes.js'

/**
 * "This was not me", of a notice: ends all sessions, and mails a link for a new password. After a
 * change of address the old one is restored. A second factor that was added is removed again: else
 * its owner would be asked for the factor of somebody else. It sets no password itself, and works
 * once, for 72 hours.
 */
export function notMe(options: MailEndpointOptions) {
  return {
    notMe: createAuthEndpoint(
      '/not-me',
      { method: 'POST', body: z.object({ token: tokenField }) },
      async (ctx) => {
        const proof = await getProof(options, ctx.body.token, ['not-me'])
        const { userId } = proof
        if (userId === null) throw invalidToken()
        const { restores, removesFactor } = proof.details ?? {}
        const writes = writesFrom(ctx)
        const resetMailed = await redeem(options, proof, invalidToken, async (db) => {
          await writes.deleteUserSessions(userId)
          const account = await findAccount(db, { id: userId })
          if (!account) throw invalidToken()
          const lost = restores === account.email ? undefined : restores
          const isTaken = lost !== undefined && (await findAccount(db, { email: lost })) !== null
          await endProofs(db, { userId, email: account.email })
          if (removesFactor !== undefined && (await hasFactor(db, userId, removesFactor)))
            await writes.updateUser(userId, { twoFactorEnabled: false })
          if (lost !== undefined && !isTaken) {
            await endOtherNotices(db, { userId, email: lost })
            await writes.updateUser(userId, { email: lost, emailVerified: true })
          }
          // A reset goes to the address that the notice went to, and to no other.
          if (isTaken || (restores ?? account.email) !== proof.email) return false
          await options.mailing.ask(db, 'reset', {
            purpose: 'reset',
            email: proof.email,
            userId,
            handleHash: mailHandleHash()
          })
          return true
        }).catch(refuseTaken(invalidToken))
        return ctx.json({ status: true, resetMailed })
      }
    )
  }
}

/** Whether a user still has this second factor. */
async function hasFactor(db: Queryable, userId: string, id: string): Promise<boolean> {
  return (await db.twoFactor.count({ where: { id, userId } })) > 0
}
