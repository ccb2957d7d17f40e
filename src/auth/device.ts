import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Accounts that one device is remembered for; the one signed in to longest ago goes first. */
const ACCOUNTS = 8
const FORM = /^d1\.[A-Za-z0-9_-]{22}(\.[A-Za-z0-9_-]{22})*$/

/**
 * Recognises devices that signed in before, by a cookie that proves it for each account and authenticates nobody: its only use is a
 * budget of wrong guesses of its own. `d1.<device>.<mac of an account>.…`
 */
export class Devices {
  readonly #keys: readonly string[]

  /** @param keys prove; the first one makes proofs */
  constructor(keys: readonly string[]) {
    this.#keys = keys
  }

  /** The id of the device, if the cookie proves that it signed in to this account. */
  find(cookie: string | undefined, account: string): string | null {
    if (cookie === undefined || cookie.length > 400 || !FORM.test(cookie)) return null
    const [, device = '', ...macs] = cookie.split('.')
    const expected = this.#keys.map((key) => Buffer.from(macOf(key, device, account)))
    return macs.some((mac) => expected.some((right) => timingSafeEqual(Buffer.from(mac), right))) ? device : null
  }

  /** A cookie that proves, beside what the present one proves, that the device has signed in to this account. */
  remember(cookie: string | undefined, account: string): string {
    const [, kept = '', ...macs] = cookie !== undefined && cookie.length <= 400 && FORM.test(cookie) ? cookie.split('.') : []
    const device = kept || randomBytes(16).toString('base64url')
    const mac = macOf(this.#keys[0] ?? '', device, account)
    return ['d1', device, mac, ...macs.filter((other) => other !== mac).slice(0, ACCOUNTS - 1)].join('.')
  }
}

function macOf(key: string, device: string, account: string): string {
  return createHmac('sha256', key).update(`${device}.${account.toLowerCase()}`).digest().subarray(0, 16).toString('base64url')
}

/** How an account is named in counts: they must not hold e-mail addresses. */
export function accountKey(email: string): string {
  return createHash('sha256').update(email.toLowerCase()).digest().subarray(0, 16).toString('base64url')
}
