import type { FailedAttempt, FailedAttempts } from '../account/failed-attempts.js'
import type { Counters } from '../counters.js'
import type { AuthCallContext } from './call-context.js'

/** How a sign-in by password may end. */
export const signInOutcomes = [
  'ok',
  'second_factor_required',
  'wrong_password',
  'unknown',
  'banned',
  'not_verified',
  'limited',
  'too_many_sessions',
  'credential_changed',
  'refused',
  'invalid',
  'overloaded',
  'unavailable',
  'error'
] as const
export type SignInOutcome = (typeof signInOutcomes)[number]

/**
 * How an attempt at a second factor may end. `expired`: the password was given too long ago, or
 * never.
 */
export const factorOutcomes = [
  'ok',
  'wrong',
  'locked',
  'limited',
  'expired',
  'refused',
  'invalid',
  'overloaded',
  'unavailable',
  'error'
] as const
export type FactorOutcome = (typeof factorOutcomes)[number]

export const factors = ['totp', 'backup_code', 'mailed_code'] as const
export type Factor = (typeof factors)[number]

/** What an attempt tries: name and password, the password again, or a second factor. */
export type Shown = 'sign_in' | 'password' | Factor

const shown: Record<string, Shown> = {
  '/sign-in/email': 'sign_in',
  '/change-password': 'password',
  '/verify-password': 'password',
  '/delete-user': 'password',
  '/two-factor/enable': 'password',
  '/two-factor/disable': 'password',
  '/two-factor/get-totp-uri': 'password',
  '/two-factor/generate-backup-codes': 'password',
  '/two-factor/verify-totp': 'totp',
  '/two-factor/verify-backup-code': 'backup_code',
  '/two-factor/verify-otp': 'mailed_code'
}

/** What a call of an endpoint tries. Null where there is nothing to guess. */
export function shownTo(path: string): Shown | null {
  return shown[path] ?? null
}

/** An attempt that was answered. */
export interface AnsweredAttempt {
  shown: Shown
  status: number
  /** Why it was refused: our code, or better-auth's. Null where there was neither. */
  code: string | null
  /** The name that was given. */
  name: string | null
  from: AuthCallContext['from']
  /** The call context. Null where the call was refused before there was one. */
  scope: AuthCallContext | null
  /** The session, where it was known before the call. */
  signedIn: { userId: string; sessionId: string } | null
}

const signInCodes: Record<string, SignInOutcome> = {
  BANNED_USER: 'banned',
  EMAIL_NOT_VERIFIED: 'not_verified',
  CREDENTIAL_CHANGED: 'credential_changed',
  TOO_MANY_SESSIONS: 'too_many_sessions',
  overloaded: 'overloaded'
}

const factorCodes: Record<string, FactorOutcome> = {
  INVALID_CODE: 'wrong',
  INVALID_BACKUP_CODE: 'wrong',
  ACCOUNT_TEMPORARILY_LOCKED: 'locked',
  TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE: 'locked',
  INVALID_TWO_FACTOR_COOKIE: 'expired',
  OTP_HAS_EXPIRED: 'expired',
  overloaded: 'overloaded'
}

/** Outcomes that become events, with their codes. The others say nothing about an account. */
const signInCauses: Partial<Record<SignInOutcome, string>> = {
  wrong_password: 'wrong_password',
  unknown: 'user_unknown',
  banned: 'user_banned',
  not_verified: 'email_not_verified',
  limited: 'rate_limited',
  too_many_sessions: 'too_many_sessions',
  credential_changed: 'credential_changed'
}

const factorCauses: Partial<Record<FactorOutcome, string>> = {
  wrong: 'wrong_code',
  locked: 'second_factor_locked',
  limited: 'rate_limited'
}

export interface AttemptsOptions {
  failed: FailedAttempts
  counters: Counters
  hashName: (name: string) => string
}

