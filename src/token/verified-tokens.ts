/** Tokens that are remembered at most, and how long they may be: some 2 KiB each, and never more than 80 MiB in all. */
const MAX_TOKENS = 10_000
const LONGEST = 2_048

/**
 * Tokens whose signature was found right, with their claims: verifying one costs more than all the rest of a check. Failures are never
 * kept. Who reads it compares times himself, and clears it when a key goes; the token used longest ago makes room.
 */
export class VerifiedTokens<Claims> {
  readonly #claims = new Map<string, Claims>()
  readonly #max: number

  constructor(max = MAX_TOKENS) {
    this.#max = max
  }

  get size(): number {
    return this.#claims.size
  }

  find(token: string): Claims | null {
    const claims = this.#claims.get(token)
    if (claims === undefined) return null
    // A map keeps the order of insertion: the first key is the one that was not used for longest.
    this.#claims.delete(token)
    this.#claims.set(token, claims)
    return claims
  }

  add(token: string, claims: Claims): void {
    if (token.length > LONGEST) return
    this.#claims.set(token, claims)
    for (const oldest of this.#claims.keys()) {
      if (this.#claims.size <= this.#max) break
      this.#claims.delete(oldest)
    }
  }

  delete(token: string): void {
    this.#claims.delete(token)
  }

  clear(): void {
    this.#claims.clear()
  }
}
