import { createHmac } from 'node:crypto'

/** So many bytes tell names apart, and are no longer than needed. */
const BYTES = 16

/**
 * The keyed hash under which a name that somebody tried is kept. People type passwords where a name
 * belongs, and a plain hash of one could be inverted by whoever reads the table: the key is derived
 * from AUTH_SECRET, which is not in the database.
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
 * The hashes that a name may be kept under: one for each secret that counts, the current one first.
 */
export function hashesOfName(keys: readonly { eventNames: Buffer }[], name: string): string[] {
  return keys.map(({ eventNames }) => hashName(eventNames, name))
}
