import { password } from '../../support/server.js'
import { totpOf } from '../../support/totp.js'
import type { Actor, Answer } from './side.js'

/*
 * The requests to both servers, as data. A scene has its own actors, and its steps follow each
 * other. Most scenes are made from the description of an endpoint: the right request, and what can
 * be wrong with it.
 */

/** The actors of a scene by their names, on one side. */
export type Cast = Record<string, Actor>

/** The credential of the request. */
export type Credential =
  /** A program without a credential. */
  | 'nothing'
  /** A browser on the server's own origin, with the cookies that it was given so far. */
  | 'cookies'
  /** An app with the session token as bearer. */
  | 'bearer'
  /** A browser whose session has been signed out. */
  | 'dead cookie'
  /** A browser whose session cookie has another signature. */
  | 'forged cookie'
  /** An app whose session has been signed out. */
  | 'dead bearer'

type Values = Record<string, unknown> | ((cast: Cast) => Record<string, unknown>)

export interface Step {
  title: string
  method: string
  /** Below /api/auth. */
  path: string
  as: Credential
  /** The actor who sends it. */
  by: string
  query?: Values
  /** Sent as JSON. */
  json?: Values
  /** Sent as a form. */
  form?: Values
  /** Sent unchanged. */
  raw?: string
  /** Headers besides those of the credential; null leaves one out. */
  headers?: Record<string, string | null>
  /** Keeps values of the answer for later steps. */
  keep?: (answer: Answer, cast: Cast) => void
}

export interface Scene {
  name: string
  /**
   * Users of this scene alone. Unless one has that name, `user`, `other` and `admin` are those of
   * all scenes.
   */
  people: string[]
  admins: string[]
  /** Browsers without an account. */
  visitors: string[]
  steps: Step[]
}

interface Endpoint {
  path: string
  /** The path in better-auth's own table, where it has a parameter. */
  pattern?: string
  method: 'GET' | 'POST'
  /** The lowest right that the right request needs. */
  who: 'anybody' | 'user' | 'admin'
  /** Fields of the body, or of the query of a GET. `me` is the actor who asks. */
  right?: (me: Actor, cast: Cast) => Record<string, unknown>
  required?: string[]
  /** A value of the wrong type, by field. */
  wrong?: Record<string, unknown>
  /** The right request cannot be repeated by its sender, so another user sends the bearer's. */
  final?: boolean
  /** The users whom the requests change, who must not be those of other scenes. */
  own?: ('user' | 'other')[]
  /** Requests of this endpoint alone, sent before the right one. */
  more?: Pick<Step, 'title' | 'json' | 'query' | 'headers' | 'form' | 'raw'>[]
}

export const newPassword = 'a different horse, a stronger battery'
const FOREIGN = 'https://elsewhere.example'

