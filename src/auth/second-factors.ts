import { APIError, createAuthMiddleware, getSessionFromCtx } from 'better-auth/api'
import { symmetricDecrypt } from 'better-auth/crypto'
import { TWO_FACTOR_ERROR_CODES, twoFactor } from 'better-auth/plugins'
import type { PrismaClient } from '../database/database.js'
import { takeFactorAttempt } from '../session/recent-sign-in.js'
import { betterAuthNow } from './better-auth-clock.js'
import { currentCall } from './call-context.js'
import { codeAt, matchingStep, stepAt } from './totp.js'

/** A code that better-auth refuses, and counts as a wrong one. */
const NO_CODE = ''

export interface SecondFactorOptions {
  prisma: PrismaClient
  /** The name under which authenticator apps show the account. */
  issuer: string
  /** Milliseconds since 1970. */
  now: () => number
}

type Context = Parameters<Parameters<typeof createAuthMiddleware>[0]>[0]

/** An endpoint that takes a code. */
type Verify = (input: never) => Promise<unknown>

/**
 * better-auth's second factors, with another check of an app's codes: each time step counts once,
 * on all nodes together, and at most one step back. better-auth's own check accepts a code as often
 * as it is sent, for 90 seconds. Its endpoint does the rest: it is given a code that it accepts, or
 * one that it refuses. Wrong codes are also counted here, before they are verified. better-auth
 * counts them afterwards, so any number of concurrent guesses would be verified.
 */
export function secondFactors({ prisma, issuer, now }: SecondFactorOptions) {
  const plugin = twoFactor({ issuer, accountLockout: { enabled: false } })
  const { verifyTOTP, verifyBackupCode } = plugin.endpoints
  const decide = createAuthMiddleware(async (ctx) => ({
    code: await decideCode(ctx, { prisma, now })
  }))
  const count = createAuthMiddleware(async (ctx) => {
    await askedFactor(ctx, prisma)
    return { code: (ctx.body as { code: string }).code }
  })
  return {
    ...plugin,
    hooks: { after: plugin.hooks.after.map((hook) => ({ ...hook, matcher: wantsFactor })) },
    endpoints: {
      ...plugin.endpoints,
      verifyTOTP: guarded(verifyTOTP, decide),
      verifyBackupCode: guarded(verifyBackupCode, count)
    }
  }
}

/**
 * Whether a call begins a session in which the second factor is still to be shown. better-auth's own
 * hook asks for it after a password only. Here it is asked for whatever began the session, except
 * where it has just been shown, or where the session continues or derives from another one.
 */
function wantsFactor({ path = '' }: { path?: string | undefined }): boolean {
  return currentCall().insertedSession !== null && !SHOWN_OR_CONTINUED.test(path)
}

const SHOWN_OR_CONTINUED =
  /^\/(two-factor\/|change-password$|one-time-token\/verify$|admin\/(impersonate-user|stop-impersonating)$)/

/**
 * The endpoint, except that `before` sees each code first and decides which one better-auth is
 * given.
 */
function guarded<Endpoint extends Verify>(
  endpoint: Endpoint,
  before: (input: never) => Promise<{ code: string }>
): Endpoint {
  const verify = async (input: { body?: unknown }) => {
    const { body } = input
    if (
      typeof body !== 'object' ||
      body === null ||
      !('code' in body) ||
      typeof body.code !== 'string'
    )
      return endpoint(input as never)
    const { code } = await before({ ...input, returnHeaders: false } as never)
    return endpoint({ ...input, body: { ...body, code } } as never)
  }
  return Object.assign(verify, endpoint)
}

/** The code that better-auth's endpoint is given in place of the one that was sent. */
async function decideCode(
  ctx: Context,
  { prisma, now }: Pick<SecondFactorOptions, 'prisma' | 'now'>
): Promise<string> {
  const { code } = ctx.body as { code: string }
  const factor = await askedFactor(ctx, prisma)
  if (!factor) return code // better-auth reports what is missing, before it looks at the code
  const secret = secretBytes(
    await symmetricDecrypt({ key: ctx.context.secretConfig, data: factor.secret })
  )
  const step = matchingStep(secret, code, now())
  if (step === null || !(await takeStep(prisma, factor.id, step))) return NO_CODE
  currentCall().shown.factor = factor.secret
  return codeAt(secret, stepAt(betterAuthNow()))
}

/**
 * The factor in question, as better-auth finds it: that of the session's user, else of the user
 * whose password was given. For the latter each guess is counted here. A session's guesses are
 * counted when the session is read.
 *
 * @throws APIError 429 ACCOUNT_TEMPORARILY_LOCKED after too many wrong ones in a row
 */
async function askedFactor(
  ctx: Context,
  prisma: PrismaClient
): Promise<{ id: string; secret: string } | null> {
  const session = await getSessionFromCtx(ctx)
  const userId = session?.user.id ?? (await challengedUserId(ctx, prisma))
  const factor =
    userId === null
      ? null
      : await prisma.twoFactor.findFirst({ where: { userId }, select: { id: true, secret: true } })
  if (!factor || userId === null || session) return factor
  currentCall().challenged = userId
  if (!(await takeFactorAttempt(prisma, userId)))
    throw new APIError('TOO_MANY_REQUESTS', TWO_FACTOR_ERROR_CODES.ACCOUNT_TEMPORARILY_LOCKED)
  return factor
}

/** The user whose password was given earlier, in the sign-in that the call continues. */
async function challengedUserId(ctx: Context, prisma: PrismaClient): Promise<string | null> {
  const challenge = await ctx.getSignedCookie(
    ctx.context.createAuthCookie('two_factor').name,
    ctx.context.secret
  )
  if (!challenge) return null
  const row = await ctx.context.internalAdapter.findVerificationValue(challenge)
  if (!row || row.expiresAt.getTime() <= betterAuthNow()) return null
  const begun = await prisma.verification.findUnique({
    where: { id: row.id },
    select: { firstFactor: true }
  })
  currentCall().challengedBy = begun?.firstFactor ?? null
  return row.value
}

/**
 * Takes a time step, if neither it nor a later one was taken: of two requests with one code, on any
 * nodes, one is refused.
 */
async function takeStep(prisma: PrismaClient, id: string, step: number): Promise<boolean> {
  const taken = await prisma.$executeRaw`
    UPDATE "two_factor" SET "lastUsedStep" = ${step} WHERE "id" = ${id} AND ("lastUsedStep" IS NULL OR "lastUsedStep" < ${step})`
  return taken === 1
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/**
 * The key in a stored secret: raw, or, where it came from another server, in Base32 behind
 * better-auth's prefix.
 */
function secretBytes(secret: string): Uint8Array {
  const [, base32] = /^base32:(.*)$/i.exec(secret) ?? []
  if (base32 === undefined) return Buffer.from(secret)
  const bits = Array.from(base32.replace(/[=\s]/g, '').toUpperCase(), (character) =>
    BASE32.indexOf(character).toString(2).padStart(5, '0')
  ).join('')
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}
