import { BASE_ERROR_CODES } from '@better-auth/core/error'
import { APIError, createAuthEndpoint, getSessionFromCtx } from 'better-auth/api'
import { parseUserOutput } from 'better-auth/db'
import * as z from 'zod'
import type { Queryable } from '../../database/database.js'
import { deviceFacts } from '../../mail/device-facts.js'
import type { ProofPurpose } from '../../mail/proof.js'
import { giveBackGuess, takeGuess, type Proof } from '../../mail/proofs.js'
import { currentCall } from '../call-context.js'
import { sentMailHandleHash } from '../mail-handle.js'
import { hashPassword, verifyPassword } from '../password.js'
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
  passwordNeeded,
  redeem,
  refuseTaken,
  tokenField,
  type MailEndpointOptions,
  type ProvenAccount
} from './shared.js'
import { beginAccount } from './sign-up.js'
import { holdsSignUp, setPassword, writesFrom, type UserWrites } from './user-writes.js'

/** The passwords that a first proof may come with. */
interface Passwords {
  password?: string | undefined
  newPassword?: string | undefined
}

/** Who proves an address, and what is done for them. */
interface Claim {
  writes: UserWrites
  passwords: Passwords
  /** The user of the session that sent the code. Null for a link. */
  sessionUserId: string | null
  refusal: typeof invalidToken
}

const passwordFields = {
  password: z
    .string()
    .max(1024)
    .meta({ description: 'The password of the sign-up, from another browser than signed up.' })
    .optional(),
  newPassword: newPasswordField.optional()
}

