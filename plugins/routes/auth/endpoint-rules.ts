import type { AuthEndpoint } from '../../../src/auth/endpoints.js'
import { limits, type Limit } from '../../../src/limits.js'

/**
 * How a request to an endpoint of better-auth is counted before better-auth sees it.
 *
 * - `open`: it guesses at nothing. It needs a session, or tells nothing about any user.
 * - `account`: it guesses at an account's password, and is counted by the e-mail address in its
 *   body.
 * - `probe`: it tells whether an e-mail address has an account, and is counted by the address.
 * - `session`: it asks a signed-in user for a secret again, and is counted by session and user.
 *   Without a session there is no user to guess at. A pending second factor has its own count in
 *   the store.
 * - `mail`: it sends mail to an address, and is counted by that address and in all.
 * - `code`: it takes the code of a mail. Wrong ones are counted by client and in all, and by the
 *   store.
 * - `token`: it takes or makes a token that is too long to guess, and is counted by address alone.
 * - `off`: it can do nothing as this server is configured, and is answered 404 without I/O.
 */
export type EndpointRule =
  | { kind: 'open' }
  | { kind: 'off' }
  | { kind: 'account' | 'probe' | 'session' | 'mail' | 'code' | 'token'; limit: Limit }

const open: EndpointRule = { kind: 'open' }
/** Needs a social provider, and none is configured. */
const needsProvider: EndpointRule = { kind: 'off' }
/** Would act on a GET, which scanners of mail send, too. */
const actsOnGet: EndpointRule = { kind: 'off' }
const confirms: EndpointRule = { kind: 'session', limit: limits.confirmByAddress }
const mails: EndpointRule = { kind: 'mail', limit: limits.mailsByAddress }
const codes: EndpointRule = { kind: 'code', limit: limits.resetByAddress }
const resets: EndpointRule = { kind: 'token', limit: limits.resetByAddress }

const rules: Record<string, EndpointRule> = {
  '/ok': open,
  '/error': open,
  '/get-session': open,
  '/recent-sign-in': open,
  '/list-sessions': open,
  '/list-accounts': open,
  '/account-info': open,
  '/export-account': open,
  '/sign-out': open,
  '/update-session': open,
  '/update-user': open,
  '/change-email': mails,
  '/unlink-account': open,
  '/revoke-session': open,
  '/revoke-sessions': open,
  '/revoke-other-sessions': open,
  '/sign-in/email': { kind: 'account', limit: limits.signInByAddress },
  '/sign-up/email': { kind: 'probe', limit: limits.signUpByAddress },
  '/change-password': confirms,
  '/verify-password': confirms,
  '/delete-user': confirms,
  '/two-factor/enable': confirms,
  '/two-factor/disable': confirms,
  '/two-factor/get-totp-uri': confirms,
  '/two-factor/generate-backup-codes': confirms,
  '/two-factor/verify-totp': confirms,
  '/two-factor/verify-otp': confirms,
  '/two-factor/verify-backup-code': confirms,
  '/two-factor/send-otp': confirms,
  '/one-time-token/generate': { kind: 'token', limit: limits.newOneTimeTokenByAddress },
  '/one-time-token/verify': { kind: 'token', limit: limits.oneTimeTokenByAddress },
  '/request-password-reset': mails,
  '/send-verification-email': mails,
  '/sign-in/magic-link': mails,
  '/forget-password/email-otp': mails,
  '/email-otp/send-verification-otp': mails,
  '/email-otp/request-password-reset': mails,
  '/email-otp/request-email-change': mails,
  '/email-otp/verify-email': codes,
  '/email-otp/check-verification-otp': codes,
  '/email-otp/reset-password': codes,
  '/email-otp/change-email': codes,
  '/sign-in/email-otp': codes,
  '/reset-password': resets,
  '/verify-email': resets,
  '/magic-link/verify': resets,
  '/describe-link': resets,
  '/not-me': resets,
  '/admin/send-password-reset': open,
  '/reset-password/:token': actsOnGet,
  '/delete-user/callback': actsOnGet,
  '/sign-in/social': needsProvider,
  '/link-social': needsProvider,
  '/callback/:id': needsProvider,
  '/refresh-token': needsProvider,
  '/get-access-token': needsProvider,
  '/admin/get-user': open,
  '/admin/list-users': open,
  '/admin/find-users': open,
  '/admin/list-user-sessions': open,
  '/admin/list-user-session-history': open,
  '/admin/list-session-events': open,
  '/admin/list-user-events': open,
  '/admin/list-events': open,
  '/admin/create-user': open,
  '/admin/update-user': open,
  '/admin/set-role': open,
  '/admin/set-user-password': open,
  '/admin/ban-user': open,
  '/admin/unban-user': open,
  '/admin/impersonate-user': open,
  '/admin/stop-impersonating': open,
  '/admin/revoke-user-session': open,
  '/admin/revoke-user-sessions': open,
  '/admin/remove-user': open,
  '/admin/erase-user': open,
  '/admin/become-first-administrator': { kind: 'token', limit: limits.resetByAddress },
  '/admin/export-user': open,
  '/admin/has-permission': open
}

/**
 * The GET endpoints that change something. HEAD must not (RFC 9110 9.2.1), so they do not answer
 * it.
 */
const changedByGet = new Set(['/one-time-token/generate', '/callback/:id'])

/** better-auth's own verification, which acts on GET. With mail there is one that takes a POST. */
const isVerificationByGet = (path: string, methods: readonly string[]) =>
  path === '/verify-email' && methods.includes('GET')

/**
 * The rule of an endpoint.
 *
 * @throws Error at the start for an endpoint without one: a new endpoint must get a rule when it is
 *   added
 */
export function endpointRule({
  path,
  methods
}: Pick<AuthEndpoint, 'path' | 'methods'>): EndpointRule {
  const rule = isVerificationByGet(path, methods) ? actsOnGet : rules[path]
  if (!rule)
    throw new Error(
      `better-auth has an endpoint ${path}, and no rule says what a request to it costs`
    )
  return rule
}

/** Whether an endpoint is answered 404. */
export function isOff(path: string, method: string): boolean {
  return isVerificationByGet(path, [method]) || rules[path]?.kind === 'off'
}

/** The methods that an endpoint answers. */
export function endpointMethods({ path, methods }: AuthEndpoint): string[] {
  return methods.includes('GET') && !changedByGet.has(path) ? [...methods, 'HEAD'] : [...methods]
}

/**
 * The methods in `Allow`. A POST to `/get-session` would refresh a session, which is off.
 * better-auth knows the method, and answers 405.
 */
export function allowHeader(endpoint: AuthEndpoint): string {
  return endpointMethods(endpoint)
    .filter((method) => method !== 'POST' || endpoint.path !== '/get-session')
    .join(', ')
}
