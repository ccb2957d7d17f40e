import type { BetterAuthPlugin } from 'better-auth'
import { createAuthEndpoint } from 'better-auth/api'
import * as z from 'zod'
import type { PrismaClient } from '../database/database.js'
import { readPage } from '../page.js'
import { findListedUser, listUsers, searchUsers } from '../user/store.js'
import { administratorsOnly } from './administrators.js'
import { pageLimit } from './event-endpoints.js'

/** Statements of a search for one request: they read at most a hundred thousand users. */
const MAX_STATEMENTS = 5

const administratorMiddleware = administratorsOnly({
  code: 'YOU_ARE_NOT_ALLOWED_TO_LIST_USERS',
  message: 'You are not allowed to list users'
})

/**
 * Finds users for administrators: one by id or whole address, or all by a part of the address or
 * name, ignoring case. better-auth's `/admin/list-users` minds case, searches one field, and reads
 * every row before it skips to a page.
 */
export function findUsers({ prisma }: { prisma: PrismaClient }) {
  return {
    id: 'holdfast-find-users',
    endpoints: {
      findUsers: createAuthEndpoint(
        '/admin/find-users',
        {
          method: 'GET',
          use: [administratorMiddleware],
          query: z.object({
            q: z.string().trim().max(256).default('').meta({
              description: 'An id, an address, or a part of the address or name; all without.'
            }),
            limit: pageLimit,
            after: z
              .string()
              .min(1)
              .max(64)
              .optional()
              .meta({ description: 'The `next` of the page before.' })
          })
        },
        async (ctx) => {
          const { q, after } = ctx.query
          const wanted = { limit: Number(ctx.query.limit), after }
          const named = q === '' || after !== undefined ? null : await findListedUser(prisma, q)
          const { page, next } = named
            ? { page: [named], next: null }
            : q === ''
              ? await readPage(wanted, (each) => listUsers(prisma, each))
              : await searchUsers(prisma, q, wanted, MAX_STATEMENTS)
          return ctx.json({ users: page, next })
        }
      )
    }
  } satisfies BetterAuthPlugin
}
