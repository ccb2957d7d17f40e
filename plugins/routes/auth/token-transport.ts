import type { FastifyRequest } from 'fastify'
import type { AuthCallContext, TokenTransport } from '../../../src/auth/call-context.js'
import type { TokenService } from '../../../src/token/token-service.js'
import { AppError } from '../../../src/errors.js'
import type { Credential } from '../../../src/session/session.js'

// What better-auth remembers in cookies between a password and a second factor.
const pendingCookies = ['two_factor', 'dont_remember']
const PAIR = /^([\w.-]+)=([\w.~%+/=-]*)$/

// An administrator returns from an impersonation by a cookie, so it begins no refresh family.
const IMPERSONATION = /\/admin\/(impersonate-user|stop-impersonating)$/

/**
 * How the client wants its credentials. A client that authenticates with an access token gets no
 * cookies.
 *
 * @throws AppError 400 for an unknown transport, and for tokens where a session cookie was sent: a
 *   script on a page could turn the httpOnly cookie into a credential that it can carry away
 */
export function tokenTransportFrom(
  { headers }: FastifyRequest,
  credential: Credential | null,
  path: string
): TokenTransport {
  const wanted = headers['token-transport']
  if (wanted !== undefined && wanted !== 'body' && wanted !== 'cookie')
    throw new AppError('invalid_input', 'Token-Transport must be body or cookie')
  if (wanted === 'body' && credential?.kind === 'cookie')
    throw new AppError(
      'invalid_input',
      'Token-Transport: body cannot be used with a session cookie'
    )
  if (IMPERSONATION.test(path)) return 'cookie'
  return credential?.kind === 'access' ? 'body' : (wanted ?? 'cookie')
}

/**
 * What the answer to a client without cookies has beside better-auth's: its tokens when a session
 * has begun, the challenge when a second factor is pending.
 */
export async function additionTo(
  { transport, begun }: Pick<AuthCallContext, 'transport' | 'begun'>,
  cookies: readonly string[],
  prefix: string,
  tokens: TokenService
): Promise<Record<string, unknown>> {
  if (transport !== 'body') return {}
  if (begun) return { tokens: await tokens.begin(begun) }
  const challenge = challengeIn(cookies, prefix)
  return challenge === null ? {} : { challenge }
}

function challengeIn(cookies: readonly string[], prefix: string): string | null {
  const pairs = cookies
    .filter((cookie) => !/;\s*max-age=0\b/i.test(cookie))
    .map((cookie) => cookie.split(';', 1)[0] ?? '')
  const pending = pairs.filter((pair) =>
    pendingCookies.some((name) => pair.startsWith(`${prefix}.${name}=`))
  )
  return pending.some((pair) => pair.startsWith(`${prefix}.two_factor=`))
    ? Buffer.from(pending.join('; ')).toString('base64url')
    : null
}

/**
 * The cookies in a `Two-Factor-Challenge`, for better-auth. Null where none was sent.
 *
 * @throws AppError 400 for a value that `challengeIn` cannot have made
 */
export function challengeCookiesFrom({ headers }: FastifyRequest, prefix: string): string | null {
  const challenge = headers['two-factor-challenge']
  if (challenge === undefined) return null
  const cookies = Buffer.from(String(challenge), 'base64url').toString()
  const isOurs = cookies
    .split('; ')
    .every(
      (pair) =>
        pendingCookies.includes(PAIR.exec(pair)?.[1]?.slice(prefix.length + 1) ?? '') &&
        pair.startsWith(`${prefix}.`)
    )
  if (!isOurs)
    throw new AppError('invalid_input', 'Two-Factor-Challenge is not one that this server gave')
  return cookies
}
