import {
  APIError,
  createAuthEndpoint,
  originCheck,
  sensitiveSessionMiddleware
} from 'better-auth/api'
import * as z from 'zod'
import type { Proof } from '../../mail/proofs.js'
import { mailHandleHash } from '../mail-handle.js'
import {
  addressFrom,
  emailField,
  findAccount,
  getProofByCode,
  inTransaction,
  invalidCode,
  otpField,
  redeem,
  refuseTaken,
  type MailEndpointOptions
} from './shared.js'
import { writesFrom } from './user-writes.js'
import { askAtNewAddress } from './verification.js'

interface Owner {
  id: string
}

const newEmailField = emailField.meta({ description: 'The new e-mail address.' })

/**
 * The endpoints that change an address: it is confirmed at the old one, and proven at the new one.
 * An old address that was never proven is not asked.
 */
export function addressChanges(options: MailEndpointOptions) {
  const { mailing } = options

  /**
   * Reads the account, and not what the session shows of it: a copy may not know yet that the old
   * address is proven.
   *
   * @throws APIError 400 for the address that the account has
   */
  async function ask({ id }: Owner, wanted: string): Promise<void> {
    const newEmail = addressFrom(wanted)
    const handleHash = mailHandleHash()
    await inTransaction(options, async (db) => {
      const account = await findAccount(db, { id })
      if (!account || account.email === newEmail)
        throw new APIError('BAD_REQUEST', {
          code: 'EMAIL_IS_THE_SAME',
          message: 'Email is the same'
        })
      const { email, emailVerified } = account
      if (!emailVerified) return askAtNewAddress(options, db, { userId: id, newEmail, handleHash })
      return mailing.ask(db, 'change-confirm', {
        purpose: 'change-confirm',
        email,
        userId: id,
        handleHash,
        details: { newEmail }
      })
    })
  }

  async function confirm(proof: Proof, owner: Owner, wanted: string): Promise<void> {
    const newEmail = addressFrom(wanted)
    if (proof.userId !== owner.id || proof.details?.newEmail !== newEmail) throw invalidCode()
    await redeem(options, proof, invalidCode, (db) =>
      askAtNewAddress(options, db, { userId: owner.id, newEmail, handleHash: proof.handleHash })
    )
  }

  return {
    changeEmail: createAuthEndpoint(
      '/change-email',
      {
        method: 'POST',
        body: z.object({ newEmail: newEmailField, callbackURL: z.string().max(2048).optional() }),
        use: [sensitiveSessionMiddleware, originCheck((ctx) => ctx.body.callbackURL as string)]
      },
      async (ctx) => {
        await ask(ctx.context.session.user, ctx.body.newEmail)
        return ctx.json({ status: true })
      }
    ),
    requestEmailChangeEmailOTP: createAuthEndpoint(
      '/email-otp/request-email-change',
      {
        method: 'POST',
        body: z.object({ newEmail: newEmailField, otp: otpField.optional() }),
        use: [sensitiveSessionMiddleware]
      },
      async (ctx) => {
        const { user } = ctx.context.session
        const { newEmail, otp } = ctx.body
        if (otp === undefined) await ask(user, newEmail)
        else
          await confirm(
            await getProofByCode(options, { email: user.email, otp }, ['change-confirm']),
            user,
            newEmail
          )
        return ctx.json({ success: true })
      }
    ),
    changeEmailEmailOTP: createAuthEndpoint(
      '/email-otp/change-email',
      {
        method: 'POST',
        body: z.object({ newEmail: newEmailField, otp: otpField }),
        use: [sensitiveSessionMiddleware]
      },
      async (ctx) => {
        const { newEmail: email, otp } = ctx.body
        const proof = await getProofByCode(options, { email, otp }, ['change-verify'])
        const { id } = ctx.context.session.user
        if (proof.userId !== id) throw invalidCode()
        const writes = writesFrom(ctx)
        await redeem(options, proof, invalidCode, () =>
          writes.updateUser(id, { email: proof.email, emailVerified: true })
        ).catch(refuseTaken(invalidCode))
        return ctx.json({ success: true })
      }
    )
  }
}
