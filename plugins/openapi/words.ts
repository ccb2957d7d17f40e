import type { Located } from './document.js'

export const tags = [
  {
    name: 'Sign-in',
    description:
      'Accounts begin and sessions begin. An app sends `Token-Transport: body` and is answered `tokens`; a browser is given a cookie.'
  },
  {
    name: 'Second factor',
    description:
      'Set up and shown. A sign-in that wants one is answered `twoFactorRedirect`, and for an app a `challenge`.'
  },
  {
    name: 'Tokens',
    description:
      'Refresh tokens are exchanged and given back; keys and metadata for services that verify access tokens.'
  },
  { name: 'Sessions', description: "The caller's sessions, and their end." },
  { name: 'Account', description: "The caller's account." },
  { name: 'Administration', description: 'For users with the role `admin`.' },
  {
    name: 'Gateways',
    description: 'For proxies and services that ask about the sessions of others.'
  },
  { name: 'Operation', description: 'For orchestrators.' }
]

/** An operation's name in generated clients, its summary, and its tag. */
type Words = readonly [operationId: string, summary: string, tag: string]

/** better-auth's operations, by the path below its base path. Its own ids are kept. */
const betterAuth: Record<string, Words> = {
  '/sign-up/email': [
    'signUpWithEmailAndPassword',
    'Makes an account and signs in to it',
    'Sign-in'
  ],
  '/sign-in/email': ['signInEmail', 'Signs in with e-mail address and password', 'Sign-in'],
  '/sign-out': ['signOut', 'Ends the session of this request', 'Sign-in'],
  '/one-time-token/generate': [
    'generateOneTimeToken',
    'Makes a token by which another device signs in once',
    'Sign-in'
  ],
  '/one-time-token/verify': ['verifyOneTimeToken', 'Signs in with a one-time token', 'Sign-in'],
  '/request-password-reset': [
    'requestPasswordReset',
    'Sends a mail by which a password can be reset',
    'Sign-in'
  ],
  '/reset-password': ['resetPassword', 'Sets a new password with the token of the mail', 'Sign-in'],
  '/email-otp/request-password-reset': [
    'requestPasswordResetByCode',
    'Sends a mail by which a password can be reset',
    'Sign-in'
  ],
  '/forget-password/email-otp': [
    'forgetPasswordByCode',
    "The same under an older name of better-auth's client",
    'Sign-in'
  ],
  '/email-otp/reset-password': [
    'resetPasswordByCode',
    'Sets a new password with the code of the mail',
    'Sign-in'
  ],
  '/email-otp/send-verification-otp': [
    'sendVerificationCode',
    'Sends a mail with a code: to verify, to sign in or to reset',
    'Sign-in'
  ],
  '/email-otp/check-verification-otp': [
    'checkVerificationCode',
    'Whether a code counts; it is not used up',
    'Sign-in'
  ],
  '/email-otp/verify-email': [
    'verifyEmailByCode',
    'Verifies an e-mail address with the code of the mail',
    'Sign-in'
  ],
  '/sign-in/email-otp': ['signInByCode', 'Signs in with the code of a mail', 'Sign-in'],
  '/sign-in/magic-link': ['requestMagicLink', 'Sends a mail by which one signs in', 'Sign-in'],
  '/magic-link/verify': ['signInByLink', 'Signs in with the token of the mail', 'Sign-in'],
  '/describe-link': [
    'describeLink',
    'What the link of a mail is for; it is not used up',
    'Sign-in'
  ],
  '/not-me': [
    'reportNotMe',
    'Ends all sessions of an account, by the link "this was not me" of a mail',
    'Account'
  ],
  '/send-verification-email': [
    'sendVerificationEmail',
    'Sends a mail that verifies the e-mail address',
    'Sign-in'
  ],
  '/verify-email': [
    'verifyEmail',
    'Verifies an e-mail address with the token of the mail',
    'Sign-in'
  ],
  '/two-factor/enable': ['enableTwoFactor', 'Begins to set up a second factor', 'Second factor'],
  '/two-factor/disable': ['disableTwoFactor', 'Removes the second factor', 'Second factor'],
  '/two-factor/get-totp-uri': [
    'getTotpUri',
    'Shows the secret of the authenticator app again',
    'Second factor'
  ],
  '/two-factor/verify-totp': [
    'verifyTotp',
    'Shows a code of the authenticator app',
    'Second factor'
  ],
  '/two-factor/send-otp': ['sendTwoFactorCode', 'Sends a code by mail', 'Second factor'],
  '/two-factor/verify-otp': [
    'verifyTwoFactorCode',
    'Shows a code that was sent by mail',
    'Second factor'
  ],
  '/two-factor/verify-backup-code': [
    'verifyBackupCode',
    'Shows a backup code, which counts once',
    'Second factor'
  ],
  '/two-factor/generate-backup-codes': [
    'generateBackupCodes',
    'Makes new backup codes; the old ones are dead',
    'Second factor'
  ],
  '/get-session': [
    'getSession',
    "The session as better-auth's clients read it; null without one",
    'Sessions'
  ],
  '/recent-sign-in': [
    'getRecentSignIn',
    'Whether a grave change would be allowed now, and whether there is a second factor',
    'Sessions'
  ],
  '/list-sessions': [
    'listUserSessions',
    "The caller's sessions as better-auth's clients read them",
    'Sessions'
  ],
  '/revoke-session': ['revokeSession', "Ends one of the caller's sessions", 'Sessions'],
  '/revoke-sessions': ['revokeSessions', "Ends all of the caller's sessions", 'Sessions'],
  '/revoke-other-sessions': [
    'revokeOtherSessions',
    "Ends all of the caller's other sessions",
    'Sessions'
  ],
  '/update-session': ['updateSession', 'Changes fields of the session', 'Sessions'],
  '/update-user': ['updateUser', "Changes the caller's name, image or language", 'Account'],
  '/change-email': [
    'changeEmail',
    "Asks by mail for a change of the caller's e-mail address",
    'Account'
  ],
  '/email-otp/request-email-change': [
    'requestEmailChange',
    "Asks by mail for a change of the caller's e-mail address, or confirms it with the code of the mail to the old one",
    'Account'
  ],
  '/email-otp/change-email': [
    'changeEmailByCode',
    "Changes the caller's e-mail address with the code of the mail to the new one",
    'Account'
  ],
  '/change-password': ['changePassword', "Changes the caller's password", 'Account'],
  '/verify-password': ['verifyPassword', "Whether this is the caller's password", 'Account'],
  '/delete-user': ['deleteUser', "Deletes the caller's account", 'Account'],
  '/list-accounts': ['listUserAccounts', 'The ways in which the caller can sign in', 'Account'],
  '/unlink-account': ['unlinkAccount', 'Removes one of them', 'Account'],
  '/account-info': [
    'getAccountInfo',
    'What the provider of an account says of its user',
    'Account'
  ],
  '/export-account': ['exportAccount', 'All that is stored of the caller, in pages', 'Account'],
  '/admin/export-user': ['exportUser', 'All that is stored of a user, in pages', 'Administration'],
  '/admin/find-users': [
    'findUsers',
    'Finds users by id or address, or by a part of the address or name, ignoring case',
    'Administration'
  ],
  '/admin/list-users': ['listUsers', 'Searches and lists users', 'Administration'],
  '/admin/get-user': ['getUser', 'One user', 'Administration'],
  '/admin/create-user': ['createUser', 'Makes an account for somebody', 'Administration'],
  '/admin/update-user': ['adminUpdateUser', 'Changes fields of a user', 'Administration'],
  '/admin/set-role': ['setUserRole', 'Sets the roles of a user', 'Administration'],
  '/admin/set-user-password': ['setUserPassword', 'Sets the password of a user', 'Administration'],
  '/admin/send-password-reset': [
    'sendPasswordReset',
    'Mails a user a link for a new password, or for the first one',
    'Administration'
  ],
  '/admin/ban-user': ['banUser', 'Bans a user and ends their sessions', 'Administration'],
  '/admin/unban-user': ['unbanUser', 'Lifts a ban', 'Administration'],
  '/admin/remove-user': ['removeUser', 'Deletes a user', 'Administration'],
  '/admin/erase-user': ['eraseUser', 'Deletes a user and erases what names them', 'Administration'],
  '/admin/become-first-administrator': [
    'becomeFirstAdministrator',
    'Makes the caller the first administrator, by the token of a link',
    'Administration'
  ],
  '/admin/impersonate-user': [
    'impersonateUser',
    'Begins a session as somebody else',
    'Administration'
  ],
  '/admin/stop-impersonating': [
    'stopImpersonating',
    'Returns to the session of the administrator',
    'Administration'
  ],
  '/admin/list-user-sessions': [
    'adminListUserSessions',
    'The sessions of a user',
    'Administration'
  ],
  '/admin/list-user-session-history': [
    'adminListUserSessionHistory',
    'All sessions of a user, those that have ended as well, newest first',
    'Administration'
  ],
  '/admin/list-session-events': [
    'adminListSessionEvents',
    'What happened to a session of anybody, oldest first',
    'Administration'
  ],
  '/admin/list-user-events': [
    'adminListUserEvents',
    'What happened to the account of a user, newest first',
    'Administration'
  ],
  '/admin/list-events': [
    'adminListEvents',
    'What happened to all accounts, newest first',
    'Administration'
  ],
  '/admin/revoke-user-session': ['revokeUserSession', 'Ends a session of a user', 'Administration'],
  '/admin/revoke-user-sessions': [
    'revokeUserSessions',
    'Ends all sessions of a user',
    'Administration'
  ],
  '/admin/has-permission': [
    'hasPermission',
    'Whether the caller may do something',
    'Administration'
  ],
  '/ok': ['isAlive', 'Whether better-auth answers', 'Operation'],
  '/error': ['showError', "better-auth's error page", 'Operation']
}

