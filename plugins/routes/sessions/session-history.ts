import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { readPage } from '../../../src/page.js'
import { findPastSession, listSessionHistory } from '../../../src/session/store.js'
import { requestIdentity } from '../../guard.js'
import { refusals } from '../../http/problem-schema.js'
import {
  described,
  NextSchema,
  PageQuery,
  PastSessionSchema,
  refused,
  SessionParams,
  showPast,
  wantedBy
} from './schemas.js'

/** A user's sessions, those that have ended as well, with when and why. */
const sessionHistory: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (
  app,
  { holdfast }
) => {
  const { prisma } = holdfast
  const History = Type.Object({ sessions: Type.Array(PastSessionSchema), next: NextSchema })
  app.get(
    '/sessions/history',
    {
      schema: {
        ...described("The caller's sessions, active and ended, newest first"),
        description:
          'Ended sessions are kept for a while, so that a person can see why they ended. Then they are removed.',
        querystring: Type.Object(
          {
            ...PageQuery.properties,
            state: Type.Optional(
              Type.Literal('ended', { description: 'Only those that have ended.' })
            )
          },
          { additionalProperties: false }
        ),
        response: { 200: History, ...refused }
      }
    },
    async (request) => {
      const { session: current } = requestIdentity(request)
      const { page, next } = await readPage(wantedBy(request.query), (wanted) =>
        listSessionHistory(prisma, current.userId, wanted, {
          endedOnly: request.query.state === 'ended'
        })
      )
      return { sessions: page.map((row) => showPast(row, current.id)), next }
    }
  )

  app.get(
    '/sessions/:id',
    {
      schema: {
        ...described('One of them, which may have ended'),
        params: SessionParams,
        response: {
          200: Type.Object({ session: PastSessionSchema }),
          ...refused,
          ...refusals(404)
        }
      }
    },
    async (request) => {
      const { session: current } = requestIdentity(request)
      const found = await findPastSession(prisma, request.params.id, current.userId)
      if (!found) throw new AppError('not_found')
      return { session: showPast(found, current.id) }
    }
  )
}

export default sessionHistory
