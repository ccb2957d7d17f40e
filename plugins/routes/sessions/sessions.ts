import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { readPage } from '../../../src/page.js'
import { cleanDeviceName, LONGEST_DEVICE_NAME } from '../../../src/session/device-name.js'
import type { Revoked } from '../../../src/revocation/revoker.js'
import { listEvents, listSessions } from '../../../src/session/store.js'
import { requestIdentity } from '../../guard.js'
import { refusals } from '../../http/problem-schema.js'
import {
  described,
  ListedSessionSchema,
  NextSchema,
  PageQuery,
  PendingSchema,
  refused,
  SessionParams,
  RevokedSchema,
  SessionSchema,
  showListed,
  showSession,
  showUser,
  UserSchema,
  wantedBy
} from './schemas.js'
import sessionEvents from './session-events.js'
import sessionHistory from './session-history.js'

const bodies = refusals(413, 415)

/** The routes for a user's own sessions. */
const sessions: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (app, { holdfast }) => {
  const { prisma, revoker, sessionNames } = holdfast
  // Most routes here read no body, but many clients name a content type, or begin a chunked body,
  // and then send none.
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string' },
    (request, body, done) => {
      if (body === '') done(null, undefined)
      else void parseJson(request, body, done)
    }
  )
  app.addContentTypeParser<string>('*', { parseAs: 'string' }, (_request, body, done) => {
    done(body === '' ? null : new AppError('unsupported_media_type'), undefined)
  })
  app.addHook('preValidation', app.requireSession)
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })

  app.get(
    '/session',
    {
      schema: {
        ...described('Whether the session is active, and whose it is'),
        response: {
          200: Type.Object({
            isValid: Type.Literal(true),
            session: SessionSchema,
            user: UserSchema
          }),
          ...refused
        }
      }
    },
    async (request) => {
      const { session, user } = requestIdentity(request)
      return { isValid: true as const, session: showSession(session), user: showUser(user) }
    }
  )

  const Sessions = Type.Object({ sessions: Type.Array(ListedSessionSchema), next: NextSchema })
  app.get(
    '/sessions',
    {
      schema: {
        ...described("The caller's active sessions, newest first"),
        querystring: PageQuery,
        response: { 200: Sessions, ...refused }
      }
    },
    async (request) => {
      const { session: current } = requestIdentity(request)
      const { page, next } = await readPage(wantedBy(request.query), (wanted) =>
        listSessions(prisma, { userId: current.userId }, wanted)
      )
      return { sessions: page.map((row) => showListed(row, current.id)), next }
    }
  )

  app.delete(
    '/sessions/:id',
    {
      schema: {
        ...described('Ends one of them'),
        params: SessionParams,
        response: {
          200: RevokedSchema,
          202: PendingSchema,
          ...refused,
          ...bodies,
          ...refusals(404)
        }
      }
    },
    async (request, reply) => {
      const { session } = requestIdentity(request)
      const { id } = request.params
      const revoked =
        id === session.id
          ? await revoker.revoke([id], session.userId, 'signed_out')
          : await revoker.revoke([id], session.userId, 'revoked_by_user', session.id)
      if (revoked === null) throw new AppError('session_revoked')
      if (
        revoked.count === 0 &&
        (await listEvents(prisma, id, session.userId, { limit: 1 })).length === 0
      )
        throw new AppError('not_found')
      return showRevoked(reply, revoked)
    }
  )

  const Name = Type.Object(
    {
      name: Type.Union(
        [Type.String({ minLength: 1, maxLength: LONGEST_DEVICE_NAME }), Type.Null()],
        { description: 'What the device is called; null takes the name away.' }
      )
    },
    { additionalProperties: false }
  )
  const Renamed = Type.Object({ session: ListedSessionSchema })
  const RenamedLater = Type.Object({
    session: ListedSessionSchema,
    effective_by: Type.String({ format: 'date-time' })
  })
  app.patch(
    '/sessions/:id',
    {
      schema: {
        ...described('Names the device of one of them'),
        params: SessionParams,
        body: Name,
        response: { 200: Renamed, 202: RenamedLater, ...refused, ...bodies, ...refusals(404) }
      }
    },
    async (request, reply) => {
      const { session } = requestIdentity(request)
      const name = request.body.name === null ? null : cleanDeviceName(request.body.name)
      if (name === '')
        throw new AppError('invalid_input', 'name must have a character that can be seen')
      const renamed = await sessionNames.rename(request.params.id, name, session)
      if (renamed === null) throw new AppError('session_revoked')
      if (renamed.session === null) throw new AppError('not_found')
      const shown = { session: showListed(renamed.session, session.id) }
      if (!renamed.effectiveBy) return shown
      reply.code(202)
      return { ...shown, effective_by: renamed.effectiveBy.toISOString() }
    }
  )

  const Query = Type.Object({ except: Type.Literal('current') }, { additionalProperties: false })
  app.delete(
    '/sessions',
    {
      schema: {
        ...described('Ends all the others'),
        querystring: Query,
        response: { 200: RevokedSchema, 202: PendingSchema, ...refused, ...bodies }
      }
    },
    async (request, reply) => {
      const { session } = requestIdentity(request)
      const revoked = await revoker.revokeAll(
        { sessionId: session.id },
        { userId: session.userId, exceptSessionId: session.id, reason: 'revoked_by_user' }
      )
      if (revoked === null) throw new AppError('session_revoked')
      return showRevoked(reply, revoked)
    }
  )

  await app.register(sessionHistory, { holdfast })
  await app.register(sessionEvents, { holdfast })
}

// 202: committed, but a cache could not be told. By `effective_by` every copy has ended.
function showRevoked(
  reply: FastifyReply,
  { count, effectiveBy }: Revoked
): { revoked: number; effective_by?: string } {
  if (!effectiveBy) return { revoked: count }
  reply.code(202)
  return { revoked: count, effective_by: effectiveBy.toISOString() }
}

export default sessions
