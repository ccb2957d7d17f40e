/*
 * Events of an account, in `account_event`. Its sibling `session_event` has the events of one
 * session.
 *
 * How to write one:
 *
 * - In the transaction of the change: `writeAccountEvents(db, origin, [{ userId, kind, … }])` with
 *   the `db` of that transaction. The change and its event are committed together or not at all, so
 *   no change goes unrecorded. Never catch what it throws.
 * - The actor is the `Origin` (origin.ts). `currentOrigin()` of src/auth/event-origin.ts returns
 *   it, inside a call of better-auth and outside. An operation of the command line runs in
 *   `actingAsOperator`.
 * - `AccountWrites` and `SessionModel` already write the events of all changes that go through
 *   better-auth's adapter (users, accounts, second factors, sessions). A caller of `auth.users`
 *   writes none.
 * - A sign-in that succeeded is in `session_event`, and gets no second event. Failed ones are
 *   summed up: see failed-attempts.ts.
 * - `detail` has the fields below and no others. It must not contain a password, token, code,
 *   address or free text.
 */

/** The kinds of events. */
export const accountEventKinds = [
  /** Summed up: one row for a name, network, cause and quarter of an hour. */
  'sign_in_failed',
  /**
   * A signed-in user was asked for the password or a code again, and it was wrong. Summed up in the
   * same way.
   */
  'reauthentication_failed',
  'user_created',
  'user_deleted',
  'user_erased',
  'user_exported',
  /** `detail.until`: when the ban expires. */
  'user_banned',
  /** Cause `ban_expired` where the ban has expired. */
  'user_unbanned',
  /** `detail.from` and `detail.to`: the roles. */
  'role_changed',
  /** By another user; `detail.fields` names what was changed. */
  'profile_changed',
  /** The hash is that of the previous address. */
  'email_changed',
  'email_verified',
  'password_set',
  'password_changed',
  'password_reset',
  /** `detail.provider`: the provider to sign in with. */
  'sign_in_method_added',
  'sign_in_method_removed',
  'second_factor_added',
  'second_factor_removed',
  'backup_codes_made',
  'backup_code_used',
  /** By an administrator or operator; `detail.sessions`: how many. A single session is named. */
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

/** Further facts of an event: nothing that a user typed, and no secret. */
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

/** An event of an account, as it is written. Its time is the database's. */
export interface NewAccountEvent {
  /** The account's user. Null where there is none (a gateway, a signing key). */
  userId: string | null
  kind: AccountEventKind
  cause?: string | null
  /** The session that was changed, where it is not the one that made the change. */
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
