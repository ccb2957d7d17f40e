import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { VerifiedCredential } from './verified-credential.js'
import { parseSessionToken, toWireForm, verifySignedToken } from '../session/session-token.js'

/** Verified tokens that one process remembers: about 15 MB. */
const REMEMBERED = 50_000

/**
 * Verifies signed session tokens and remembers the valid ones: signature and checksum cost more
 * than the rest of a warm check. It keeps hashes, never a token. It says only which session a token
 * names: whether that session is active is checked every time. Invalid tokens are not remembered,
 * so garbage cannot push out tokens that are in use.
 */
export class SessionTokenVerifier {
  readonly #secrets: readonly string[]
  readonly #known = new LRUCache<string, VerifiedCredential>({ max: REMEMBERED })

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets
  }

  /** The verified credential of a token. Null for a token that this server never issued. */
  verify(sent: string): VerifiedCredential | null {
    const known = this.#known.get(toKey(sent))
    if (known) return known
    // Remembered in one form only. Otherwise the many spellings of one token could push out tokens
    // that are in use.
    const signed = toWireForm(sent)
    const key = toKey(signed)
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

/** A Latin-1 string with one character for each byte: the shortest string for a hash. */
function toKey(signed: string): string {
  return hash('sha256', signed, 'binary')
}