const endpoints: Endpoint[] = [
  { path: '/ok', method: 'GET', who: 'anybody' },
  {
    path: '/error',
    method: 'GET',
    who: 'anybody',
    more: [
      {
        title: 'with an error',
        query: { error: 'state_mismatch', error_description: 'It <b>failed</b>' }
      }
    ]
  },
  {
    path: '/sign-up/email',
    method: 'POST',
    who: 'anybody',
    right: (me) => ({ name: 'Grace Hopper', email: me.email, password }),
    required: ['name', 'email', 'password'],
    wrong: { name: 7, email: 'no address', password: 123_456_789, image: 7, rememberMe: 'no' },
    more: [
      { title: 'an empty name', json: { name: '', email: 'empty.name@example.com', password } },
      {
        title: 'an address in capitals',
        json: { name: 'Ada', email: 'Capitals@Example.COM', password }
      },
      {
        title: 'a known address',
        json: ({ user }) => ({ name: 'Ada', email: user?.email, password })
      },
      {
        title: 'a short password',
        json: { name: 'Ada', email: 'short@example.com', password: 'short' }
      },
      {
        title: 'a long password',
        json: { name: 'Ada', email: 'long@example.com', password: 'x9'.repeat(65) }
      },
      {
        title: 'a role',
        json: { name: 'Ada', email: 'role@example.com', password, role: 'admin' }
      },
      {
        title: 'a field that there is not',
        json: { name: 'Ada', email: 'unknown.field@example.com', password, colour: 'red' }
      },
      {
        title: 'for this browser session only',
        json: { name: 'Ada', email: 'brief@example.com', password, rememberMe: false }
      },
      {
        title: "somebody else's callback",
        json: { name: 'Ada', email: 'callback@example.com', password, callbackURL: FOREIGN }
      },
      { title: 'as a form', form: { name: 'Ada', email: 'form@example.com', password } },
      { title: 'a NUL in the name', json: { name: 'A\0da', email: 'nul@example.com', password } },
      {
        title: 'a name of 300 characters',
        json: { name: 'A'.repeat(300), email: 'longname@example.com', password }
      }
    ]
  },
  {
    own: ['user'],
    path: '/sign-in/email',
    method: 'POST',
    who: 'anybody',
    right: (_me, { user }) => ({ email: user?.email, password }),
    required: ['email', 'password'],
    wrong: { email: 'no address', password: 7, rememberMe: 'no', callbackURL: 7 },
    more: [
      {
        title: 'a wrong password',
        json: ({ user }) => ({ email: user?.email, password: 'wrong password' })
      },
      { title: 'an unknown address', json: { email: 'nobody@example.com', password } },
      {
        title: 'an address in capitals',
        json: ({ user }) => ({ email: user?.email.toUpperCase(), password })
      },
      { title: 'an empty password', json: ({ user }) => ({ email: user?.email, password: '' }) },
      {
        title: 'for this browser session only',
        json: ({ user }) => ({ email: user?.email, password, rememberMe: false })
      },
      {
        title: 'with a callback',
        json: ({ user }) => ({ email: user?.email, password, callbackURL: '/home' })
      },
      {
        title: "somebody else's callback",
        json: ({ user }) => ({ email: user?.email, password, callbackURL: FOREIGN })
      },
      { title: 'as a form', form: ({ user }) => ({ email: user?.email, password }) },
      {
        title: 'a wrong password as a form',
        form: ({ user }) => ({ email: user?.email, password: 'wrong password' })
      },
      {
        title: 'two addresses',
        json: ({ user }) => ({ email: [user?.email, user?.email], password })
      },
      {
        title: 'JSON that is cut off',
        raw: '{"email":"a@example.com"',
        headers: { 'content-type': 'application/json' }
      },
      { title: 'an array', raw: '[]', headers: { 'content-type': 'application/json' } },
      { title: 'a text', raw: '"text"', headers: { 'content-type': 'application/json' } },
      { title: 'null', raw: 'null', headers: { 'content-type': 'application/json' } },
      {
        title: 'plain text',
        raw: 'email=a@example.com',
        headers: { 'content-type': 'text/plain' }
      },
      {
        title: 'multipart',
        raw: '--x\r\n\r\n--x--',
        headers: { 'content-type': 'multipart/form-data; boundary=x' }
      },
      { title: 'XML', raw: '<a/>', headers: { 'content-type': 'application/xml' } },
      {
        title: 'JSON with a character set',
        raw: '{"email":"nobody@example.com","password":"wrong password"}',
        headers: { 'content-type': 'application/json; charset=utf-8' }
      },
      {
        title: 'an unknown encoding',
        raw: 'x',
        headers: { 'content-type': 'application/json', 'content-encoding': 'br' }
      },
      {
        title: 'from a page of another site',
        json: ({ user }) => ({ email: user?.email, password }),
        headers: { origin: FOREIGN }
      },
      {
        title: 'from its own page',
        json: ({ user }) => ({ email: user?.email, password }),
        headers: { origin: '<origin>' }
      },
      {
        title: 'by navigation from another site',
        json: ({ user }) => ({ email: user?.email, password }),
        headers: {
          origin: FOREIGN,
          'sec-fetch-site': 'cross-site',
          'sec-fetch-mode': 'navigate',
          'sec-fetch-dest': 'document'
        }
      },
      {
        title: 'by fetch of a program',
        json: ({ user }) => ({ email: user?.email, password }),
        headers: { 'sec-fetch-mode': 'cors' }
      }
    ]
  },
  {
    path: '/sign-in/social',
    method: 'POST',
    who: 'anybody',
    right: () => ({ provider: 'github' }),
    required: ['provider'],
    wrong: { provider: 7, scopes: 'all' }
  },
  {
    path: '/callback/github',
    pattern: '/callback/:id',
    method: 'GET',
    who: 'anybody',
    right: () => ({ code: 'x', state: 'y' }),
    required: ['state'],
    more: [{ title: 'with an error', query: { error: 'access_denied', state: 'y' } }]
  },
  {
    path: '/callback/github',
    pattern: '/callback/:id',
    method: 'POST',
    who: 'anybody',
    right: () => ({ code: 'x', state: 'y' }),
    required: ['state'],
    wrong: { code: 7 }
  },
  {
    path: '/get-session',
    method: 'GET',
    who: 'user',
    more: [
      { title: 'without the cookie cache', query: { disableCookieCache: 'true' } },
      { title: 'without a refresh', query: { disableRefresh: 'true' } },
      { title: 'a flag that is none', query: { disableRefresh: 'perhaps' } }
    ]
  },
  { path: '/get-session', method: 'POST', who: 'user' },
  {
    path: '/sign-out',
    method: 'POST',
    who: 'user',
    right: () => ({}),
    final: true,
    wrong: { callbackURL: 7 }
  },
  {
    path: '/request-password-reset',
    method: 'POST',
    who: 'anybody',
    right: (_me, { user }) => ({ email: user?.email, redirectTo: '/reset' }),
    required: ['email'],
    wrong: { email: 7, redirectTo: 7 },
    more: [
      {
        title: "somebody else's page",
        json: ({ user }) => ({ email: user?.email, redirectTo: FOREIGN })
      }
    ]
  },
  {
    path: '/reset-password/no-such-token',
    pattern: '/reset-password/:token',
    method: 'GET',
    who: 'anybody',
    right: () => ({ callbackURL: '/reset' }),
    required: ['callbackURL'],
    more: [{ title: "somebody else's page", query: { callbackURL: FOREIGN } }]
  },
  {
    path: '/reset-password',
    method: 'POST',
    who: 'anybody',
    right: () => ({ newPassword, token: 'no-such-token' }),
    required: ['newPassword', 'token'],
    wrong: { newPassword: 7, token: 7 },
    more: [
      { title: 'a short password', json: { newPassword: 'short', token: 'no-such-token' } },
      {
        title: 'the token in the address',
        json: { newPassword },
        query: { token: 'no-such-token' }
      }
    ]
  },
  {
    path: '/verify-password',
    method: 'POST',
    who: 'user',
    right: () => ({ password }),
    required: ['password'],
    wrong: { password: 7 },
    more: [{ title: 'a wrong password', json: { password: 'wrong password' } }]
  },
  {
    path: '/verify-email',
    method: 'GET',
    who: 'anybody',
    right: () => ({ token: 'no-such-token' }),
    required: ['token'],
    more: [
      { title: 'with a callback', query: { token: 'no-such-token', callbackURL: '/home' } },
      { title: "somebody else's callback", query: { token: 'no-such-token', callbackURL: FOREIGN } }
    ]
  },
  {
    path: '/send-verification-email',
    method: 'POST',
    who: 'anybody',
    right: (_me, { user }) => ({ email: user?.email }),
    required: ['email'],
    wrong: { email: 7, callbackURL: 7 }
  },
  {
    path: '/change-email',
    method: 'POST',
    who: 'user',
    right: () => ({ newEmail: 'new@example.com' }),
    required: ['newEmail'],
    wrong: { newEmail: 7 }
  },
  {
    path: '/change-password',
    method: 'POST',
    who: 'user',
    final: true,
    right: () => ({ newPassword, currentPassword: password, revokeOtherSessions: true }),
    required: ['newPassword', 'currentPassword'],
    wrong: { newPassword: 7, currentPassword: 7, revokeOtherSessions: 'yes' },
    more: [
      { title: 'a wrong password', json: { newPassword, currentPassword: 'wrong password' } },
      { title: 'a short password', json: { newPassword: 'short', currentPassword: password } },
      { title: 'as a form', form: { newPassword, currentPassword: password } },
      {
        title: 'the same one, and the others stay',
        json: { newPassword: password, currentPassword: password }
      }
    ]
  },
  {
    own: ['user'],
    path: '/update-session',
    method: 'POST',
    who: 'user',
    right: () => ({ userAgent: 'mine' }),
    more: [
      { title: 'nothing', json: {} },
      { title: 'the user', json: { userId: 'x' } },
      { title: 'the expiry', json: { expiresAt: '2099-01-01T00:00:00.000Z' } }
    ]
  },
  {
    own: ['user'],
    path: '/update-user',
    method: 'POST',
    who: 'user',
    right: () => ({ name: 'Ada King', image: 'https://example.com/ada.png' }),
    wrong: { name: 7, image: 7 },
    more: [
      { title: 'nothing', json: {} },
      { title: 'the address', json: { email: 'new@example.com' } },
      { title: 'the role', json: { role: 'admin' } },
      { title: 'the ban', json: { banned: false } },
      { title: 'no image', json: { image: null } },
      { title: 'an operator', json: { name: { set: 'x' } } },
      { title: 'as a form', form: { name: 'Ada' } }
    ]
  },
  {
    path: '/delete-user',
    method: 'POST',
    who: 'user',
    final: true,
    right: () => ({ password }),
    wrong: { password: 7, token: 7, callbackURL: 7 },
    more: [
      { title: 'a wrong password', json: { password: 'wrong password' } },
      { title: 'an unknown token', json: { token: 'no-such-token' } }
    ]
  },
  {
    path: '/delete-user/callback',
    method: 'GET',
    who: 'user',
    right: () => ({ token: 'no-such-token' }),
    required: ['token']
  },
  { path: '/list-sessions', method: 'GET', who: 'user' },
  {
    path: '/revoke-session',
    method: 'POST',
    who: 'user',
    final: true,
    right: (me) => ({ token: me.listedToken }),
    required: ['token'],
    wrong: { token: 7 },
    more: [
      { title: "somebody else's", json: ({ other }) => ({ token: other?.listedToken }) },
      { title: 'an unknown one', json: { token: 'no-such-token' } }
    ]
  },
  { path: '/revoke-sessions', method: 'POST', who: 'user', final: true },
  { own: ['user'], path: '/revoke-other-sessions', method: 'POST', who: 'user' },
  {
    path: '/link-social',
    method: 'POST',
    who: 'user',
    right: () => ({ provider: 'github' }),
    required: ['provider'],
    wrong: { provider: 7 }
  },
  { path: '/list-accounts', method: 'GET', who: 'user' },
  {
    own: ['user'],
    path: '/unlink-account',
    method: 'POST',
    who: 'user',
    right: (me) => ({ accountId: me.accountId }),
    required: ['accountId'],
    wrong: { accountId: 7 },
    more: [
      { title: "somebody else's", json: ({ other }) => ({ accountId: other?.accountId }) },
      { title: 'an unknown one', json: { accountId: 'no-such-account' } }
    ]
  },
  {
    path: '/refresh-token',
    method: 'POST',
    who: 'user',
    right: (me) => ({ accountId: me.accountId }),
    required: ['accountId'],
    wrong: { accountId: 7 },
    more: [{ title: 'of a provider', json: { providerId: 'github' } }]
  },
  {
    path: '/get-access-token',
    method: 'POST',
    who: 'user',
    right: (me) => ({ accountId: me.accountId }),
    required: ['accountId'],
    wrong: { accountId: 7 },
    more: [{ title: 'of a provider', json: { providerId: 'github' } }]
  },
  {
    path: '/account-info',
    method: 'GET',
    who: 'user',
    right: (me) => ({ accountId: me.accountId }),
    required: ['accountId'],
    more: [{ title: 'an unknown one', query: { accountId: 'no-such-account' } }]
  },
  {
    own: ['user'],
    path: '/two-factor/enable',
    method: 'POST',
    who: 'user',
    right: () => ({ password }),
    required: ['password'],
    wrong: { password: 7, issuer: 7 },
    more: [
      { title: 'a wrong password', json: { password: 'wrong password' } },
      { title: 'by mail', json: { password, method: 'otp' } }
    ]
  },
  {
    own: ['user'],
    path: '/two-factor/disable',
    method: 'POST',
    who: 'user',
    right: () => ({ password }),
    required: ['password'],
    wrong: { password: 7 },
    more: [{ title: 'a wrong password', json: { password: 'wrong password' } }]
  },
  {
    path: '/two-factor/get-totp-uri',
    method: 'POST',
    who: 'user',
    right: () => ({ password }),
    required: ['password'],
    wrong: { password: 7 }
  },
  {
    own: ['user'],
    path: '/two-factor/generate-backup-codes',
    method: 'POST',
    who: 'user',
    right: () => ({ password }),
    required: ['password'],
    wrong: { password: 7 }
  },
  {
    own: ['user'],
    path: '/two-factor/verify-totp',
    method: 'POST',
    who: 'user',
    right: () => ({ code: '000000' }),
    required: ['code'],
    wrong: { code: 7, trustDevice: 'yes' }
  },
  {
    path: '/two-factor/send-otp',
    method: 'POST',
    who: 'user',
    right: () => ({}),
    wrong: { trustDevice: 'yes' }
  },
  {
    path: '/two-factor/verify-otp',
    method: 'POST',
    who: 'user',
    right: () => ({ code: '000000' }),
    required: ['code'],
    wrong: { code: 7 }
  },
  {
    own: ['user'],
    path: '/two-factor/verify-backup-code',
    method: 'POST',
    who: 'user',
    right: () => ({ code: 'aaaaa-bbbbb' }),
    required: ['code'],
    wrong: { code: 7, disableSession: 'yes' }
  },
  { path: '/one-time-token/generate', method: 'GET', who: 'user' },
  {
    path: '/one-time-token/verify',
    method: 'POST',
    who: 'anybody',
    right: () => ({ token: 'no-such-token' }),
    required: ['token'],
    wrong: { token: 7 }
  },
  {
    path: '/admin/list-users',
    method: 'GET',
    who: 'admin',
    right: (_me, { other }) => ({ searchValue: other?.email, searchField: 'email' }),
    more: [
      {
        title: 'in pages',
        query: ({ other }) => ({
          searchValue: other?.email,
          limit: '1',
          offset: '0',
          sortBy: 'createdAt',
          sortDirection: 'desc'
        })
      },
      {
        title: 'by name',
        query: ({ other }) => ({
          searchValue: other?.email,
          filterField: 'name',
          filterValue: 'Ada Lovelace',
          filterOperator: 'eq'
        })
      },
      {
        title: 'by a field that there is not',
        query: { filterField: 'colour', filterValue: 'red' }
      },
      { title: 'sorted by a field that there is not', query: { sortBy: 'colour' } },
      {
        title: 'an operator that there is not',
        query: { filterField: 'name', filterValue: 'x', filterOperator: 'like' }
      },
      {
        title: 'a negative page',
        query: ({ other }) => ({ searchValue: other?.email, limit: '-1' })
      },
      {
        title: 'a page that is none',
        query: ({ other }) => ({ searchValue: other?.email, limit: 'ten' })
      },
      { title: 'nobody', query: { searchValue: 'nobody-has-this', searchField: 'email' } }
    ]
  },
  {
    path: '/admin/get-user',
    method: 'GET',
    who: 'admin',
    right: (_me, { other }) => ({ id: other?.id }),
    required: ['id'],
    more: [{ title: 'an unknown one', query: { id: 'no-such-user' } }]
  },
  {
    path: '/admin/create-user',
    method: 'POST',
    who: 'admin',
    right: (me) => ({ email: `made.by.${me.email}`, password, name: 'Made', role: 'user' }),
    required: ['email', 'name'],
    wrong: { email: 7, name: 7, password: 7, data: 'x' },
    more: [
      {
        title: 'a known address',
        json: ({ other }) => ({ email: other?.email, password, name: 'Made' })
      },
      { title: 'an address that is none', json: { email: 'no address', password, name: 'Made' } },
      {
        title: 'a short password',
        json: { email: 'made.short@example.com', password: 'short', name: 'Made' }
      },
      { title: 'no password', json: { email: 'made.without@example.com', name: 'Made' } },
      {
        title: 'two roles',
        json: { email: 'made.roles@example.com', password, name: 'Made', role: ['user', 'admin'] }
      },
      {
        title: 'a role that there is not',
        json: { email: 'made.nobody@example.com', password, name: 'Made', role: 'king' }
      },
      {
        title: 'an id',
        json: { email: 'made.id@example.com', password, name: 'Made', data: { id: 'mine' } }
      }
    ]
  },
  {
    own: ['other'],
    path: '/admin/update-user',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ userId: other?.id, data: { name: 'Changed' } }),
    required: ['userId', 'data'],
    wrong: { userId: 7, data: 'x' },
    more: [
      { title: 'nothing', json: ({ other }) => ({ userId: other?.id, data: {} }) },
      { title: 'an unknown one', json: { userId: 'no-such-user', data: { name: 'Changed' } } },
      { title: 'the role', json: ({ other }) => ({ userId: other?.id, data: { role: 'user' } }) },
      { title: 'the id', json: ({ other }) => ({ userId: other?.id, data: { id: 'mine' } }) },
      {
        title: 'the password',
        json: ({ other }) => ({ userId: other?.id, data: { password: 'x' } })
      }
    ]
  },
  {
    own: ['other'],
    path: '/admin/set-role',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ userId: other?.id, role: 'user' }),
    required: ['userId', 'role'],
    wrong: { userId: 7, role: 7 },
    more: [
      { title: 'two roles', json: ({ other }) => ({ userId: other?.id, role: ['user', 'admin'] }) },
      {
        title: 'a role that there is not',
        json: ({ other }) => ({ userId: other?.id, role: 'king' })
      },
      { title: 'an unknown one', json: { userId: 'no-such-user', role: 'user' } }
    ]
  },
  {
    own: ['other'],
    path: '/admin/set-user-password',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ userId: other?.id, newPassword }),
    required: ['userId', 'newPassword'],
    wrong: { userId: 7, newPassword: 7 },
    more: [
      {
        title: 'a short password',
        json: ({ other }) => ({ userId: other?.id, newPassword: 'short' })
      },
      { title: 'an unknown one', json: { userId: 'no-such-user', newPassword } }
    ]
  },
  {
    own: ['other'],
    path: '/admin/ban-user',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ userId: other?.id, banReason: 'spam', banExpiresIn: 3600 }),
    required: ['userId'],
    wrong: { userId: 7, banReason: 7, banExpiresIn: 'an hour' },
    more: [
      { title: 'oneself', json: ({ admin }) => ({ userId: admin?.id }) },
      { title: 'an unknown one', json: { userId: 'no-such-user' } }
    ]
  },
  {
    path: '/admin/unban-user',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ userId: other?.id }),
    required: ['userId'],
    wrong: { userId: 7 },
    more: [{ title: 'an unknown one', json: { userId: 'no-such-user' } }]
  },
  {
    path: '/admin/list-user-sessions',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ userId: other?.id }),
    required: ['userId'],
    wrong: { userId: 7 },
    more: [{ title: 'an unknown one', json: { userId: 'no-such-user' } }]
  },
  {
    own: ['other'],
    path: '/admin/revoke-user-session',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ sessionToken: other?.listedToken }),
    required: ['sessionToken'],
    wrong: { sessionToken: 7 },
    more: [{ title: 'an unknown one', json: { sessionToken: 'no-such-token' } }]
  },
  {
    own: ['other'],
    path: '/admin/revoke-user-sessions',
    method: 'POST',
    who: 'admin',
    right: (_me, { other }) => ({ userId: other?.id }),
    required: ['userId'],
    wrong: { userId: 7 },
    more: [{ title: 'an unknown one', json: { userId: 'no-such-user' } }]
  },
  {
    path: '/admin/impersonate-user',
    method: 'POST',
    who: 'admin',
    final: true,
    right: (_me, { other }) => ({ userId: other?.id }),
    required: ['userId'],
    wrong: { userId: 7 },
    more: [
      { title: 'an unknown one', json: { userId: 'no-such-user' } },
      { title: 'an administrator', json: ({ admin }) => ({ userId: admin?.id }) }
    ]
  },
  { path: '/admin/stop-impersonating', method: 'POST', who: 'user' },
  {
    own: ['user', 'other'],
    path: '/admin/remove-user',
    method: 'POST',
    who: 'admin',
    final: true,
    right: (me, { other, user }) => ({ userId: me.name.endsWith('twin') ? user?.id : other?.id }),
    required: ['userId'],
    wrong: { userId: 7 },
    more: [
      { title: 'oneself', json: ({ admin }) => ({ userId: admin?.id }) },
      { title: 'an unknown one', json: { userId: 'no-such-user' } }
    ]
  },
  {
    path: '/admin/has-permission',
    method: 'POST',
    who: 'user',
    right: () => ({ permissions: { user: ['list'] } }),
    required: ['permissions'],
    wrong: { permissions: 7 },
    more: [
      { title: 'of a role', json: { role: 'admin', permissions: { user: ['list'] } } },
      {
        title: 'of another',
        json: ({ other }) => ({ userId: other?.id, permissions: { user: ['list'] } })
      }
    ]
  }
]

