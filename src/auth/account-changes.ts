import type { EventDetail, NewAccountEvent } from '../account/account-event.js'
import { systemOrigin, type Origin } from '../account/origin.js'
import { parseRoles, normalizeRole } from '../roles.js'

/*
 * Account events for the writes of better-auth's adapter. Events are named by what changes, and not
 * by the endpoint, so that endpoints that better-auth adds later are covered too.
 */

/** A user as they were before an update, read under the lock of their row. */
export interface UserBefore {
  id: string
  email: string
  emailVerified: boolean
  role: string | null
  banned: boolean | null
  banExpires: Date | null
  twoFactorEnabled: boolean | null
}

/** The fields of a user whose changes are events. */
const told: readonly string[] = [
  'email',
  'emailVerified',
  'role',
  'banned',
  'banExpires',
  'twoFactorEnabled'
]
/** Fields that change with others and are no events themselves. */
const untold: readonly string[] = ['updatedAt', 'banReason']

/**
 * Whether an update of a user may need an event. A change of the name is an event only where
 * another user makes it.
 */
export function isToldUpdate(update: Record<string, unknown>, { actor }: Origin): boolean {
  const fields = Object.keys(update)
  return (
    fields.some((field) => told.includes(field)) ||
    (actor !== 'person' && fields.some((field) => !untold.includes(field)))
  )
}

/** The events for an update of a user. */
export function toUserEvents(
  before: UserBefore,
  update: Record<string, unknown>,
  origin: Origin,
  hash: (name: string) => string
): NewAccountEvent[] {
  const events: NewAccountEvent[] = []
  const add = (
    kind: NewAccountEvent['kind'],
    besides: Omit<NewAccountEvent, 'userId' | 'kind'> = {}
  ) => events.push({ userId: before.id, kind, ...besides })
  const { email, emailVerified, role, banned, twoFactorEnabled } = update
  if (typeof email === 'string' && email !== before.email)
    add('email_changed', { nameHash: hash(before.email) })
  if (emailVerified === true && !before.emailVerified) add('email_verified')
  if (role !== undefined) {
    const [from, to] = [before.role, typeof role === 'string' ? role : null].map((roles) =>
      parseRoles(roles === null ? null : normalizeRole(roles))
    )
    if (from?.join() !== to?.join())
      add('role_changed', { detail: { from: from ?? [], to: to ?? [] } })
  }
  if (banned === true && isNewBan(before, update)) add('user_banned', banEnd(update))
  if (banned === false && before.banned)
    add('user_unbanned', { cause: origin === endOfBan ? 'ban_expired' : null })
  if (twoFactorEnabled === true && !before.twoFactorEnabled) add('second_factor_added')
  if (twoFactorEnabled === false && before.twoFactorEnabled) add('second_factor_removed')
  const fields = Object.keys(update).filter(
    (field) => !told.includes(field) && !untold.includes(field)
  )
  if (origin.actor !== 'person' && fields.length > 0) add('profile_changed', { detail: { fields } })
  return events
}

/**
 * The origin for the end of a ban that has expired: better-auth lifts it when the user signs in.
 */
const endOfBan: Origin = { ...systemOrigin }

/**
 * Who updates a user.
 *
 * @param origin the actor of the running call
 */
export function toUpdateOrigin({ banned }: Record<string, unknown>, origin: Origin): Origin {
  return banned === false && origin.actor === 'person' ? endOfBan : origin
}

function isNewBan(before: UserBefore, { banExpires }: Record<string, unknown>): boolean {
  return (
    !before.banned ||
    (banExpires instanceof Date ? banExpires.getTime() : null) !==
      (before.banExpires?.getTime() ?? null)
  )
}

function banEnd({ banExpires }: Record<string, unknown>): { detail?: EventDetail } {
  return banExpires instanceof Date ? { detail: { until: banExpires.toISOString() } } : {}
}

/** The columns of a row of `account` that events need. */
export interface WayIn {
  userId: string
  providerId: string
  hasPassword: boolean
}

/** The event for a new way to sign in that was added to an existing user. */
export function toNewWayInEvent({ userId, providerId, hasPassword }: WayIn): NewAccountEvent {
  return hasPassword
    ? { userId, kind: 'password_set' }
    : { userId, kind: 'sign_in_method_added', detail: { provider: providerId } }
}

/**
 * The event for a new password.
 *
 * @param path the endpoint that sets it
 */
export function toPasswordEvent(
  { userId, hasPassword }: Pick<WayIn, 'userId' | 'hasPassword'>,
  path: string
): NewAccountEvent {
  if (path === '/reset-password' || path === '/email-otp/reset-password')
    return { userId, kind: 'password_reset' }
  return { userId, kind: hasPassword ? 'password_changed' : 'password_set' }
}

/** The event for a removed way to sign in. */
export function toLostWayInEvent({ userId, providerId }: WayIn): NewAccountEvent {
  return { userId, kind: 'sign_in_method_removed', detail: { provider: providerId } }
}
