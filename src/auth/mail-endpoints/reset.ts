import { createAuthEndpoint } from 'better-auth/api'
import * as z from 'zod'
import type { Proof } from '../../mail/proofs.js'
import { hashPassword } from '../password.js'
import { proveByMail, setPassword, writesFrom, type UserWrites } from './user-writes.js'
import {
  checkNewPassword,
  emailField,
  findAccount,
  getProof,
  getProofByCode,
  invalidCode,
  invalidToken,
  newPasswordField,
  otpField,
  redeem,
  tokenField,
  type MailEndpointOptions
} from './shared.js'

/**
 * The endpoints that set a new password after a mail. Every session of the account ends, also of
 * one that had no password before. A reset proves the address as well.
 */
export function passwordResets(options: MailEndpointOptions) {
  async function reset(
    proof: Proof,
    newPassword: string,
    { writes, refusal }: { writes: UserWrites; refusal: typeof invalidToken }
  ): Promise<void> {
    const { userId } = proof
    if (userId === null) throw refusal()
    await checkNewPassword(newPassword, { email: proof.email, appName: options.appName })
    const hash = await hashPassword(newPassword)
    await redeem(options, proof, refusal, async (db) => {
      const account = await findAccount(db, { id: userId })
      if (!account) throw refusal()
      await proveByMail(writes, account)
      await setPassword(db, writes, account.id, hash)
    })
  }

  return {
    resetPassword: createAuthEndpoint(
      '/reset-password',
      {
        method: 'POST',
        query: z.object({ token: tokenField.optional() }).optional(),
        body: z.object({ newPassword: newPasswordField, token: tokenField.optional() })
      },
      async (ctx) => {
        const proof = await getProof(options, ctx.body.token ?? ctx.query?.token, ['reset'])
        const writes = writesFrom(ctx)
        await reset(proof, ctx.body.newPassword, { writes, refusal: invalidToken })
        return ctx.json({ status: true })
      }
    ),
    resetPasswordEmailOTP: createAuthEndpoint(
      '/email-otp/reset-password',
      {
        method: 'POST',
        body: z.object({ email: emailField, otp: otpField, password: newPasswordField })
      },
      async (ctx) => {
        const proof = await getProofByCode(options, ctx.body, ['reset'])
        const writes = writesFrom(ctx)
        await reset(proof, ctx.body.password, { writes, refusal: invalidCode })
        return ctx.json({ success: true })
      }
    )
  }
}
