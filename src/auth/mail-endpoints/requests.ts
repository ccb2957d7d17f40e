import { BASE_ERROR_CODES } from '@better-auth/core/error'
import {
  APIError,
  createAuthEndpoint,
  formCsrfMiddleware,
  getSessionFromCtx,
  originCheck
} from 'better-auth/api'
import * as z from 'zod'
import type { ProofDetails } from '../../mail/proofs.js'
import { findInputFault, refuse } from '../input.js'
import { mailHandleHash } from '../mail-handle.js'
import {
  absolute,
  addressFrom,
  defined,
  emailField,
  inTransaction,
  type MailEndpointOptions
} from './shared.js'

/** better-auth's answer to a request for a reset, whether or not there is such an account. */
const RESET_ANSWER = {
  status: true,
  message: 'If this email exists in our system, check your email for the reset link'
}

/**
 * The endpoints that ask for a mail, under better-auth's names and paths. Each writes one row for a
 * proof and one for its mail, and answers: no account is looked up.
 */
export function mailRequests(options: MailEndpointOptions) {
  const { baseUrl } = options

  async function ask(
    purpose: 'reset' | 'sign-in' | 'verify',
    email: string,
    details: ProofDetails = {}
  ): Promise<void> {
    await inTransaction(options, (db) =>
      options.mailing.ask(db, purpose, {
        purpose,
        email: addressFrom(email),
        handleHash: mailHandleHash(),
        details
      })
    )
  }

  const onlyEmail = z.object({ email: emailField })
  return {
    requestPasswordReset: createAuthEndpoint(
      '/request-password-reset',
      {
        method: 'POST',
        body: z.object({
          email: emailField,
          redirectTo: z
            .string()
            .max(2048)
            .meta({ description: 'The page of the application that the link leads to.' })
            .optional()
        }),
        use: [originCheck((ctx) => ctx.body.redirectTo as string)]
      },
      async (ctx) => {
        const { email, redirectTo } = ctx.body
        await ask('reset', email, defined({ redirectTo: absolute(baseUrl, redirectTo) }))
        return ctx.json(RESET_ANSWER)
      }
    ),
    requestPasswordResetEmailOTP: createAuthEndpoint(
      '/email-otp/request-password-reset',
      { method: 'POST', body: onlyEmail },
      async (ctx) => {
        await ask('reset', ctx.body.email)
        return ctx.json({ success: true })
      }
    ),
    forgetPasswordEmailOTP: createAuthEndpoint(
      '/forget-password/email-otp',
      { method: 'POST', body: onlyEmail },
      async (ctx) => {
        await ask('reset', ctx.body.email)
        return ctx.json({ success: true })
      }
    ),
    sendVerificationEmail: createAuthEndpoint(
      '/send-verification-email',
      {
        method: 'POST',
        body: z.object({ email: emailField, callbackURL: z.string().max(2048).optional() })
      },
      async (ctx) => {
        const session = await getSessionFromCtx(ctx)
        if (session) {
          if (session.user.email !== addressFrom(ctx.body.email))
            throw APIError.from('BAD_REQUEST', BASE_ERROR_CODES.EMAIL_MISMATCH)
          if (session.user.emailVerified)
            throw APIError.from('BAD_REQUEST', BASE_ERROR_CODES.EMAIL_ALREADY_VERIFIED)
        }
        await ask('verify', ctx.body.email)
        return ctx.json({ status: true })
      }
    ),
    sendVerificationOTP: createAuthEndpoint(
      '/email-otp/send-verification-otp',
      {
        method: 'POST',
        use: [formCsrfMiddleware],
        body: z.object({
          email: emailField,
          type: z.enum(['email-verification', 'sign-in', 'forget-password', 'change-email'])
        })
      },
      async (ctx) => {
        const { email, type } = ctx.body
        const purpose = purposeByType[type]
        if (purpose === undefined)
          throw new APIError('BAD_REQUEST', {
            code: 'INVALID_OTP_TYPE',
            message: 'Ask for a change of address at /email-otp/request-email-change'
          })
        await ask(purpose, email)
        return ctx.json({ success: true })
      }
    ),
    signInMagicLink: createAuthEndpoint(
      '/sign-in/magic-link',
      {
        method: 'POST',
        requireHeaders: true,
        use: [formCsrfMiddleware, originCheck((ctx) => ctx.body.callbackURL as string)],
        body: z.object({
          email: emailField,
          name: z.string().optional(),
          callbackURL: z.string().max(2048).optional(),
          newUserCallbackURL: z.string().max(2048).optional(),
          errorCallbackURL: z.string().max(2048).optional()
        })
      },
      async (ctx) => {
        const { email, name, callbackURL } = ctx.body
        const fault = name === undefined ? null : findInputFault('user', { name })
        if (fault !== null) refuse(fault)
        await ask(
          'sign-in',
          email,
          defined({
            callbackUrl: absolute(baseUrl, callbackURL),
            newUser: name === undefined ? undefined : { name }
          })
        )
        return ctx.json({ status: true })
      }
    )
  }
}

/** The purposes of better-auth's types of codes. A change of address has an endpoint of its own. */
const purposeByType: Record<string, 'reset' | 'sign-in' | 'verify' | undefined> = {
  'email-verification': 'verify',
  'sign-in': 'sign-in',
  'forget-password': 'reset'
}
