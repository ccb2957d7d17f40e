import { createHash, randomBytes } from 'node:crypto'
import type { BetterAuthPlugin } from 'better-auth'
import { APIError, createAuthEndpoint, sessionMiddleware } from 'better-auth/api'
import { v7 as uuidV7 } from 'uuid'
import * as z from 'zod'
import type { PrismaClient, Queryable } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import { normalizeRole, parseRoles } from '../roles.js'

/** How long a link for the first administrator may be used, in minutes. */
export const FIRST_ADMINISTRATOR_MINUTES = 15

const refused = () =>
  new APIError('BAD_REQUEST', {
    code: 'INVALID_TOKEN',
    message: 'The link was used, has expired, or there is an administrator already'
  })

/** The row of a link. It does not reveal the token. */
function rowOf(token: string): string {
  return `first-administrator:${createHash('sha256').update(token).digest('hex')}`
}

/** Whether some user has the role `admin`, banned or not. */
async function hasAdministrator(db: Queryable): Promise<boolean> {
  const [row] = await db.$queryRaw<{ found: boolean }[]>`
    SELECT EXISTS (
      SELECT 1 FROM "user" WHERE 'admin' = ANY(regexp_split_to_array(COALESCE("role", ''), '\\s*,\\s*'))
    ) AS "found"`
  return row?.found ?? false
}

/**
 * Makes a token with which a signed-in user may make themselves the first administrator: once, for
 * fifteen minutes, and only while there is no administrator.
 *
 * @returns null where there is an administrator
 */
export async function offerFirstAdministrator(prisma: PrismaClient): Promise<string | null> {
  if (await hasAdministrator(prisma)) return null
  const token = randomBytes(32).toString('base64url')
  await prisma.$executeRaw`
    INSERT INTO "verification" ("id", "identifier", "value", "expiresAt")
    VALUES (${uuidV7()}, ${rowOf(token)}, '', clock_timestamp() + ${FIRST_ADMINISTRATOR_MINUTES}::int * interval '1 minute')`
  return token
}

/** The endpoint that takes the token of `offerFirstAdministrator`. */
export function firstAdministrator({ prisma }: { prisma: PrismaClient }) {
  return {
    id: 'holdfast-first-administrator',
    endpoints: {
      becomeFirstAdministrator: createAuthEndpoint(
        '/admin/become-first-administrator',
        {
          method: 'POST',
          use: [sessionMiddleware],
          body: z.object({
            token: z.string().min(1).max(128).meta({ description: 'What the link carries.' })
          })
        },
        async (ctx) => {
          const { user } = ctx.context.session
          const { role } = user as { role?: string | null }
          await withTransaction(prisma, async (transaction) => {
            const db = await transaction.forWrite()
            // Two links, or one that is used twice at once, make one administrator.
            await db.$queryRaw`SELECT pg_advisory_xact_lock(hashtextextended('holdfast first administrator', 0))::text`
            if (await hasAdministrator(db)) throw refused()
            const used = await db.$executeRaw`
              DELETE FROM "verification" WHERE "identifier" = ${rowOf(ctx.body.token)} AND "expiresAt" > clock_timestamp()`
            if (used !== 1) throw refused()
            await ctx.context.internalAdapter.updateUser(user.id, {
              role: normalizeRole([...parseRoles(role ?? null), 'admin'].join(','))
            })
          })
          return ctx.json({ status: true })
        }
      )
    }
  } satisfies BetterAuthPlugin
}
