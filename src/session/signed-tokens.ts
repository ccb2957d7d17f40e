import { hash } from 'node:crypto'
import { BoundedMap } from '../bounded-map.js'
import { parseSessionToken, verifySignedToken, type ParsedToken } from './session-token.js'

/** Tokens that one process remembers: about 20 MB. */
const REMEMBERED = 50_000

/**
 * Verifies signed session tokens, and remembers those that were good: signature and checksum cost more than the rest of a warm check.
 * It keeps hashes, never a token, and says only what a token is; whether its session is active is asked every time. Garbage is not
 * remembered, so that it cannot push out what is in use.
 */
export class SignedTokens {
  readonly #secrets: readonly string[]
  readonly #known = new BoundedMap<ParsedToken>(REMEMBERED)

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets
  }

  /** What a token says; null for what this server never issued. */
  read(signed: string): ParsedToken | null {
    const key = hash('sha256', signed, 'base64')
    const known = this.#known.get(key)
    if (known) return known
    const token = verifySignedToken(signed, this.#secrets)
    const parsed = token === null ? null : parseSessionToken(token)
    if (parsed) this.#known.set(key, parsed)
    return parsed
  }
}
