import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { VerifiedCredential } from './verified-credential.js'
import { parseSessionToken, toWireForm, verifySignedToken } from '../session/session-token.js'

/** Tokens that one process remembers: about 15 MB. */
const REMEMBERED = 50_000

/**
 * Verifies signed session tokens, and remembers those that were good: signature and checksum cost
 * more than the rest of a warm check. It keeps hashes, never a token, and says only what a token
 * is; whether its session is active is asked every time. Garbage is not remembered, so that it
 * cannot push out what is in use.
 */
export class SessionTokenVerifier {
  readonly #secrets: readonly string[]
  readonly #known = new LRUCache<string, VerifiedCredential>({ max: REMEMBERED })

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets
  }

  /** What a token proves; null for what this server never issued. */
  verify(sent: string): VerifiedCredential | null {
    const known = this.#known.get(keyOf(sent))
    if (known) return known
    // Remembered in one form alone: the many spellings of one token must not push out what is in
    // use.
    const signed = toWireForm(sent)
    const key = keyOf(signed)
    const remembered = signed === sent ? undefined : this.#known.get(key)
    if (remembered) return remembered
    const token = verifySignedToken(signed, this.#secrets)
    const parsed = token === null ? null : parseSessionToken(token)
    if (!parsed) return null
    const verified = VerifiedCredential.ofToken(parsed)
    this.#known.set(key, verified)
    return verified
  }
}

/** Latin-1, a character for each byte: the shortest text there is. */
function keyOf(signed: string): string {
  return hash('sha256', signed, 'binary')
}
