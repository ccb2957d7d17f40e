import { createHmac } from 'node:crypto'

/** This many bytes are enough to tell names apart. */
const BYTES = 16

/**
 * The keyed hash of a name that was tried. Users type passwords into the name field, and a thief of
 * the table could invert a plain hash of one. The key is derived from AUTH_SECRET, which is not in
 * the database.
 *
 * @param key `eventNames` of the secret's keys
 */
export function hashName(key: Buffer, name: string): string {
  return createHmac('sha256', key)
    .update(name.toLowerCase())
    .digest()
    .subarray(0, BYTES)
    .toString('base64url')
}

/**
 * The hashes that a name may be kept under: one for each configured secret, the current one first.
 */
export function hashNameWithEach(keys: readonly { eventNames: Buffer }[], name: string): string[] {
  return keys.map(({ eventNames }) => hashName(eventNames, name))
}
