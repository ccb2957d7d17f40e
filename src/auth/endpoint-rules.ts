/** What an endpoint of better-auth requires of the call's credential. */
interface EndpointRule {
  /**
   * Whether an access token is enough. Every service that an access token is sent to sees it, so it
   * must not be enough for effects that outlast the token (RFC 9700, section 2.3). `password`: only
   * with the user's password in the same request.
   */
  accessToken?: 'alone' | 'password'
  /** The body field with the user's password, where the endpoint itself verifies it. */
  password?: string
  /**
   * A change that can take over an account. It needs a credential that was verified in the session
   * lately.
   */
  grave?: true
}

/**
 * An access token may not call an endpoint that is not listed here. Paths are better-auth's own, by
 * which it routes.
 */
const rules: Record<string, EndpointRule> = {
  '/get-session': { accessToken: 'alone' },
  '/recent-sign-in': { accessToken: 'alone' },
  '/sign-out': { accessToken: 'alone' },
  '/list-sessions': { accessToken: 'alone' },
  '/revoke-session': { accessToken: 'alone' },
  '/revoke-sessions': { accessToken: 'alone' },
  '/revoke-other-sessions': { accessToken: 'alone' },
  '/update-user': { accessToken: 'alone' },
  '/change-password': { accessToken: 'password', password: 'currentPassword', grave: true },
  '/verify-password': { accessToken: 'password', password: 'password' },
  '/delete-user': { accessToken: 'password', password: 'password', grave: true },
  '/delete-user/callback': { grave: true },
  '/change-email': { grave: true },
  '/email-otp/request-email-change': { grave: true },
  '/export-account': { grave: true },
  '/link-social': { grave: true },
  '/unlink-account': { grave: true },
  '/two-factor/enable': { accessToken: 'password', password: 'password', grave: true },
  '/two-factor/disable': { accessToken: 'password', password: 'password', grave: true },
  '/two-factor/get-totp-uri': { accessToken: 'password', password: 'password', grave: true },
  '/two-factor/generate-backup-codes': {
    accessToken: 'password',
    password: 'password',
    grave: true
  },
  // The code is itself a credential.
  '/two-factor/verify-totp': { accessToken: 'alone' },
  '/two-factor/verify-backup-code': { accessToken: 'alone' },
  '/email-otp/verify-email': { accessToken: 'alone' },
  // It sends what it would send without a session.
  '/send-verification-email': { accessToken: 'alone' }
}

/**
 * Administration that changes nothing, or that gives a right back. Everything else below /admin is
 * sensitive.
 */
const harmlessAdministration: readonly string[] = [
  '/admin/get-user',
  '/admin/list-users',
  '/admin/find-users',
  '/admin/list-user-sessions',
  '/admin/list-user-session-history',
  '/admin/list-session-events',
  '/admin/list-user-events',
  '/admin/list-events',
  '/admin/has-permission',
  '/admin/stop-impersonating'
]

/** A call of an endpoint: the path that better-auth routed it to, and the body as it was sent. */
export interface EndpointCall {
  path: string
  body: unknown
}

/** Whether an access token is enough for a call. */
export function allowsAccessToken(call: EndpointCall): boolean {
  const rule = rules[call.path]
  return (
    rule?.accessToken === 'alone' || (rule?.accessToken === 'password' && carriesPassword(call))
  )
}

/** Whether a call is a sensitive change. */
export function isGrave({ path }: EndpointCall): boolean {
  return (
    rules[path]?.grave === true ||
    (path.startsWith('/admin/') && !harmlessAdministration.includes(path))
  )
}

/** Whether a call sends the code of a second factor, or a backup code. */
export function guessesFactor({ path }: EndpointCall): boolean {
  return path.startsWith('/two-factor/verify-')
}

/** Whether the call sends the user's password, where its endpoint verifies it. */
export function carriesPassword({ path, body }: EndpointCall): boolean {
  const field = rules[path]?.password
  if (field === undefined || typeof body !== 'object' || body === null) return false
  const value = (body as Record<string, unknown>)[field]
  return typeof value === 'string' && value !== ''
}
