/*
 * What happened to whom. `account_event` stands beside `session_event`: that one tells of one
 * session, this one of the account.
 *
 * How to write one:
 *
 * - In the transaction of the change: `writeAccountEvents(db, origin, [{ userId, kind, … }])` with
 *   the `db` of that transaction. The change and its event are committed together or not at all, so
 *   a change that cannot be told of does not happen. Never catch what it throws.
 * - Who did it is the `Origin` (origin.ts): `currentOrigin()` of src/auth/event-origin.ts tells it,
 *   inside a call of better-auth and outside. An operation of the command line runs in
 *   `actingAsOperator`.
 * - Changes that go through better-auth's adapter (users, accounts, second factors, sessions) are
 *   told by `AccountWrites` and `SessionModel` already, whoever makes them: whoever calls
 *   `auth.users` writes nothing.
 * - A sign-in that succeeded is in `session_event` and is not told twice. One that failed is summed
 *   up: see failed-attempts.ts.
 * - `detail` has the fields below and no others. No password, token, code, address or free text
 *   belongs into it.
 */

/** What may have happened. */
export const accountEventKinds = [
  /** Summed up: one row for a name, network, cause and quarter of an hour. */
  'sign_in_failed',
  /**
   * A signed-in user's password or code was asked for again, and was wrong. Summed up in the same
   * way.
   */
  'reauthentication_failed',
  'user_created',
  'user_deleted',
  'user_erased',
  'user_exported',
  /** `detail.until`: when the ban ends by itself. */
  'user_banned',
  /** Cause `ban_expired` where a ban has ended by itself. */
  'user_unbanned',
  /** `detail.from` and `detail.to`: the roles. */
  'role_changed',
  /** By somebody else than the person; `detail.fields` names what was changed. */
  'profile_changed',
  /** The hash is that of the address before. */
  'email_changed',
  'email_verified',
  'password_set',
  'password_changed',
  'password_reset',
  /** `detail.provider`: by which provider one signs in. */
  'sign_in_method_added',
  'sign_in_method_removed',
  'second_factor_added',
  'second_factor_removed',
  'backup_codes_made',
  'backup_code_used',
  /** By an administrator or operator; `detail.sessions`: how many. One session is named. */
  'sessions_revoked',
  /** `detail.administrator`: who acts as the user. The session is the impersonation. */
  'impersonation_begun',
  'impersonation_ended',
  /** `detail.gateway`: the gateway's id. */
  'gateway_created',
  'gateway_secret_rotated',
  'gateway_disabled',
  'signing_key_rotated'
] as const

export type AccountEventKind = (typeof accountEventKinds)[number]

/** What an event says besides: nothing that somebody typed, and no secret. */
export interface EventDetail {
  from?: readonly string[]
  to?: readonly string[]
  /** RFC 3339. */
  until?: string
  provider?: string
  fields?: readonly string[]
  sessions?: number
  administrator?: string
  gateway?: string
}

/** Something that happened to an account, as it is written. Its time is the database's. */
export interface NewAccountEvent {
  /** Whose account it is; null where it is nobody's (a gateway, a signing key). */
  userId: string | null
  kind: AccountEventKind
  cause?: string | null
  /** Where it is not the one in which it was done: the session that it was done to. */
  sessionId?: string | null
  /** See `hashName`. */
  nameHash?: string | null
  detail?: EventDetail
}

/** An event as it is read. */
export interface AccountEvent {
  id: string
  at: Date
  userId: string | null
  kind: string
  cause: string | null
  actor: string
  actorId: string | null
  sessionId: string | null
  ipAddress: string | null
  userAgent: string | null
  detail: EventDetail | null
  nameHash: string | null
  count: number
  lastAt: Date | null
}
