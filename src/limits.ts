/**
 * How often something may happen within a window. Windows begin with the first event and are not
 * moved by later ones.
 */
export interface Limit {
  /** Names the count in the store. */
  name: string
  max: number
  windowMs: number
  /**
   * Where it is set, a spent budget delays and does not lock out: until the window ends one more
   * may happen each so many milliseconds.
   */
  thenEveryMs?: number
}

const MINUTE = 60_000
const QUARTER = 15 * MINUTE
const HOUR = 60 * MINUTE
const limit = (name: string, max: number, windowMs: number): Limit => ({ name, max, windowMs })
const slowing = (name: string, max: number, windowMs: number, thenEveryMs: number): Limit => ({
  name,
  max,
  windowMs,
  thenEveryMs
})

/**
 * Every limit of the server. By address means a client address, /64 in IPv6. The budgets of an
 * account are spent by failures only. A device that signed in before has one of its own, so that a
 * flood of guesses does not shut the owner out (OWASP, "Slow Down Online Guessing Attacks with
 * Device Cookies"); and a new device of the owner is delayed, not refused for the window.
 *
 * Strangers, from however many addresses, guess at an account 100 + 3600 / 15 = 340 times an hour
 * at most; whoever has copied proofs of known devices, 50 + 15 = 65 times a quarter of an hour
 * besides.
 *
 * Nothing here limits the check plane: a gateway that has shown its secret may ask as often as it
 * likes.
 */
export const limits = {
  /** An office behind one address has room, a dictionary has not. */
  signInByAddress: limit('sign-in', 300, MINUTE),
  oneTimeTokenByAddress: limit('one-time-token', 300, MINUTE),
  /** Each is a row in the store for three minutes. */
  newOneTimeTokenByAddress: limit('one-time-token-made', 60, MINUTE),
  /** Second factors, and passwords that are asked for again. */
  confirmByAddress: limit('confirm', 300, MINUTE),
  signUpByAddress: limit('sign-up', 300, MINUTE),
  resetByAddress: limit('reset', 30, MINUTE),
  /** One address spends its own share of an account's budget first, and not that of others. */
  accountFromAddress: slowing('account-address', 10, QUARTER, MINUTE),
  account: slowing('account', 100, HOUR, 15_000),
  accountFromDevice: slowing('account-device', 10, QUARTER, MINUTE),
  /**
   * All known devices of an account together: their number is not limited, what they may guess is.
   */
  accountFromDevices: slowing('account-devices', 50, QUARTER, MINUTE),
  /**
   * Sign-ups that tell that an address has an account. Its owner signs in, and never meets these.
   */
  probeFromAddress: limit('probe-address', 10, QUARTER),
  probe: limit('probe', 100, QUARTER),
  /** Mails to one account, whoever asks for them. */
  resetByAccount: limit('reset-account', 5, QUARTER),
  /**
   * Passwords and codes that a signed-in user is asked for again: by session, and in all sessions
   * of the user together.
   */
  passwordBySession: slowing('password-session', 10, QUARTER, MINUTE),
  passwordByUser: slowing('password-user', 20, QUARTER, MINUTE),
  /**
   * Refreshes of one session: a client that loops is stopped, one with several tabs is not. Key it
   * by a token whose MAC was verified.
   */
  refreshBySession: limit('refresh', 60, MINUTE),
  /**
   * Revocations by what is no token of a session, or might be none: whoever shows a token that
   * proves itself is not counted.
   */
  revocationByAddress: limit('revocation', 60, MINUTE),
  /** Wrong gateway secrets, by address. */
  gatewayByAddress: limit('gateway', 30, MINUTE),
  notFoundByAddress: limit('not-found', 300, MINUTE)
} as const satisfies Record<string, Limit>

/**
 * What one user's second factor withstands, counted in the store across challenges: then it is
 * locked for the window.
 */
export const secondFactorLockout = { maxFailedAttempts: 10, durationSeconds: QUARTER / 1000 }

/** The longest life that ACCESS_TOKEN_TTL_SECONDS may give an access token. */
export const LONGEST_ACCESS_TOKEN_SECONDS = 3_600
