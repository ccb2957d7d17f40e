import { createAuthEndpoint, formCsrfMiddleware } from 'better-auth/api'
import { setSessionCookie } from 'better-auth/cookies'
import { parseSessionOutput, parseUserOutput } from 'better-auth/db'
import * as z from 'zod'
import type { NewUserDetails, Proof } from '../../mail/proofs.js'
import { findInputFault, refuse } from '../input.js'
import { sentMailHandleHash } from '../mail-handle.js'
import {
  emailField,
  findAccount,
  getProof,
  getProofByCode,
  invalidCode,
  invalidToken,
  otpField,
  redeem,
  tokenField,
  type MailEndpointOptions
} from './shared.js'
import { beginAccount } from './sign-up.js'
import { proveByMail, writesFrom, type UserWrites, type WrittenUser } from './user-writes.js'

interface SignedIn {
  user: WrittenUser
  session: { token: string } & Record<string, unknown>
}

/**
 * Signs in by a mailed code or link. It proves the address as well: the first proof of an account
 * that somebody else signed up ends what that person has. An account begins where there is none,
 * and sign-up is open.
 */
export function mailedSignIns(options: MailEndpointOptions) {
  async function signIn(
    proof: Proof,
    writes: UserWrites,
    { refusal, newUser }: { refusal: typeof invalidToken; newUser: NewUserDetails }
  ): Promise<SignedIn> {
    // One transaction: a session that does not begin spends no proof.
    return redeem(options, proof, refusal, async (db) => {
      const { userId } = proof
      let id = userId
      if (id === null) {
        if (!options.signUpIsOpen) throw refusal()
        const details = { ...proof.details, newUser }
        const begun = await beginAccount(
          writes,
          { ...proof, details },
          { isOwner: proof.handleHash === sentMailHandleHash(), password: null }
        )
        id = begun.id
      } else {
        const account = await findAccount(db, { id })
        if (!account) throw refusal()
        await proveByMail(writes, account)
      }
      // Read again: the first proof may have removed a second factor.
      const user = await writes.findUserById(id)
      if (!user) throw refusal()
      return { user, session: await writes.createSession(id) }
    })
  }

  return {
    signInEmailOTP: createAuthEndpoint(
      '/sign-in/email-otp',
      {
        method: 'POST',
        use: [formCsrfMiddleware],
        body: z.object({
          email: emailField,
          otp: otpField,
          name: z.string().optional(),
          image: z.string().optional()
        })
      },
      async (ctx) => {
        const { email, otp, ...newUser } = ctx.body
        const fault = findInputFault('user', newUser)
        if (fault !== null) refuse(fault)
        const proof = await getProofByCode(options, { email, otp }, ['sign-in'])
        const { user, session } = await signIn(proof, writesFrom(ctx), {
          refusal: invalidCode,
          newUser
        })
        await setSessionCookie(ctx, { session, user } as never)
        return ctx.json({
          token: session.token,
          user: parseUserOutput(ctx.context.options, user as never)
        })
      }
    ),
    magicLinkVerify: createAuthEndpoint(
      '/magic-link/verify',
      {
        method: 'POST',
        requireHeaders: true,
        // Another page must not sign this browser in, to an account of its own.
        use: [formCsrfMiddleware],
        query: z.object({ token: tokenField.optional() }).optional(),
        body: z.object({ token: tokenField.optional() }).optional()
      },
      async (ctx) => {
        const proof = await getProof(options, ctx.body?.token ?? ctx.query?.token, ['sign-in'])
        const { user, session } = await signIn(proof, writesFrom(ctx), {
          refusal: invalidToken,
          newUser: proof.details?.newUser ?? {}
        })
        await setSessionCookie(ctx, { session, user } as never)
        return ctx.json({
          token: session.token,
          user: parseUserOutput(ctx.context.options, user as never),
          session: parseSessionOutput(ctx.context.options, session as never),
          callbackURL: proof.details?.callbackUrl ?? null
        })
      }
    )
  }
}