/** The endpoints that prove an address. Verification never begins a session. */
export function verifications(options: MailEndpointOptions) {
  /** Verifies an address, or begins the account that waits for it. */
  async function verify(proof: Proof, claim: Claim): Promise<void> {
    if (proof.purpose === 'sign-up') return beginWaiting(proof, claim)
    const account =
      proof.userId === null ? null : await findAccount(options.prisma, { id: proof.userId })
    if (!account) throw claim.refusal()
    const isOwner =
      account.signUpHandle === null ||
      holdsSignUp(account) ||
      account.id === claim.sessionUserId ||
      (await provesPassword(proof, await passwordOf(account), claim))
    const hash = isOwner ? null : await newHash(proof, claim)
    await redeem(options, proof, claim.refusal, async (db) => {
      if (isOwner) currentCall().ownsSignUp = account.id
      await claim.writes.updateUser(account.id, { emailVerified: true })
      if (hash !== null) await setPassword(db, claim.writes, account.id, hash)
    })
  }

  /** Begins the account of a sign-up that waited for its proof. */
  async function beginWaiting(proof: Proof, claim: Claim): Promise<void> {
    const { password: stored } = proof.details?.newUser ?? {}
    const isOwner =
      proof.handleHash === sentMailHandleHash() ||
      (await provesPassword(proof, stored ?? null, claim))
    const hash = isOwner ? (stored ?? null) : await newHash(proof, claim)
    await redeem(options, proof, claim.refusal, async () =>
      beginAccount(claim.writes, proof, { isOwner, password: hash })
    )
  }

  async function passwordOf({ id }: ProvenAccount): Promise<string | null> {
    const account = await options.prisma.account.findFirst({
      where: { userId: id, providerId: 'credential' },
      select: { password: true }
    })
    return account?.password ?? null
  }

  /** @throws APIError 400 INVALID_PASSWORD for a wrong one, which counts as a wrong code */
  async function provesPassword(
    proof: Proof,
    stored: string | null,
    { passwords: { password }, refusal }: Claim
  ): Promise<boolean> {
    if (password === undefined || stored === null) return false
    if (!(await takeGuess(options.prisma, proof))) throw refusal()
    if (await verifyPassword({ hash: stored, password })) {
      await giveBackGuess(options.prisma, proof)
      return true
    }
    throw APIError.from('BAD_REQUEST', BASE_ERROR_CODES.INVALID_PASSWORD)
  }

  /** @throws APIError 403 PASSWORD_NEEDED without one */
  async function newHash(proof: Proof, { passwords: { newPassword } }: Claim): Promise<string> {
    if (newPassword === undefined) throw passwordNeeded()
    await checkNewPassword(newPassword, { email: proof.email, appName: options.appName })
    return hashPassword(newPassword)
  }

  /** Confirms a change of address at the old one: the new one is mailed. */
  async function confirmChange(proof: Proof): Promise<void> {
    const { userId, details } = proof
    const newEmail = details?.newEmail
    if (userId === null || newEmail === undefined) throw invalidToken()
    await redeem(options, proof, invalidToken, (db) =>
      askAtNewAddress(options, db, { userId, newEmail, handleHash: proof.handleHash })
    )
  }

  async function changeAddress(proof: Proof, { writes, refusal }: Claim): Promise<void> {
    const { userId, email } = proof
    if (userId === null) throw refusal()
    await redeem(options, proof, refusal, () =>
      writes.updateUser(userId, { email, emailVerified: true })
    ).catch(refuseTaken(refusal))
  }

  async function prove(proof: Proof, claim: Claim): Promise<void> {
    if (proof.purpose === 'change-confirm') return confirmChange(proof)
    if (proof.purpose === 'change-verify') return changeAddress(proof, claim)
    return verify(proof, claim)
  }

  return {
    verifyEmail: createAuthEndpoint(
      '/verify-email',
      {
        method: 'POST',
        query: z.object({ token: tokenField.optional() }).optional(),
        body: z.object({ token: tokenField.optional(), ...passwordFields }).optional()
      },
      async (ctx) => {
        const { token, ...passwords } = ctx.body ?? {}
        const proof = await getProof(options, token ?? ctx.query?.token, provable)
        await prove(proof, {
          writes: writesFrom(ctx),
          passwords,
          sessionUserId: null,
          refusal: invalidToken
        })
        return ctx.json({ status: true, user: null })
      }
    ),
    verifyEmailOTP: createAuthEndpoint(
      '/email-otp/verify-email',
      {
        method: 'POST',
        body: z.object({ email: emailField, otp: otpField, ...passwordFields })
      },
      async (ctx) => {
        const { email, otp, ...passwords } = ctx.body
        const session = await getSessionFromCtx(ctx)
        const proof = await getProofByCode(options, { email, otp }, ['verify', 'sign-up'])
        const writes = writesFrom(ctx)
        await prove(proof, {
          writes,
          passwords,
          sessionUserId: session?.user.id ?? null,
          refusal: invalidCode
        })
        const account = await findAccount(options.prisma, { email: proof.email })
        const user = account && (await writes.findUserById(account.id))
        return ctx.json({
          status: true,
          token: null,
          user: user && parseUserOutput(ctx.context.options, user as never)
        })
      }
    ),
    checkVerificationOTP: createAuthEndpoint(
      '/email-otp/check-verification-otp',
      {
        method: 'POST',
        body: z.object({
          email: emailField,
          type: z.enum(['email-verification', 'sign-in', 'forget-password', 'change-email']),
          otp: otpField
        })
      },
      async (ctx) => {
        const { type, ...asked } = ctx.body
        await getProofByCode(options, asked, purposesByType[type])
        return ctx.json({ success: true })
      }
    ),
    describeLink: createAuthEndpoint(
      '/describe-link',
      { method: 'POST', body: z.object({ token: tokenField }) },
      async (ctx) => {
        const proof = await getProof(options, ctx.body.token, mailed)
        const account =
          proof.userId === null ? null : await findAccount(options.prisma, { id: proof.userId })
        const { purpose, email, details, createdAt, expiresAt } = proof
        const sent = sentMailHandleHash()
        const isOwner =
          purpose === 'sign-up'
            ? proof.handleHash === sent
            : !account || account.signUpHandle === null || account.signUpHandle === sent
        return ctx.json({
          purpose,
          email,
          newEmail: details?.newEmail ?? null,
          account: account?.email ?? null,
          /** Whether this is the browser or app that asked for the mail. */
          askedHere: sent !== null && proof.handleHash === sent,
          askedAt: createdAt.toISOString(),
          askedFrom: deviceFacts(details?.from, details?.userAgent),
          expiresAt: expiresAt.toISOString(),
          /** Whether verification wants the password of the sign-up, or a new one. */
          needsPassword: (purpose === 'verify' || purpose === 'sign-up') && !isOwner
        })
      }
    )
  }
}

/** Asks for the proof of a new address. */
export async function askAtNewAddress(
  { mailing }: MailEndpointOptions,
  db: Queryable,
  { userId, newEmail, handleHash }: { userId: string; newEmail: string; handleHash: string | null }
): Promise<void> {
  await mailing.ask(db, 'change-verify', {
    purpose: 'change-verify',
    email: newEmail,
    userId,
    handleHash
  })
}

const provable: readonly ProofPurpose[] = ['verify', 'sign-up', 'change-confirm', 'change-verify']
const mailed: readonly ProofPurpose[] = [...provable, 'reset', 'sign-in', 'not-me']

const purposesByType = {
  'email-verification': ['verify', 'sign-up'],
  'sign-in': ['sign-in'],
  'forget-password': ['reset'],
  'change-email': ['change-verify']
} as const
