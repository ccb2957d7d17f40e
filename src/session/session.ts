import { parseRoles } from '../roles.js'
import type { InactiveCode } from '../errors.js'
import type { AccessTokenClaims } from './access-token-claims.js'

/** A session as it is shown: never with a token. */
export interface Session {
  id: string
  userId: string
  issuedAt: Date
  /** Idle expiry: moved by use. */
  expiresAt: Date
  /** Fixed when the session begins. */
  absoluteExpiresAt: Date
  lastSeenAt: Date
  /** How the user authenticated (RFC 8176), and when. */
  amr: string[]
  authTime: Date
  ipAddress: string | null
  userAgent: string | null
  name: string | null
  clientId: string
  /** The administrator's user id where the session is an impersonation (RFC 8693 `act.sub`). */
  impersonatedBy: string | null
  version: number
}

/** A user as a check shows them. */
export interface User {
  id: string
  email: string
  emailVerified: boolean
  name: string
  image: string | null
  roles: string[]
}

/** What a request sends to prove its session. */
export type Credential =
  /** A session token as it travels as a bearer token: with its signature. */
  | { kind: 'signed'; value: string }
  /**
   * The same from the session cookie. A request that a cookie authenticates needs protection from
   * cross-site request forgery.
   */
  | { kind: 'cookie'; value: string }
  /** A session token whose signature better-auth has verified. */
  | { kind: 'token'; value: string }
  /** An access token: a JWT that names its session. */
  | { kind: 'access'; value: string }

/**
 * The answer to "is this session valid?". Where that is not known, `StoreUnavailable` is thrown
 * instead.
 */
export type Check = ActiveCheck | InactiveCheck

/** The answer for a credential that names no valid session, with the reason. */
export interface InactiveCheck {
  active: false
  cause: InactiveCode
}

/**
 * The answer for a valid session. Copy it before changing it: checks of one cached copy share it.
 */
export interface ActiveCheck {
  active: true
  session: Session
  user: User
  /** The claims, where the credential was an access token. */
  token?: Readonly<AccessTokenClaims>
}

/** Something that happened to a session. */
export interface SessionEvent {
  id: string
  type: string
  cause: string | null
  at: Date
  ipAddress: string | null
}

/** Why a session was revoked; kept on the row and in its events. */
export type RevocationReason =
  | 'signed_out'
  | 'signed_in_again'
  | 'revoked_by_user'
  | 'revoked_by_admin'
  | 'revoked_by_operator'
  | 'password_changed'
  | 'sign_in_failed'
  | 'second_factor_pending'
  | 'second_factor_changed'
  | 'impersonation_ended'
  | 'user_banned'
  | 'user_deleted'
  | 'refresh_reused'
  | 'address_proven'
  | 'not_me'
  | 'session_cap'
  | 'source_ended'

/** A row of `session`, with its user's columns under `user` and the database's clock. */
export interface SessionRow extends Session {
  token: string
  updatedAt: Date
  revokedAt: Date | null
  revokedReason: string | null
}

/** A session as lists show it, with its count of refreshes. */
export interface ListedSession extends SessionRow {
  refreshCount: number
  firstRefreshAt: Date | null
  firstRefreshAddress: string | null
  lastRefreshAt: Date | null
  lastRefreshAddress: string | null
  /** How often a used refresh token was answered again with its successor. */
  replayCount: number
}

/** A session, with how and when it ended if it has. */
export interface PastSession extends ListedSession {
  state: 'active' | 'expired' | 'revoked'
  endedAt: Date | null
}

/** A row of `user`, as far as a check needs it. */
export interface UserRow {
  id: string
  name: string
  email: string
  emailVerified: boolean
  image: string | null
  role: string | null
  banned: boolean | null
  banReason: string | null
  banExpires: Date | null
  twoFactorEnabled: boolean | null
  credentialEpoch: number
  createdAt: Date
  updatedAt: Date
}

/** What the store knows of one session at one time of the database's clock. */
export interface SessionRecord {
  session: SessionRow
  /** Null when the user has been deleted. */
  user: UserRow | null
  /** The database's clock: when the row was read, and carried forward where this is a copy. */
  now: Date
  /** How long ago the store was read, at most, in milliseconds. Absent where that was just now. */
  ageMs?: number
}

/**
 * What the holder of a revoked session is told. Where the account was the reason, they are told so.
 */
export function toRevocationCode(reason: string | null): InactiveCode {
  if (reason === 'user_banned') return 'user_banned'
  return reason === 'user_deleted' ? 'user_gone' : 'session_revoked'
}

/** Whether a code says that the session was ended by someone, and did not just expire. */
export function isRevocation(cause: InactiveCode): boolean {
  return cause === 'session_revoked' || cause === 'user_banned' || cause === 'user_gone'
}

/** Why the session is not valid, by the database's clock. Null when it is valid. */
export function findCause({ session, user, now }: SessionRecord): InactiveCode | null {
  const nowMs = now.getTime()
  if (session.revokedAt) return toRevocationCode(session.revokedReason)
  if (session.expiresAt.getTime() <= nowMs || session.absoluteExpiresAt.getTime() <= nowMs)
    return 'session_expired'
  if (!user) return 'user_gone'
  if (user.banned && (!user.banExpires || user.banExpires.getTime() > nowMs)) return 'user_banned'
  return null
}

/**
 * For how many milliseconds the session is valid, counted from the clock in the record, unless it
 * is changed. 0 where it is not valid.
 */
export function validFor(record: SessionRecord): number {
  if (findCause(record) !== null) return 0
  const {
    session: { expiresAt, absoluteExpiresAt },
    now
  } = record
  return Math.min(expiresAt.getTime(), absoluteExpiresAt.getTime()) - now.getTime()
}

/** Decides, by the database's clock, whether the session is valid. */
export function judge(record: SessionRecord): Check {
  const cause = findCause(record)
  return cause !== null || !record.user
    ? { active: false, cause: cause ?? 'user_gone' }
    : showActive(record.session, record.user)
}

/** What a check shows of an active session. */
export function showActive(session: SessionRow, user: UserRow): ActiveCheck {
  const {
    token: _token,
    updatedAt: _updatedAt,
    revokedAt: _revokedAt,
    revokedReason: _revokedReason,
    ...shown
  } = session
  return {
    active: true,
    session: shown,
    user: {
      id: user.id,
      email: user.email,
      emailVerified: user.emailVerified,
      name: user.name,
      image: user.image,
      roles: parseRoles(user.role)
    }
  }
}