/** Counts how sign-in attempts ended, and passes failed ones to the account events. */
export class Attempts {
  readonly #options: AttemptsOptions

  constructor(options: AttemptsOptions) {
    this.#options = options
  }

  /** Call it after the answer: otherwise its cost would tell names with an account from others. */
  note(attempt: AnsweredAttempt): void {
    if (attempt.shown === 'sign_in') this.#noteSignIn(attempt)
    else if (attempt.shown === 'password') this.#notePassword(attempt)
    else this.#noteFactor(attempt, attempt.shown)
  }

  #noteSignIn(attempt: AnsweredAttempt): void {
    const { name, scope } = attempt
    const userId = name === null ? null : (scope?.userIds.get(name.toLowerCase()) ?? null)
    const outcome = outcomeOfSignIn(attempt, userId !== null)
    this.#options.counters.signedIn(outcome)
    const cause = signInCauses[outcome]
    if (cause !== undefined)
      this.#tell(attempt, { kind: 'sign_in_failed', cause, userId, sessionId: null })
  }

  /** Notes a password that a signed-in user was asked for again. */
  #notePassword(attempt: AnsweredAttempt): void {
    const { status, code } = attempt
    const { userId, sessionId } = whoIsSignedIn(attempt) ?? {}
    if (userId === undefined) return
    const cause =
      code === 'INVALID_PASSWORD' ? 'wrong_password' : status === 429 ? 'rate_limited' : null
    if (cause !== null)
      this.#tell(attempt, {
        kind: 'reauthentication_failed',
        cause,
        userId,
        sessionId: sessionId ?? null
      })
  }

  #noteFactor(attempt: AnsweredAttempt, factor: Factor): void {
    const outcome = outcomeOfFactor(attempt)
    this.#options.counters.factorShown(factor, outcome)
    const cause = factorCauses[outcome]
    if (cause === undefined) return
    const signedIn = whoIsSignedIn(attempt)
    const userId = signedIn?.userId ?? attempt.scope?.challenged ?? null
    this.#tell(attempt, {
      kind: signedIn ? 'reauthentication_failed' : 'sign_in_failed',
      cause,
      userId,
      sessionId: signedIn?.sessionId ?? null
    })
  }

  #tell(
    { name, from: { address, userAgent } }: AnsweredAttempt,
    failed: Pick<FailedAttempt, 'kind' | 'cause' | 'userId' | 'sessionId'>
  ): void {
    this.#options.failed.note({
      ...failed,
      nameHash: name === null ? null : this.#options.hashName(name),
      ipAddress: address,
      userAgent
    })
  }
}

function outcomeOfSignIn(
  { status, code, scope }: AnsweredAttempt,
  isKnown: boolean
): SignInOutcome {
  if (status < 300)
    return scope?.insertedSession && !scope.endedHere.has(scope.insertedSession)
      ? 'ok'
      : 'second_factor_required'
  if (code === 'INVALID_EMAIL_OR_PASSWORD') return isKnown ? 'wrong_password' : 'unknown'
  return signInCodes[code ?? ''] ?? outcomeOfStatus(status)
}

function outcomeOfFactor({ status, code, scope }: AnsweredAttempt): FactorOutcome {
  if (status < 300) return 'ok'
  if (status === 429 && scope?.insufficient === 'rate_limited') return 'locked'
  return factorCodes[code ?? ''] ?? outcomeOfStatus(status)
}

function outcomeOfStatus(status: number): SignInOutcome & FactorOutcome {
  if (status === 429) return 'limited'
  if (status === 401 || status === 403) return 'refused'
  if (status === 503) return 'unavailable'
  return status >= 500 ? 'error' : 'invalid'
}

function whoIsSignedIn({ scope, signedIn }: AnsweredAttempt): AnsweredAttempt['signedIn'] {
  const session = scope?.actor?.session
  return session ? { userId: session.userId, sessionId: session.id } : signedIn
}
