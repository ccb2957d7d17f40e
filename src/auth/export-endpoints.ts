import type { BetterAuthPlugin } from 'better-auth'
import { APIError, createAuthEndpoint, sessionMiddleware } from 'better-auth/api'
import * as z from 'zod'
import { exportPerson, isExportCursor, type ExportPage } from '../user/person-export.js'
import { writeAccountEvents } from '../account/store.js'
import type { PrismaClient } from '../database/database.js'
import { administratorsOnly, anyUserId } from './administrators.js'
import { pageLimit } from './event-endpoints.js'
import { currentOrigin } from './event-origin.js'

const after = z
  .string()
  .max(128)
  .refine(isExportCursor)
  .optional()
  .meta({ description: 'The `next` of the page before.' })

const administratorMiddleware = administratorsOnly({
  code: 'YOU_ARE_NOT_ALLOWED_TO_EXPORT_USERS',
  message: 'You are not allowed to export what is stored of others'
})

/**
 * Exports what is stored of a user, for that user and for administrators, in pages. The request
 * becomes an account event.
 */
export function exportEndpoints({ prisma }: { prisma: PrismaClient }) {
  return {
    id: 'holdfast-export',
    endpoints: {
      exportAccount: createAuthEndpoint(
        '/export-account',
        { method: 'GET', use: [sessionMiddleware], query: z.object({ limit: pageLimit, after }) },
        async (ctx) => ctx.json(await exportPage(prisma, ctx.context.session.user.id, ctx.query))
      ),
      exportUser: createAuthEndpoint(
        '/admin/export-user',
        {
          method: 'GET',
          use: [administratorMiddleware],
          query: z.object({ userId: anyUserId, limit: pageLimit, after })
        },
        async (ctx) => ctx.json(await exportPage(prisma, ctx.query.userId, ctx.query))
      )
    }
  } satisfies BetterAuthPlugin
}

async function exportPage(
  prisma: PrismaClient,
  userId: string,
  query: { limit: string; after?: string | undefined }
): Promise<ExportPage> {
  const page = await exportPerson(prisma, userId, {
    limit: Number(query.limit),
    after: query.after
  })
  if (query.after !== undefined) return page
  if (page.records.length === 0)
    throw new APIError('NOT_FOUND', { code: 'USER_NOT_FOUND', message: 'User not found' })
  await writeAccountEvents(prisma, currentOrigin(), [{ userId, kind: 'user_exported' }])
  return page
}
