/**
 * How often something may happen within a window. Windows begin with the first event and are not
 * moved by later ones.
 */
export interface Limit {
  /** The name of the counter in the store. */
  name: string
  max: number
  windowMs: number
  /**
   * If set, a spent budget delays instead of refusing: until the window ends, one more event is
   * allowed per this many milliseconds.
   */
  thenEveryMs?: number
}

const MINUTE = 60_000
const QUARTER = 15 * MINUTE
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const limit = (name: string, max: number, windowMs: number): Limit => ({ name, max, windowMs })
const slowing = (name: string, max: number, windowMs: number, thenEveryMs: number): Limit => ({
  name,
  max,
  windowMs,
  thenEveryMs
})

/**
 * Every limit of the server. Limits by address use the client's address, or /64 in IPv6. Only
 * failures spend an account's budget. A device that signed in before has its own budget, so that a
 * flood of guesses does not shut the owner out (OWASP, "Slow Down Online Guessing Attacks with
 * Device Cookies"). A new device of the owner is delayed, not refused for the window.
 *
 * Attackers without a device proof, from however many addresses, can guess at an account 100 + 3600
 * / 15 = 340 times an hour at most. An attacker who has copied proofs of known devices can guess 50
 * + 15 = 65 more times a quarter of an hour.
 *
 * Checks are not limited: a gateway that has authenticated may ask as often as it likes.
 */
export const limits = {
  /** Enough for an office behind one address, too few for a dictionary attack. */
  signInByAddress: limit('sign-in', 300, MINUTE),
  oneTimeTokenByAddress: limit('one-time-token', 300, MINUTE),
  /** Each is a row in the store for three minutes. */
  newOneTimeTokenByAddress: limit('one-time-token-made', 60, MINUTE),
  /** Second factors, and passwords that a signed-in user is asked for again. */
  confirmByAddress: limit('confirm', 300, MINUTE),
  signUpByAddress: limit('sign-up', 300, MINUTE),
  resetByAddress: limit('reset', 30, MINUTE),
  /** One address spends its own share of an account's budget first, before that of others. */
  accountFromAddress: slowing('account-address', 10, QUARTER, MINUTE),
  account: slowing('account', 100, HOUR, 15_000),
  accountFromDevice: slowing('account-device', 10, QUARTER, MINUTE),
  /**
   * All known devices of an account together: their number is not limited, so their guesses are.
   */
  accountFromDevices: slowing('account-devices', 50, QUARTER, MINUTE),
  /**
   * Sign-ups that reveal whether an address has an account. They do not count against its owner's
   * sign-ins.
   */
  probeFromAddress: limit('probe-address', 10, QUARTER),
  probe: limit('probe', 100, QUARTER),
  /** Mails that are asked for, by client. */
  mailsByAddress: limit('mail', 30, MINUTE),
  /** Mails to one address, from any sender. */
  mailsToAddress: limit('mail-to', 5, QUARTER),
  mailsToAddressByDay: limit('mail-to-day', 20, DAY),
  /** The same from a device that signed in to the account: strangers cannot use it up. */
  mailsFromDevice: limit('mail-device', 5, QUARTER),
  /** Mails in all. An attack on many addresses slows them down, and stops none. */
  mailsInAll: slowing('mail-all', 6_000, HOUR, 1_000),
  /**
   * Wrong codes of mails, by client and in all. When one is spent, only links count. The store
   * counts them by proof and by address as well.
   */
  codesByAddress: limit('code', 30, HOUR),
  codesInAll: slowing('code-all', 1_000, HOUR, 10_000),
  /**
   * Passwords and codes that a signed-in user is asked for again: by session, and for all sessions
   * of the user together.
   */
  passwordBySession: slowing('password-session', 10, QUARTER, MINUTE),
  passwordByUser: slowing('password-user', 20, QUARTER, MINUTE),
  /**
   * Refreshes of one session: stops a client that loops, but not one with several tabs. Key it by a
   * token whose MAC was verified.
   */
  refreshBySession: limit('refresh', 60, MINUTE),
  /**
   * Revocations by a text that is not, or may not be, a token. A token with a valid MAC or
   * signature is not counted.
   */
  revocationByAddress: limit('revocation', 60, MINUTE),
  /** Wrong gateway secrets, by address. */
  gatewayByAddress: limit('gateway', 30, MINUTE),
  notFoundByAddress: limit('not-found', 300, MINUTE)
} as const satisfies Record<string, Limit>

/**
 * The lockout of one user's second factor, counted in the store across challenges. After that many
 * failures it is locked for the window.
 */
export const secondFactorLockout = { maxFailedAttempts: 10, durationSeconds: QUARTER / 1000 }

/** The longest life that ACCESS_TOKEN_TTL_SECONDS may give an access token. */
export const LONGEST_ACCESS_TOKEN_SECONDS = 3_600
