import type { BetterAuthPlugin } from 'better-auth'
import { APIError, createAuthEndpoint } from 'better-auth/api'
import * as z from 'zod'
import type { Erasures } from '../account/erasure.js'
import { writeAccountEvents } from '../account/store.js'
import type { Confirmation } from '../revocation/confirmation.js'
import type { PrismaClient } from '../database/database.js'
import { withTransaction } from '../database/transaction.js'
import { holdActor } from './acting-session.js'
import { administratorsOnly, anyUserId } from './administrators.js'
import { currentOrigin } from './event-origin.js'
import { confirmNow, currentCall } from './call-context.js'

/** How long an answer waits for the end of an erasure. The rest happens after the answer. */
const MAX_ERASING_MS = 5_000

export interface EraseEndpointOptions {
  prisma: PrismaClient
  erasures: Erasures
  confirmation: Confirmation
}

const administratorMiddleware = administratorsOnly({
  code: 'YOU_ARE_NOT_ALLOWED_TO_DELETE_USERS',
  message: 'You are not allowed to delete users'
})

/**
 * Deletes and erases a user, or erases one who was deleted before. `admin/remove-user` leaves
 * addresses and devices in the events until retention. It may be repeated, and then continues.
 */
export function eraseEndpoint({ prisma, erasures, confirmation }: EraseEndpointOptions) {
  return {
    id: 'holdfast-erasure',
    endpoints: {
      eraseUser: createAuthEndpoint(
        '/admin/erase-user',
        {
          method: 'POST',
          use: [administratorMiddleware],
          body: z.object({ userId: anyUserId })
        },
        async (ctx) => {
          const { userId } = ctx.body
          if (userId === ctx.context.session?.user.id)
            throw new APIError('BAD_REQUEST', {
              code: 'YOU_CANNOT_REMOVE_YOURSELF',
              message: 'You cannot remove yourself'
            })
          currentCall().erasing = true
          const deleted = await ctx.context.adapter.deleteMany({
            model: 'user',
            where: [{ field: 'id', value: userId }]
          })
          if (deleted === 0) {
            if (!(await erasures.isKnown(userId)))
              throw new APIError('NOT_FOUND', { code: 'USER_NOT_FOUND', message: 'User not found' })
            await requestForDeleted(prisma, erasures, userId)
          }
          // Only now: before, copies of a session could still show what names the person.
          await confirmNow(confirmation)
          return ctx.json({
            success: true,
            erased: await erasures.finish(userId, { maxMs: MAX_ERASING_MS })
          })
        }
      )
    }
  } satisfies BetterAuthPlugin
}

/** Requests the erasure of a user who was deleted before, and notes who asked for it. */
export async function requestForDeleted(
  prisma: PrismaClient,
  erasures: Erasures,
  userId: string
): Promise<void> {
  await withTransaction(prisma, async (transaction) => {
    const db = await transaction.forWrite()
    await holdActor(db, null)
    await erasures.request(db, userId)
    await writeAccountEvents(db, currentOrigin(), [{ userId, kind: 'user_erased' }])
  })
}
