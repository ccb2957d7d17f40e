import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { AppError } from '../../../src/errors.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { readPage } from '../../../src/page.js'
import { cleanDeviceName, LONGEST_DEVICE_NAME } from '../../../src/session/device-name.js'
import type { Revoked } from '../../../src/revocation/revoker.js'
import { listEvents, listSessions } from '../../../src/session/store.js'
import { toAsked, credentialFrom } from '../../http/credential.js'
import { requestIdentity } from '../../guard.js'
import { refusals } from '../../http/problem-schema.js'
import {
  EventSchema,
  ListedSessionSchema,
  NextSchema,
  PageQuery,
  PendingSchema,
  RevokedSchema,
  SessionSchema,
  showListed,
  showSession,
  showUser,
  UserSchema,
  wantedBy
} from './schemas.js'

/** What the routes have in common: who may ask, and how that is refused. */
const security: Record<string, string[]>[] = [{ cookie: [] }, { bearer: [] }]
const described = (summary: string) => ({ summary, tags: ['Sessions'], security })
const refused = refusals(400, 401, 403, 503)
const bodies = refusals(413, 415)

/** The routes for a user's own sessions. */
const sessions: FastifyPluginAsyncTypebox<{ holdfast: Holdfast }> = async (app, { holdfast }) => {
  const { prisma, revoker, sessionNames } = holdfast
  const Params = Type.Object({ id: Type.String({ format: 'uuid' }) })
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
        params: Params,
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
        params: Params,
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
        params: Params,
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
        credentialFrom(toAsked(request), holdfast.auth.cookieName)?.credential.kind === 'access'
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
