import type { BetterAuthPlugin } from 'better-auth'
import { createAuthEndpoint } from 'better-auth/api'
import * as z from 'zod'
import { accountEventKinds } from '../account/account-event.js'
import { listAccountEvents } from '../account/reading.js'
import type { PrismaClient } from '../database/database.js'
import { readPage } from '../page.js'
import { showPastSession } from '../session/past-session.js'
import { listEvents, listSessionHistory } from '../session/store.js'
import { administratorsOnly, anyUserId } from './administrators.js'

export interface EventEndpointsOptions {
  prisma: PrismaClient
  /** The keyed hashes of a name, one for each configured secret. */
  hashesOf: (name: string) => string[]
}

/** How long a page may be. */
export const pageLimit = z
  .string()
  .regex(/^([1-9]|[1-9][0-9]|1[0-9][0-9]|200)$/)
  .default('100')
  .meta({ description: 'From 1 to 200; 100 by default.' })
const after = z.uuid().optional().meta({ description: 'The `next` of the page before.' })
const kind = z
  .enum(accountEventKinds)
  .optional()
  .meta({ description: 'Only what happened of this kind.' })

const administratorMiddleware = administratorsOnly({
  code: 'YOU_ARE_NOT_ALLOWED_TO_SEE_EVENTS',
  message: 'You are not allowed to see what happened to others'
})

/** The page that a query asks for. */
const wantedBy = (query: { limit: string; after?: string | undefined }) => ({
  limit: Number(query.limit),
  after: query.after
})

/**
 * What administrators may look up about other users: their sessions, live and ended, and the events
 * of their sessions and account. It changes nothing.
 */
export function eventEndpoints({ prisma, hashesOf }: EventEndpointsOptions) {
  return {
    id: 'holdfast-events',
    endpoints: {
      listUserSessionHistory: createAuthEndpoint(
        '/admin/list-user-session-history',
        {
          method: 'GET',
          use: [administratorMiddleware],
          query: z.object({ userId: anyUserId, limit: pageLimit, after })
        },
        async (ctx) => {
          const { query } = ctx
          const { page, next } = await readPage(wantedBy(query), (wanted) =>
            listSessionHistory(prisma, query.userId, wanted)
          )
          return ctx.json({ sessions: page.map(showPastSession), next })
        }
      ),
      listSessionEvents: createAuthEndpoint(
        '/admin/list-session-events',
        {
          method: 'GET',
          use: [administratorMiddleware],
          query: z.object({
            sessionId: z
              .uuid()
              .meta({ description: 'The id of the session, which may have ended.' }),
            limit: pageLimit,
            after
          })
        },
        async (ctx) => {
          const { query } = ctx
          const { page, next } = await readPage(wantedBy(query), (wanted) =>
            listEvents(prisma, query.sessionId, null, wanted)
          )
          return ctx.json({ events: page, next })
        }
      ),
      listUserEvents: createAuthEndpoint(
        '/admin/list-user-events',
        {
          method: 'GET',
          use: [administratorMiddleware],
          query: z.object({ userId: anyUserId, kind, limit: pageLimit, after })
        },
        async (ctx) => {
          const { query } = ctx
          const user = await prisma.user.findUnique({
            where: { id: query.userId },
            select: { email: true }
          })
          const filter = {
            userId: query.userId,
            nameHashes: user ? hashesOf(user.email) : [],
            kind: query.kind
          }
          const { page, next } = await readPage(wantedBy(query), (wanted) =>
            listAccountEvents(prisma, filter, wanted)
          )
          return ctx.json({ events: page, next })
        }
      ),
      listEvents: createAuthEndpoint(
        '/admin/list-events',
        {
          method: 'GET',
          use: [administratorMiddleware],
          query: z.object({
            kind,
            limit: pageLimit,
            after,
            actorId: z
              .string()
              .min(1)
              .max(64)
              .optional()
              .meta({ description: 'Only what this administrator did.' }),
            since: z.iso
              .datetime({ offset: true })
              .optional()
              .meta({ description: 'Only what happened since then (RFC 3339).' })
          })
        },
        async (ctx) => {
          const { query } = ctx
          const filter = {
            kind: query.kind,
            actorId: query.actorId,
            since: query.since === undefined ? undefined : new Date(query.since)
          }
          const { page, next } = await readPage(wantedBy(query), (wanted) =>
            listAccountEvents(prisma, filter, wanted)
          )
          return ctx.json({ events: page, next })
        }
      )
    }
  } satisfies BetterAuthPlugin
}