/** Ids of our own operations. Their summaries and tags are with their routes. */
const ours: Record<string, string> = {
  'get /session': 'checkSession',
  'get /sessions': 'listSessions',
  'delete /sessions': 'endOtherSessions',
  'delete /sessions/{id}': 'endSession',
  'patch /sessions/{id}': 'nameSession',
  'get /sessions/{id}/events': 'listSessionEvents',
  'get /account/events': 'listAccountEvents',
  'post /oauth2/token': 'refreshTokens',
  'post /oauth2/revoke': 'revokeToken',
  'post /oauth2/introspect': 'introspectToken',
  'post /sessions/check': 'checkTokens',
  'get /health/live': 'getLiveness',
  'get /health/ready': 'getReadiness',
  'get /.well-known/jwks.json': 'getSigningKeys',
  'get /.well-known/oauth-authorization-server': 'getMetadata'
}

/** Gives a better-auth operation its id, summary and tag. */
export function nameBetterAuths({ path, method, operation }: Located): void {
  const [operationId, summary, tag] = betterAuth[path] ?? [
    operation.operationId ?? idFrom(method, path),
    operation.description ?? `${method.toUpperCase()} ${path}`,
    'Account'
  ]
  Object.assign(operation, { operationId, summary, tags: [tag] })
}

/**
 * Gives one of our operations its id, from the table or from method and path: `get
 * /verify/for/{roles}` is `getVerifyForRoles`.
 */
export function nameOurs({ path, method, operation }: Located): void {
  operation.operationId ??= ours[`${method} ${path}`] ?? idFrom(method, path)
}

function idFrom(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter(Boolean)
  return method + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}
