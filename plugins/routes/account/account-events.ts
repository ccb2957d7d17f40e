import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { accountEventKinds } from '../../../src/account/account-event.js'
import { asSeenByPerson, listAccountEvents } from '../../../src/account/reading.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { readPage } from '../../../src/page.js'
import { requestIdentity } from '../../guard.js'
import { refusals } from '../../http/problem-schema.js'
import { NextSchema, PageQuery, wantedBy } from '../sessions/schemas.js'

const time = Type.String({ format: 'date-time' })
const nullable = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

const AccountEventSchema = Type.Object({
  id: Type.String(),
  at: time,
  kind: Type.String({
    description: `One of ${accountEventKinds.join(', ')}. Take one that you do not know for what it says.`
  }),
  cause: nullable('Why, where there is more to say: of a failed sign-in what was wrong.'),
  actor: Type.String({
    description:
      'Who did it: `person`, `administrator`, `operator` (the command line), `system`, or `unknown`, who failed to sign in.'
  }),
  sessionId: nullable('The session in which it was done, or that it was done to.'),
  ipAddress: nullable('From where, unless somebody else did it.'),
  userAgent: nullable('With what, unless somebody else did it.'),
  detail: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], {
    description:
      'Of a change of roles `from` and `to`, of a ban `until`, of a way to sign in its `provider`.'
  }),
  count: Type.Integer({
    description: 'Failed attempts that are alike are one event, for a quarter of an hour.'
  }),
  lastAt: Type.Union([time, Type.Null()], { description: 'When the last of them was.' })
})

const Events = Type.Object({ events: Type.Array(AccountEventSchema), next: NextSchema })

const example = {
  events: [
    {
      id: '01931c1e-5b7a-7c3e-8a52-3f1b6d9e4c71',
      at: '2026-11-27T10:04:12.031Z',
      kind: 'sign_in_failed',
      cause: 'wrong_password',
      actor: 'unknown',
      sessionId: null,
      ipAddress: '203.0.113.7',
      userAgent: 'curl/8.9.1',
      detail: null,
      count: 14,
      lastAt: '2026-11-27T10:11:40.500Z'
    },
    {
      id: '01931c1e-5b7a-7c3e-8a52-3f1b6d9e4c70',
      at: '2026-11-27T09:12:44.120Z',
      kind: 'password_changed',
      cause: null,
      actor: 'person',
      sessionId: '01931c0f-1c2d-7a4b-9c3d-2f1e0d9c8b7a',
      ipAddress: '198.51.100.4',
      userAgent: 'Mozilla/5.0',
      detail: null,
      count: 1,
      lastAt: null
    }
  ],
  next: null
}

/** Lists the events of the caller's account. */
const accountEvents: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (
  app,
  { holdfast }
) => {
  const { prisma } = holdfast
  app.addHook('preValidation', app.requireSession)
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })

  const schema = {
    summary: "What happened to the caller's account, newest first",
    description:
      'Failed sign-ins, changes of the password, of second factors, of the address and of roles, and what administrators did. Sign-ins that succeeded are events of their sessions.',
    tags: ['Account'],
    security: [{ cookie: [] }, { bearer: [] }] as Record<string, string[]>[],
    querystring: PageQuery,
    response: {
      200: {
        description: 'Success.',
        content: { 'application/json': { schema: Events, example } }
      },
      ...refusals(400, 401, 403, 503)
    }
  }
  app.get('/account/events', { schema }, async (request) => {
    const { userId } = requestIdentity(request).session
    const { page, next } = await readPage(wantedBy(request.query), (wanted) =>
      listAccountEvents(prisma, { userId }, wanted)
    )
    return {
      events: page.map(asSeenByPerson).map((event) => ({
        ...event,
        at: event.at.toISOString(),
        detail: event.detail && { ...event.detail },
        lastAt: event.lastAt?.toISOString() ?? null
      })),
      next
    }
  })
}

export default accountEvents
