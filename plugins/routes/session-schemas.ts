import { Type, type Static } from 'typebox'
import type { Session, User } from '../../src/session/session.js'

const time = Type.String({ format: 'date-time' })
const nullable = Type.Union([Type.String(), Type.Null()])

/** A session as answers show it; times are RFC 3339 in UTC. `act.sub` names the administrator of an impersonation (RFC 8693). */
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

export const ListedSessionSchema = Type.Object({ ...SessionSchema.properties, current: Type.Boolean() })

export const UserSchema = Type.Object({
  id: Type.String(),
  email: Type.String(),
  emailVerified: Type.Boolean(),
  name: Type.String(),
  image: nullable,
  roles: Type.Array(Type.String())
})

export const EventSchema = Type.Object({ id: Type.String(), type: Type.String(), cause: nullable, at: time, ipAddress: nullable })

/** How many sessions this request ended; 0 when they had ended before. */
export const RevokedSchema = Type.Object({ revoked: Type.Integer() })

/** Revoked in the store, and not yet known to be so in every cache: final at `effective_by` at the latest. */
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

export function showUser({ id, email, emailVerified, name, image, roles }: User): Static<typeof UserSchema> {
  return { id, email, emailVerified, name, image, roles }
}
