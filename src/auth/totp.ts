import { createHmac, timingSafeEqual } from 'node:crypto'

/** How long a code is shown, in milliseconds, and its length. Authenticator apps assume these. */
const STEP_MS = 30_000
const DIGITS = 6

/** The time step of an instant, in milliseconds since 1970 (RFC 6238 4.2). */
export function stepAt(now: number): number {
  return Math.floor(now / STEP_MS)
}

/** The code of a time step (RFC 4226 5.3 with SHA-1). */
export function codeAt(secret: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const digest = createHmac('sha1', secret).update(counter).digest()
  const offset = digest.readUInt8(digest.length - 1) & 0xf
  return String((digest.readUInt32BE(offset) & 0x7fff_ffff) % 10 ** DIGITS).padStart(DIGITS, '0')
}

/**
 * The time step of a code: the current one, or the one before, for a user who began to type just in
 * time (RFC 6238 5.2 recommends no more). A code of the future is refused.
 *
 * @returns null for a wrong code
 */
export function matchingStep(secret: Uint8Array, code: string, now: number): number | null {
  const current = stepAt(now)
  const matches = [current, current - 1].filter((step) => isCode(code, codeAt(secret, step)))
  return matches[0] ?? null
}

function isCode(given: string, expected: string): boolean {
  const bytes = Buffer.from(given)
  return bytes.length === expected.length && timingSafeEqual(bytes, Buffer.from(expected))
}