/** The requests for an endpoint: the wrong ones first, the right ones last. */
function sceneOf(endpoint: Endpoint): Scene {
  const {
    path,
    method,
    who,
    right,
    required = [],
    wrong = {},
    final = false,
    own = [],
    more = []
  } = endpoint
  const me = who === 'anybody' ? 'visitor' : who
  const twin = `${me}-twin`
  const fieldsOf = (by: string) => (cast: Cast) => right?.(cast[by] as Actor, cast) ?? {}
  const inPlace = (values: Values): Pick<Step, 'json' | 'query'> =>
    method === 'GET' ? { query: values } : { json: values }
  const step = (title: string, as: Credential, values: Values, rest: Partial<Step> = {}): Step => ({
    title,
    method,
    path,
    as,
    by: me,
    ...(method === 'POST' || right ? inPlace(values) : {}),
    ...rest
  })
  const fields = fieldsOf(me)
  const change = (name: string, value: unknown) => (cast: Cast) => ({
    ...fields(cast),
    [name]: value
  })
  const credentials: Step[] =
    who === 'anybody'
      ? []
      : [
          step('without a credential', 'nothing', fields),
          step('with a dead cookie', 'dead cookie', fields),
          step('with a forged cookie', 'forged cookie', fields),
          step('with a dead bearer token', 'dead bearer', fields)
        ]
  const origins: Step[] =
    method === 'GET'
      ? [step('from a page of another site', 'cookies', fields, { headers: { origin: FOREIGN } })]
      : [
          step('from a page of another site', 'cookies', fields, { headers: { origin: FOREIGN } }),
          step('from a page without an origin', 'cookies', fields, { headers: { origin: 'null' } }),
          step('with a cookie, and no origin', 'cookies', fields, { headers: { origin: null } })
        ]
  const methods: Step[] = [
    ...(endpoints.some((other) => other.path === path && other.method !== method)
      ? []
      : [method === 'GET' ? 'POST' : 'GET']),
    'DELETE',
    'OPTIONS'
  ].map((other) => ({
    title: `by ${other}`,
    method: other,
    path,
    as: 'cookies',
    by: me,
    ...(other === 'POST' ? { json: {} } : {})
  }))
  const firstChange = required[0] === undefined ? [] : [step('an empty body', 'cookies', {})]
  const inputs: Step[] = [
    ...required.map((name) =>
      step(`without ${name}`, 'cookies', (cast: Cast) =>
        Object.fromEntries(Object.entries(fields(cast)).filter(([key]) => key !== name))
      )
    ),
    ...Object.entries(wrong).map(([name, value]) =>
      step(`${name} of the wrong type`, 'cookies', change(name, value))
    ),
    ...firstChange,
    ...(method === 'POST' && required.length > 0
      ? [{ title: 'no body', method, path, as: 'cookies' as const, by: me }]
      : [])
  ]
  return {
    name: `${method} ${path}`,
    people: [...own, ...(final && who === 'user' ? [me, twin] : [])],
    admins: final && who === 'admin' ? [me, twin] : [],
    visitors: who === 'anybody' ? ['visitor'] : [],
    steps: [
      ...credentials,
      ...(who === 'admin' ? [step('by a user', 'cookies', fields, { by: 'user' })] : []),
      ...origins,
      ...methods,
      ...(method === 'GET'
        ? [{ title: 'by HEAD', method: 'HEAD', path, as: 'cookies' as const, by: me }]
        : []),
      ...inputs,
      ...more.map((each): Step => ({ method, path, as: 'cookies', by: me, ...each })),
      ...(who === 'anybody'
        ? []
        : [
            step('right, by bearer', 'bearer', fieldsOf(final ? twin : me), {
              by: final ? twin : me
            })
          ]),
      step('right', 'cookies', fields)
    ]
  }
}

