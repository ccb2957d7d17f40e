import { BASE_ERROR_CODES } from '@better-auth/core/error'
import { APIError } from 'better-auth/api'
import * as z from 'zod'
import type { PrismaClient, Queryable } from '../../database/database.js'
import { isDuplicate } from '../../database/fault.js'
import { withTransaction } from '../../database/transaction.js'
import { hashHandle } from '../../mail/proof.js'
import { findProof, tryCode, useProof, type Proof, type ProofDetails } from '../../mail/proofs.js'
import type { ProofPurpose } from '../../mail/proof.js'
import type { Keys } from '../../secrets/keys.js'
import { currentCall } from '../call-context.js'
import type { Mailing } from '../mailing.js'
import { findPasswordFault } from '../new-password.js'

/** What the endpoints of mail are built on. */
export interface MailEndpointOptions {
  prisma: PrismaClient
  keys: Keys
  mailing: Mailing
  /** The origin of BASE_URL, with the prefix of a host application. */
  baseUrl: string
  appName: string
  signUpIsOpen: boolean
  requiresVerification: boolean
}

/** The account of a proof, as it stands. */
export interface ProvenAccount {
  id: string
  email: string
  emailVerified: boolean
  signUpHandle: string | null
}

export const emailField = z.string().max(320).meta({ description: 'The e-mail address.' })
export const otpField = z.string().max(16).meta({ description: 'The six digits of the mail.' })
export const tokenField = z
  .string()
  .max(128)
  .meta({ description: 'What the link of the mail carries.' })
export const newPasswordField = z.string().meta({ description: 'The new password.' })

/** The answer to a link that does not count: unknown, used, expired, or the account has changed. */
export function invalidToken(): APIError {
  return APIError.from('BAD_REQUEST', BASE_ERROR_CODES.INVALID_TOKEN)
}

/** The answer to a code that does not count. It is the same for every reason but one. */
export function invalidCode(): APIError {
  return new APIError('BAD_REQUEST', { code: 'INVALID_OTP', message: 'Invalid OTP' })
}

/**
 * The first proof of an address by somebody else than who signed up: the password of the sign-up is
 * asked for, or a new one.
 */
export function passwordNeeded(): APIError {
  return new APIError('FORBIDDEN', {
    code: 'PASSWORD_NEEDED',
    message:
      'This is not the browser that signed up. Send the password of the sign-up (password), or a new one (newPassword), which ends every other way into the account.'
  })
}

/** @throws APIError 400 for what is no address */
export function addressFrom(email: string): string {
  const address = email.toLowerCase()
  if (!z.email().safeParse(address).success)
    throw APIError.from('BAD_REQUEST', BASE_ERROR_CODES.INVALID_EMAIL)
  return address
}

/** @throws APIError 400 for a password that must not be set */
export async function checkNewPassword(
  password: string,
  about: { email: string; appName: string }
): Promise<void> {
  const fault = await findPasswordFault(password, about)
  if (fault !== null)
    throw new APIError('BAD_REQUEST', {
      code: fault.toUpperCase(),
      message:
        'This password cannot be set. It must have 8 to 128 characters, and not be a common one.'
    })
}

/** @throws APIError 400 INVALID_TOKEN */
export async function getProof(
  { prisma, keys }: MailEndpointOptions,
  token: string | undefined,
  purposes: readonly ProofPurpose[]
): Promise<Proof> {
  const proof = token === undefined ? null : await findProof(prisma, keys, token, purposes)
  if (!proof) throw invalidToken()
  return proof
}

/** @throws APIError 400 INVALID_OTP, 403 TOO_MANY_ATTEMPTS */
export async function getProofByCode(
  options: MailEndpointOptions,
  { email, otp }: { email: string; otp: string },
  purposes: readonly ProofPurpose[]
): Promise<Proof> {
  const { mailHandle } = currentCall()
  const tried = {
    email: addressFrom(email),
    purposes,
    handleHash: mailHandle === null ? '' : hashHandle(mailHandle),
    code: otp.replaceAll(/\s/g, '')
  }
  const outcome = await inTransaction(options, (db) => tryCode(db, options.keys, tried))
  if (outcome === 'wrong') throw invalidCode()
  if (outcome === 'too_many')
    throw new APIError('FORBIDDEN', { code: 'TOO_MANY_ATTEMPTS', message: 'Too many attempts' })
  return outcome
}

/**
 * Uses a proof, and does what it allows, in one transaction.
 *
 * @throws APIError of `refusal` where it does not count any more
 */
export function redeem<T>(
  { prisma }: MailEndpointOptions,
  proof: Proof,
  refusal: () => APIError,
  work: (db: Queryable) => Promise<T>
): Promise<T> {
  return withTransaction(prisma, async (transaction) => {
    const db = await transaction.forWrite()
    if (!(await useProof(db, proof))) throw refusal()
    return work(db)
  })
}

/** For a change of address: another account has taken the new one in the meantime. */
export function refuseTaken(refusal: () => APIError): (error: unknown) => never {
  return (error) => {
    if (isDuplicate(error)) throw refusal()
    throw error
  }
}

/** Runs work in a transaction. */
export function inTransaction<T>(
  { prisma }: MailEndpointOptions,
  work: (db: Queryable) => Promise<T>
): Promise<T> {
  return withTransaction(prisma, async (transaction) => work(await transaction.forWrite()))
}

export async function findAccount(
  db: Queryable,
  which: { id: string } | { email: string }
): Promise<ProvenAccount | null> {
  return db.user.findUnique({
    where: which,
    select: { id: true, email: true, emailVerified: true, signUpHandle: true }
  })
}

/** The details of a request that an application gives: an absolute address. */
export function absolute(baseUrl: string, address: string | undefined): string | undefined {
  return address === undefined || address === '' ? undefined : new URL(address, baseUrl).href
}

/** Leaves out what is undefined. */
export function defined(details: { [Name in keyof ProofDetails]: ProofDetails[Name] | undefined }) {
  return Object.fromEntries(
    Object.entries(details).filter(([, value]) => value !== undefined)
  ) as ProofDetails
}
