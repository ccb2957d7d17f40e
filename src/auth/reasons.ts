import { tryGetCurrentAuthEndpointContext } from '@better-auth/core/context'
import type { RevocationReason, Session } from '../session/session.js'
import { currentCall } from './call-context.js'

const byPath: Record<string, RevocationReason> = {
  '/sign-out': 'signed_out',
  '/sign-in/email': 'second_factor_pending',
  '/sign-in/email-otp': 'second_factor_pending',
  '/magic-link/verify': 'second_factor_pending',
  '/email-otp/reset-password': 'password_changed',
  '/not-me': 'not_me',
  '/change-password': 'password_changed',
  '/reset-password': 'password_changed',
  '/set-password': 'password_changed',
  '/delete-user': 'user_deleted',
  '/delete-user/callback': 'user_deleted',
  '/two-factor/verify-totp': 'second_factor_changed',
  '/two-factor/enable': 'second_factor_changed',
  '/two-factor/disable': 'second_factor_changed',
  '/admin/ban-user': 'user_banned',
  '/admin/remove-user': 'user_deleted',
  '/admin/set-user-password': 'password_changed',
  '/admin/update-user': 'user_banned',
  '/admin/stop-impersonating': 'impersonation_ended'
}

/** The path of the better-auth endpoint that is running; empty outside one. */
export function endpointPath(): string {
  return tryGetCurrentAuthEndpointContext()?.path ?? ''
}

/** The reason with which the running endpoint revokes sessions. */
export function revocationReason(): RevocationReason {
  const path = endpointPath()
  return (
    byPath[path] ??
    (path.startsWith('/admin/')
      ? 'revoked_by_admin'
      : path
        ? 'revoked_by_user'
        : 'revoked_by_operator')
  )
}

/** The reason with which a new session of the endpoint ends the one that the cookie named. */
export function replacementReason(): RevocationReason {
  return endpointPath().startsWith('/two-factor/') ? 'second_factor_changed' : 'signed_in_again'
}

/**
 * Whether the running endpoint verifies a credential. The session that it begins is then recent.
 */
export function credentialShown(): 'now' | 'none' {
  return /^\/(sign-in|sign-up|magic-link|two-factor\/verify-)/.test(endpointPath()) ? 'now' : 'none'
}

/** Whether an endpoint signs in by a mailed code or link. */
export function isMailedSignIn(path: string): boolean {
  return path === '/sign-in/email-otp' || path === '/magic-link/verify'
}

/** How the running endpoint has authenticated the user (RFC 8176). */
export function authenticationMethods(predecessor: Session | null): string[] {
  const path = endpointPath()
  // A user who sets a new password has already passed what the session required.
  if (path === '/change-password' && predecessor) return predecessor.amr
  if (path.startsWith('/two-factor/verify'))
    return [...new Set([currentCall().challengedBy ?? 'pwd', 'otp', 'mfa'])]
  if (isMailedSignIn(path)) return ['otp']
  return path.startsWith('/admin/') ? [] : ['pwd']
}
