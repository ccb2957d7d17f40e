import { refusals } from '../../http/problem-schema.js'
import { Type, type Static } from 'typebox'
import type { PageWanted } from '../../../src/page.js'
import type { ListedSession, PastSession, Session, User } from '../../../src/session/session.js'

const time = Type.String({ format: 'date-time' })
const nullable = Type.Union([Type.String(), Type.Null()])

/**
 * A session in answers. Times are RFC 3339 in UTC. `act.sub` names the administrator of an
 * impersonation (RFC 8693).
 */
export const SessionSchema = Type.Object({
  id: Type.String(),
  userId: Type.String(),
  clientId: Type.String(),
  issuedAt: time,
  expiresAt: time,
  absoluteExpiresAt: time,
  lastSeenAt: time,
  authTime: time,
  amr: Type.Array(Type.String()),
  ipAddress: nullable,
  userAgent: nullable,
  name: nullable,
  act: Type.Optional(Type.Object({ sub: Type.String() }))
})

const nullableTime = Type.Union([time, Type.Null()])

/** A session in a list, with its count of refreshes, because a refresh leaves no event. */
export const ListedSessionSchema = Type.Object({
  ...SessionSchema.properties,
  current: Type.Boolean(),
  refreshCount: Type.Integer(),
  firstRefreshAt: nullableTime,
  firstRefreshAddress: nullable,
  lastRefreshAt: nullableTime,
  lastRefreshAddress: nullable,
  replayCount: Type.Integer({
    description:
      'How often a refresh token that was used before was answered with its successor again.'
  })
})

/** A session that may have ended, with when and why. */
export const PastSessionSchema = Type.Object({
  ...ListedSessionSchema.properties,
  state: Type.String({ description: '`active`, `expired` or `revoked`.' }),
  endedAt: nullableTime,
  endedReason: Type.Union([Type.String(), Type.Null()], {
    description:
      'Why it was revoked, as its last event says. Null where it is active, or has expired.'
  })
})

/** Which part of a list is wanted. */
export const PageQuery = Type.Object(
  {
    // A query parameter is text, and this server does not coerce types.
    limit: Type.String({
      pattern: '^([1-9]|[1-9][0-9]|1[0-9][0-9]|200)$',
      default: '100',
      description: 'From 1 to 200.'
    }),
    after: Type.Optional(
      Type.String({ format: 'uuid', description: 'The `next` of the page before.' })
    )
  },
  { additionalProperties: false }
)

/** The cursor of the next page. Null at the end. */
export const NextSchema = Type.Union([Type.String(), Type.Null()], {
  description: 'For `after`: where the list goes on; null at its end.'
})

export const UserSchema = Type.Object({
  id: Type.String(),
  email: Type.String(),
  emailVerified: Type.Boolean(),
  name: Type.String(),
  image: nullable,
  roles: Type.Array(Type.String())
})

export const EventSchema = Type.Object({
  id: Type.String(),
  type: Type.String(),
  cause: nullable,
  at: time,
  ipAddress: nullable
})

/** How many sessions this request ended. 0 when they had ended before. */
export const RevokedSchema = Type.Object({ revoked: Type.Integer() })

/**
 * Revoked in the store, but not confirmed by every cache yet: final at `effective_by` at the
 * latest.
 */
export const PendingSchema = Type.Object({ revoked: Type.Integer(), effective_by: time })

export function showSession(session: Session): Static<typeof SessionSchema> {
  return {
    id: session.id,
    userId: session.userId,
    clientId: session.clientId,
    issuedAt: session.issuedAt.toISOString(),
    expiresAt: session.expiresAt.toISOString(),
    absoluteExpiresAt: session.absoluteExpiresAt.toISOString(),
    lastSeenAt: session.lastSeenAt.toISOString(),
    authTime: session.authTime.toISOString(),
    amr: session.amr,
    ipAddress: session.ipAddress,
    userAgent: session.userAgent,
    name: session.name,
    ...(session.impersonatedBy === null ? {} : { act: { sub: session.impersonatedBy } })
  }
}

export function showListed(
  session: ListedSession,
  currentId: string
): Static<typeof ListedSessionSchema> {
  const {
    id,
    refreshCount,
    firstRefreshAt,
    firstRefreshAddress,
    lastRefreshAt,
    lastRefreshAddress,
    replayCount
  } = session
  return {
    ...showSession(session),
    current: id === currentId,
    refreshCount,
    firstRefreshAt: firstRefreshAt?.toISOString() ?? null,
    firstRefreshAddress,
    lastRefreshAt: lastRefreshAt?.toISOString() ?? null,
    lastRefreshAddress,
    replayCount
  }
}

export function showPast(
  session: PastSession,
  currentId: string
): Static<typeof PastSessionSchema> {
  return {
    ...showListed(session, currentId),
    state: session.state,
    endedAt: session.endedAt?.toISOString() ?? null,
    endedReason: session.revokedReason
  }
}

/** Which part of a list a query names. */
export function wantedBy({ limit, after }: Static<typeof PageQuery>): PageWanted {
  return { limit: Number(limit), after }
}

export function showUser({
  id,
  email,
  emailVerified,
  name,
  image,
  roles
}: User): Static<typeof UserSchema> {
  return { id, email, emailVerified, name, image, roles }
}

/** What the routes of sessions have in common: who may ask, and how that is refused. */
const security: Record<string, string[]>[] = [{ cookie: [] }, { bearer: [] }]
export const described = (summary: string) => ({ summary, tags: ['Sessions'], security })
export const refused = refusals(400, 401, 403, 503)
export const SessionParams = Type.Object({ id: Type.String({ format: 'uuid' }) })
