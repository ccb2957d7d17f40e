import { APIError, createAuthEndpoint, formCsrfMiddleware } from 'better-auth/api'
import { v7 as uuidV7 } from 'uuid'
import * as z from 'zod'
import type { Proof } from '../../mail/proofs.js'
import { betterAuthNow } from '../better-auth-clock.js'
import { currentCall } from '../call-context.js'
import { findInputFault, refuse } from '../input.js'
import { newMailHandleHash } from '../mail-handle.js'
import { hashPassword } from '../password.js'
import {
  addressFrom,
  checkNewPassword,
  defined,
  emailField,
  inTransaction,
  type MailEndpointOptions
} from './shared.js'
import type { UserWrites } from './user-writes.js'

/**
 * The sign-up where REQUIRE_EMAIL_VERIFICATION is on. It hashes the password and writes one proof,
 * whether or not the address has an account, and answers as if one had begun. The account begins
 * with the proof.
 */
export function waitingSignUp(options: MailEndpointOptions) {
  return {
    signUpEmail: createAuthEndpoint(
      '/sign-up/email',
      {
        method: 'POST',
        use: [formCsrfMiddleware],
        body: z.object({
          name: z.string(),
          email: emailField,
          password: z.string().min(1),
          image: z.string().optional(),
          callbackURL: z.string().max(2048).optional(),
          rememberMe: z.boolean().optional()
        })
      },
      async (ctx) => {
        if (!options.signUpIsOpen)
          throw new APIError('BAD_REQUEST', {
            code: 'EMAIL_PASSWORD_SIGN_UP_DISABLED',
            message: 'Email and password sign up is not enabled'
          })
        const { name, image, password } = ctx.body
        const email = addressFrom(ctx.body.email)
        const fault = findInputFault('user', { name, ...(image === undefined ? {} : { image }) })
        if (fault !== null) refuse(fault)
        await checkNewPassword(password, { email, appName: options.appName })
        const id = uuidV7()
        const hash = await hashPassword(password)
        await inTransaction(options, (db) =>
          options.mailing.ask(db, 'verify', {
            purpose: 'sign-up',
            email,
            handleHash: newMailHandleHash(),
            details: {
              newUser: { id, name, password: hash, ...defined({ image } as never) }
            }
          })
        )
        const now = new Date(betterAuthNow())
        return ctx.json({
          token: null,
          user: {
            id,
            name,
            email,
            emailVerified: false,
            image: image ?? null,
            createdAt: now,
            updatedAt: now
          }
        })
      }
    )
  }
}

/**
 * Begins the account of a proof, in the transaction that uses it.
 *
 * @param begun `isOwner`: whether the same person signed up; else nothing that the sign-up named is
 *   kept. `password`: its hash. Null for an account without one
 */
export async function beginAccount(
  writes: UserWrites,
  { email, details }: Proof,
  { isOwner, password }: { isOwner: boolean; password: string | null }
): Promise<{ id: string }> {
  const wanted = isOwner ? details?.newUser : undefined
  currentCall().newUserId = wanted?.id ?? null
  const user = await writes.createUser(
    {
      email,
      emailVerified: true,
      name: wanted?.name ?? '',
      ...(wanted?.image === undefined ? {} : { image: wanted.image })
    },
    { method: 'email-password' }
  )
  if (password !== null)
    await writes.createAccount({
      userId: user.id,
      providerId: 'credential',
      accountId: user.id,
      password
    })
  return user
}
