import { createAuthMiddleware, getSessionFromCtx } from 'better-auth/api'
import { symmetricDecrypt } from 'better-auth/crypto'
import { twoFactor } from 'better-auth/plugins'
import type { PrismaClient } from '../database/database.js'
import { secondFactorLockout } from '../limits.js'
import { codeAt, matchingStep, stepAt } from './totp.js'

/** What better-auth refuses and counts as a wrong code. */
const NO_CODE = ''

export interface SecondFactorOptions {
  prisma: PrismaClient
  /** Under what name authenticator apps show the account. */
  issuer: string
  /** Milliseconds since 1970. */
  now: () => number
}

type Context = Parameters<Parameters<typeof createAuthMiddleware>[0]>[0]

/**
 * better-auth's second factors, with another check of an app's codes: each time step counts once, on all nodes together, and one step
 * back at most. better-auth's own check takes a code as often as it is sent, for 90 seconds. Its endpoint does the rest, locks and
 * counts as ever: it is given a code that it accepts, or one that it refuses.
 */
export function secondFactors({ prisma, issuer, now }: SecondFactorOptions) {
  const plugin = twoFactor({ issuer, accountLockout: secondFactorLockout })
  const { verifyTOTP } = plugin.endpoints
  const decide = createAuthMiddleware(async (ctx) => ({ code: await decideCode(ctx, { prisma, now }) }))
  const verifyOnce = async (input: { body?: unknown }) => {
    const { body } = input
    if (typeof body !== 'object' || body === null || !('code' in body) || typeof body.code !== 'string') return verifyTOTP(input as never)
    const { code } = await decide({ ...input, returnHeaders: false } as never)
    return verifyTOTP({ ...input, body: { ...body, code } } as never)
  }
  return { ...plugin, endpoints: { ...plugin.endpoints, verifyTOTP: Object.assign(verifyOnce, verifyTOTP) as unknown as typeof verifyTOTP } }
}

/** The code that better-auth's endpoint is given in the place of the one that was sent. */
async function decideCode(ctx: Context, { prisma, now }: Pick<SecondFactorOptions, 'prisma' | 'now'>): Promise<string> {
  const { code } = ctx.body as { code: string }
  const userId = await askedUserId(ctx)
  const row = userId === null ? null : await prisma.twoFactor.findFirst({ where: { userId }, select: { id: true, secret: true } })
  if (!row) return code // better-auth says what is missing, before it looks at the code
  const secret = secretBytes(await symmetricDecrypt({ key: ctx.context.secretConfig, data: row.secret }))
  const at = now()
  const step = matchingStep(secret, code, at)
  if (step === null || !await takeStep(prisma, row.id, step)) return NO_CODE
  return codeAt(secret, stepAt(Date.now())) // better-auth reads its own clock
}

/** Whose code is asked for, as better-auth finds it: the session's user, else the one whose password was given. */
async function askedUserId(ctx: Context): Promise<string | null> {
  const session = await getSessionFromCtx(ctx)
  if (session) return session.user.id
  const challenge = await ctx.getSignedCookie(ctx.context.createAuthCookie('two_factor').name, ctx.context.secret)
  if (!challenge) return null
  return (await ctx.context.internalAdapter.findVerificationValue(challenge))?.value ?? null
}

/** Takes a time step, if neither it nor a later one was taken: of two who send one code at once, on any nodes, one is refused. */
async function takeStep(prisma: PrismaClient, id: string, step: number): Promise<boolean> {
  const taken = await prisma.$executeRaw`
    UPDATE "two_factor" SET "lastUsedStep" = ${step} WHERE "id" = ${id} AND ("lastUsedStep" IS NULL OR "lastUsedStep" < ${step})`
  return taken === 1
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** The key in a stored secret: as it is, or, where it came from another server, in Base32 behind better-auth's prefix. */
function secretBytes(secret: string): Uint8Array {
  const [, base32] = /^base32:(.*)$/i.exec(secret) ?? []
  if (base32 === undefined) return Buffer.from(secret)
  const bits = Array.from(base32.replace(/[=\s]/g, '').toUpperCase(), (character) => BASE32.indexOf(character).toString(2).padStart(5, '0')).join('')
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}
