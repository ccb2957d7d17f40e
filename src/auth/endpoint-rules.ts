/** What an endpoint of better-auth asks of the credential that authenticates the call. */
interface EndpointRule {
  /**
   * Whether an access token may do it. Every service that an access token is sent to sees it, so
   * that it must not be enough for what lasts longer than the token does (RFC 9700, section 2.3).
   * `password`: only with the user's password in the same request.
   */
  accessToken?: 'alone' | 'password'
  /**
   * The field of the body that holds the user's password, where the endpoint itself verifies it.
   */
  password?: string
  /**
   * A change after which an account may be lost: it wants a credential shown in the session lately.
   */
  grave?: true
}

/**
 * What is not listed here, an access token may not do. Paths are better-auth's own, by which it
 * routes.
 */
const rules: Record<string, EndpointRule> = {
  '/get-session': { accessToken: 'alone' },
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
  // The code is a credential of its own.
  '/two-factor/verify-totp': { accessToken: 'alone' },
  '/two-factor/verify-backup-code': { accessToken: 'alone' }
}

/**
 * Administration that changes nothing, or that gives a right back. All else below /admin is grave.
 */
const harmlessAdministration: readonly string[] = [
  '/admin/get-user',
  '/admin/list-users',
  '/admin/list-user-sessions',
  '/admin/list-user-session-history',
  '/admin/list-session-events',
  '/admin/list-user-events',
  '/admin/list-events',
  '/admin/has-permission',
  '/admin/stop-impersonating'
]

/** A call of an endpoint: its path as better-auth routed it, and the body as it was sent. */
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

/** Whether a call is a grave change. */
export function isGrave({ path }: EndpointCall): boolean {
  return (
    rules[path]?.grave === true ||
    (path.startsWith('/admin/') && !harmlessAdministration.includes(path))
  )
}

/** Whether a call shows the code of a second factor, or a backup code. */
export function guessesFactor({ path }: EndpointCall): boolean {
  return path.startsWith('/two-factor/verify-')
}

/** Whether the call carries the user's password where its endpoint verifies it. */
export function carriesPassword({ path, body }: EndpointCall): boolean {
  const field = rules[path]?.password
  if (field === undefined || typeof body !== 'object' || body === null) return false
  const value = (body as Record<string, unknown>)[field]
  return typeof value === 'string' && value !== ''
}
