import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Accounts that one device is remembered for. The one signed in to longest ago goes first. */
const ACCOUNTS = 8
const MAX_LENGTH = 400
const FORM = /^d1\.[A-Za-z0-9_-]{22}(\.[A-Za-z0-9_-]{22})*$/

/**
 * An account, with the epoch of its credentials. A new password, a new second factor or the end of
 * all sessions begins a new epoch.
 */
export interface DeviceAccount {
  userId: string
  credentialEpoch: number
}

/**
 * Recognises devices that signed in before, by a proof that they keep in a cookie, or as an app's
 * device token. The proof holds for each account until the account's credentials change. It
 * authenticates no one: it only gives the device a budget of wrong guesses apart from that of
 * unknown devices. `d1.<device>.<mac of an account and its epoch>.…`
 */
export class Devices {
  readonly #keys: readonly string[]

  /** @param keys they verify proofs; the first one makes them */
  constructor(keys: readonly string[]) {
    this.#keys = keys
  }

  /**
   * The id of the device, if it signed in to this account since the account's credentials changed.
   */
  find(proof: string, account: DeviceAccount): string | null {
    if (!isDeviceProof(proof)) return null
    const [, device = '', ...macs] = proof.split('.')
    const expected = this.#keys.map((key) => Buffer.from(macFrom(key, device, account)))
    return macs.some((mac) => expected.some((right) => timingSafeEqual(Buffer.from(mac), right)))
      ? device
      : null
  }

  /** Makes a proof that adds this account to those of the present one. */
  remember(proof: string | undefined, account: DeviceAccount): string {
    const [, kept = '', ...macs] =
      proof !== undefined && isDeviceProof(proof) ? proof.split('.') : []
    const device = kept || randomBytes(16).toString('base64url')
    const mac = macFrom(this.#keys[0] ?? '', device, account)
    return [
      'd1',
      device,
      mac,
      ...macs.filter((other) => other !== mac).slice(0, ACCOUNTS - 1)
    ].join('.')
  }
}

/** Whether a text has the form of a proof. Anyone can write one: only `Devices` verifies it. */
export function isDeviceProof(text: string): boolean {
  return text.length <= MAX_LENGTH && FORM.test(text)
}

function macFrom(key: string, device: string, { userId, credentialEpoch }: DeviceAccount): string {
  return createHmac('sha256', key)
    .update(`${device}.${credentialEpoch}.${userId}`)
    .digest()
    .subarray(0, 16)
    .toString('base64url')
}

/** The key of an account in counters, which must not contain e-mail addresses. */
export function accountKey(email: string): string {
  return createHash('sha256')
    .update(email.toLowerCase())
    .digest()
    .subarray(0, 16)
    .toString('base64url')
}