const note =
  (actor: string, name: string, from: RegExp) =>
  ({ body }: Answer, cast: Cast) => {
    const found = from.exec(body)?.[1]
    const { notes } = cast[actor] as Actor
    if (found !== undefined) notes[name] = decodeURIComponent(found)
  }
const post = (
  title: string,
  path: string,
  by: string,
  json: Values = {},
  rest: Partial<Step> = {}
): Step => ({ title, method: 'POST', path, as: 'cookies', by, json, ...rest })
const get = (title: string, path: string, by: string, rest: Partial<Step> = {}): Step => ({
  title,
  method: 'GET',
  path,
  as: 'cookies',
  by,
  ...rest
})
const scene = (
  name: string,
  { people = [], admins = [], visitors = [] }: Partial<Scene>,
  steps: Step[]
): Scene => ({ name, people, admins, visitors, steps })

const credentialsOf =
  (name: string, secret = password) =>
  (cast: Cast) => ({ email: cast[name]?.email, password: secret })
const codeOf =
  (name: string, steps = 0) =>
  (cast: Cast) => ({ code: totpOf(cast[name]?.notes['secret'] ?? '', Date.now() + steps * 30_000) })
const enrolment: Step[] = [
  post(
    'enable',
    '/two-factor/enable',
    'user',
    { password },
    {
      keep(answer, cast) {
        note('user', 'secret', /[?&]secret=([A-Z2-7]+)/)(answer, cast)
        note('user', 'backupCode', /"backupCodes":\["([^"]+)"/)(answer, cast)
        note('user', 'secondBackupCode', /"backupCodes":\["[^"]+","([^"]+)"/)(answer, cast)
      }
    }
  ),
  // The step before this one, so that a code of this step is left: Holdfast accepts each once.
  post('confirm', '/two-factor/verify-totp', 'user', codeOf('user', -1))
]

const stories: Scene[] = [
  scene('a second factor by TOTP', { people: ['user'], visitors: ['phone'] }, [
    ...enrolment,
    get('the session of who enrolled', '/get-session', 'user'),
    post('the URI', '/two-factor/get-totp-uri', 'user', { password }),
    post('new backup codes', '/two-factor/generate-backup-codes', 'user', { password }),
    post('sign in', '/sign-in/email', 'phone', credentialsOf('user')),
    get('the session between password and code', '/get-session', 'phone'),
    post('list the factors', '/two-factor/get-totp-uri', 'phone', { password }),
    post('a code by mail', '/two-factor/send-otp', 'phone'),
    post('check a code by mail', '/two-factor/verify-otp', 'phone', { code: '000000' }),
    post('a wrong code', '/two-factor/verify-totp', 'phone', { code: '000000' }),
    post('no code', '/two-factor/verify-totp', 'phone', {}),
    post('a code of an hour ago', '/two-factor/verify-totp', 'phone', codeOf('user', -120)),
    post('a wrong backup code', '/two-factor/verify-backup-code', 'phone', { code: 'aaaaa-bbbbb' }),
    post('the right code', '/two-factor/verify-totp', 'phone', (cast: Cast) => {
      const { code } = codeOf('user')(cast)
      const { notes } = cast['user'] as Actor
      notes['code'] = code
      return { code, trustDevice: true }
    }),
    post('the same code again', '/two-factor/verify-totp', 'user', ({ user }) => ({
      code: user?.notes['code']
    })),
    get('the session after it', '/get-session', 'phone'),
    post('sign out', '/sign-out', 'phone'),
    post('sign in on the trusted device', '/sign-in/email', 'phone', credentialsOf('user')),
    post(
      'a code without a pending sign-in',
      '/two-factor/verify-totp',
      'phone',
      { code: '000000' },
      { as: 'nothing' }
    ),
    post('disable', '/two-factor/disable', 'user', { password }),
    get('the session without the factor', '/get-session', 'user')
  ]),
  scene(
    'a second factor by backup code',
    { people: ['user'], visitors: ['phone', 'tablet', 'app'] },
    [
      ...enrolment,
      post('sign in without cookies', '/sign-in/email', 'app', credentialsOf('user'), {
        as: 'nothing'
      }),
      post('sign in', '/sign-in/email', 'phone', credentialsOf('user')),
      post('the right backup code', '/two-factor/verify-backup-code', 'phone', ({ user }) => ({
        code: user?.notes['backupCode']
      })),
      get('the session after it', '/get-session', 'phone'),
      post(
        'sign in elsewhere for this browser session',
        '/sign-in/email',
        'tablet',
        (cast: Cast) => ({ ...credentialsOf('user')(cast), rememberMe: false })
      ),
      post(
        'a backup code that was used',
        '/two-factor/verify-backup-code',
        'tablet',
        ({ user }) => ({ code: user?.notes['backupCode'] })
      ),
      post(
        'another backup code, and no session',
        '/two-factor/verify-backup-code',
        'tablet',
        ({ user }) => ({ code: user?.notes['secondBackupCode'], disableSession: true })
      ),
      post('delete the account', '/delete-user', 'user', { password })
    ]
  ),
  scene('too many wrong codes', { people: ['user'], visitors: ['phone'] }, [
    ...enrolment,
    post('sign in', '/sign-in/email', 'phone', credentialsOf('user')),
    ...[1, 2, 3, 4, 5, 6].map((count) =>
      post(`wrong code ${count}`, '/two-factor/verify-totp', 'phone', { code: '000000' })
    )
  ]),
  scene('a one-time token', { people: ['user'], visitors: ['phone', 'app'] }, [
    get('make one', '/one-time-token/generate', 'user', {
      keep: note('user', 'oneTime', /"token":"([^"]+)"/)
    }),
    post('use it', '/one-time-token/verify', 'phone', ({ user }) => ({
      token: user?.notes['oneTime'] ?? 'none'
    })),
    get('the session that it began', '/get-session', 'phone'),
    post('use it again', '/one-time-token/verify', 'phone', ({ user }) => ({
      token: user?.notes['oneTime'] ?? 'none'
    })),
    get('make one by bearer', '/one-time-token/generate', 'user', {
      as: 'bearer',
      keep: note('user', 'oneTime', /"token":"([^"]+)"/)
    }),
    post(
      'use it in an app',
      '/one-time-token/verify',
      'app',
      ({ user }) => ({ token: user?.notes['oneTime'] ?? 'none' }),
      { as: 'nothing' }
    )
  ]),
  scene('several devices', { people: ['user', 'other'], visitors: ['phone', 'tablet'] }, [
    post('sign in on a phone', '/sign-in/email', 'phone', credentialsOf('user')),
    post('sign in on a tablet', '/sign-in/email', 'tablet', credentialsOf('user')),
    get('list', '/list-sessions', 'phone', { keep: note('user', 'token', /"token":"([^"]+)"/) }),
    post('end the first of the list', '/revoke-session', 'phone', ({ user }) => ({
      token: user?.listedToken
    })),
    get('the session that was ended', '/get-session', 'user'),
    get('list with it', '/list-sessions', 'user'),
    post('end all others', '/revoke-other-sessions', 'phone'),
    get('the tablet', '/get-session', 'tablet'),
    get('the phone', '/get-session', 'phone'),
    post('a new password, and all others end', '/change-password', 'phone', {
      currentPassword: password,
      newPassword,
      revokeOtherSessions: true
    }),
    get('the phone with its new session', '/get-session', 'phone'),
    post('sign in with the old password', '/sign-in/email', 'tablet', credentialsOf('user')),
    post(
      'sign in with the new password',
      '/sign-in/email',
      'tablet',
      credentialsOf('user', newPassword)
    ),
    post('end all', '/revoke-sessions', 'tablet'),
    get('the tablet after it', '/get-session', 'tablet'),
    post('sign out all the same', '/sign-out', 'tablet')
  ]),
  scene('an administrator', { people: ['user'], admins: ['admin'], visitors: ['phone'] }, [
    post('sign the person in', '/sign-in/email', 'phone', credentialsOf('user')),
    post('act as the person', '/admin/impersonate-user', 'admin', ({ user }) => ({
      userId: user?.id
    })),
    get('the session meanwhile', '/get-session', 'admin'),
    get('the list meanwhile', '/list-sessions', 'admin'),
    get('an administrator route meanwhile', '/admin/list-users', 'admin'),
    post('act as another meanwhile', '/admin/impersonate-user', 'admin', ({ user }) => ({
      userId: user?.id
    })),
    post('come back', '/admin/stop-impersonating', 'admin'),
    get('the session after it', '/get-session', 'admin'),
    post('ban', '/admin/ban-user', 'admin', ({ user }) => ({
      userId: user?.id,
      banReason: 'spam'
    })),
    get('the banned person', '/get-session', 'phone'),
    post('the banned person changes something', '/update-user', 'user', { name: 'x' }),
    post('sign in while banned', '/sign-in/email', 'phone', credentialsOf('user')),
    get('the banned person in the list', '/admin/get-user', 'admin', {
      query: ({ user }) => ({ id: user?.id })
    }),
    post('end the ban', '/admin/unban-user', 'admin', ({ user }) => ({ userId: user?.id })),
    post('sign in again', '/sign-in/email', 'phone', credentialsOf('user')),
    post('a new password for the person', '/admin/set-user-password', 'admin', ({ user }) => ({
      userId: user?.id,
      newPassword
    })),
    get('the session of before', '/get-session', 'phone'),
    post('sign in with it', '/sign-in/email', 'phone', credentialsOf('user', newPassword)),
    post('a role for the person', '/admin/set-role', 'admin', ({ user }) => ({
      userId: user?.id,
      role: 'admin'
    })),
    get('the session with it', '/get-session', 'phone'),
    post('remove the person', '/admin/remove-user', 'admin', ({ user }) => ({ userId: user?.id })),
    get('the session of somebody removed', '/get-session', 'phone'),
    post('sign in after removal', '/sign-in/email', 'phone', credentialsOf('user', newPassword))
  ]),
  scene('common passwords', { people: ['user', 'other'], admins: ['admin'], visitors: ['guest'] }, [
    post('at sign-up', '/sign-up/email', 'guest', ({ guest }) => ({
      name: 'Ada',
      email: guest?.email,
      password: 'password1'
    })),
    post('as a new one', '/change-password', 'user', {
      newPassword: 'password1',
      currentPassword: password
    }),
    post('for somebody else', '/admin/set-user-password', 'admin', ({ other }) => ({
      userId: other?.id,
      newPassword: 'password1'
    })),
    post('for somebody new', '/admin/create-user', 'admin', {
      email: 'common@example.com',
      password: 'password1',
      name: 'Made'
    })
  ]),
  scene('paths that there are not', { people: ['user'] }, [
    ...['GET', 'POST', 'DELETE', 'HEAD'].flatMap((method): Step[] =>
      [
        '/no-such-thing',
        '/sign-in',
        '/sign-in/',
        '/admin',
        '/two-factor/no-such-thing',
        '/get-session/',
        '//get-session',
        '/get-session/x',
        ''
      ].map((path) => ({
        title: method,
        method,
        path,
        as: 'cookies',
        by: 'user',
        ...(method === 'POST' ? { json: {} } : {})
      }))
    ),
    get('percent-encoded', '/%67et-session', 'user'),
    get('bad percent-encoding', '/get-session%zz', 'user'),
    get('dots', '/x/../get-session', 'user'),
    get('capitals', '/GET-SESSION', 'user')
  ]),
  scene('odd credentials', { people: ['user', 'other'] }, [
    get('another scheme', '/get-session', 'user', {
      as: 'nothing',
      headers: { authorization: 'Basic YTpi' }
    }),
    get('a bearer token that is none', '/get-session', 'user', {
      as: 'nothing',
      headers: { authorization: 'Bearer no-such-token' }
    }),
    get('an empty bearer token', '/get-session', 'user', {
      as: 'nothing',
      headers: { authorization: 'Bearer ' }
    }),
    get('a bearer token beside a cookie', '/get-session', 'user', {
      headers: { authorization: 'Bearer no-such-token' }
    }),
    get('bearer in lower case', '/get-session', 'user', {
      as: 'bearer',
      headers: { authorization: '<lower-case bearer>' }
    }),
    get('an unrelated cookie', '/get-session', 'user', {
      as: 'nothing',
      headers: { cookie: 'theme=dark' }
    }),
    post(
      'an unrelated cookie, and a change',
      '/sign-out',
      'user',
      {},
      { as: 'nothing', headers: { cookie: 'theme=dark' } }
    ),
    post(
      'bearer from a page of another site',
      '/update-user',
      'user',
      { name: 'x' },
      { as: 'bearer', headers: { origin: FOREIGN } }
    ),
    get('the listed token as bearer', '/get-session', 'user', {
      as: 'nothing',
      headers: { authorization: '<listed token>' }
    })
  ])
]

/** All scenes, in this order. */
export const scenes: Scene[] = [...endpoints.map(sceneOf), ...stories]

/** The endpoints that are described here, as better-auth names them. */
export const described = endpoints.map(({ path, pattern = path, method }) => `${method} ${pattern}`)
