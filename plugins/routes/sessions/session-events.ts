import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { readPage } from '../../../src/page.js'
import { listEvents } from '../../../src/session/store.js'
import { requestIdentity } from '../../guard.js'
import { credentialFrom, toAsked } from '../../http/credential.js'
import { refusals } from '../../http/problem-schema.js'
import {
  described,
  EventSchema,
  NextSchema,
  PageQuery,
  refused,
  SessionParams,
  wantedBy
} from './schemas.js'

/** What happened to one session: for its user, and for administrators. */
const sessionEvents: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (
  app,
  { holdfast }
) => {
  const { prisma } = holdfast
  const Events = Type.Object({ events: Type.Array(EventSchema), next: NextSchema })
  const eventsFrom = {
    ...described('What happened to one of them, oldest first'),
    description:
      'An administrator sees the events of any session, one that has ended as well: with a cookie or a session token.'
  }
  app.get(
    '/sessions/:id/events',
    {
      schema: {
        ...eventsFrom,
        params: SessionParams,
        querystring: PageQuery,
        response: { 200: Events, ...refused, ...refusals(404) }
      }
    },
    async (request) => {
      const { session, user } = requestIdentity(request)
      const isAdministrator = user.roles.includes('admin')
      // Any service that receives an access token could use it, so it must not show what only
      // administrators may see.
      const mayOnlySeeOwn =
        !isAdministrator ||
        credentialFrom(toAsked(request), holdfast.auth.cookieName)?.kind === 'access'
      const { page, next } = await readPage(wantedBy(request.query), (wanted) =>
        listEvents(prisma, request.params.id, mayOnlySeeOwn ? session.userId : null, wanted)
      )
      if (page.length === 0 && request.query.after === undefined)
        throw new AppError(
          isAdministrator && mayOnlySeeOwn ? 'access_token_insufficient' : 'not_found'
        )
      return { events: page.map((event) => ({ ...event, at: event.at.toISOString() })), next }
    }
  )
}

export default sessionEvents
