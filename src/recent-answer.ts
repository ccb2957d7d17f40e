/** Asks once for all callers within a while, and gives all of them the answer, or the failure. */
export class RecentAnswer<T> {
  readonly #ask: () => Promise<T>
  readonly #lastsMs: number
  readonly #now: () => number
  #answer: Promise<T> | null = null
  #askedAt = -Infinity

  /**
   * @param lastsMs counted from when it was asked: no answer is older
   * @param now monotonic milliseconds
   */
  constructor(lastsMs: number, ask: () => Promise<T>, now: () => number) {
    this.#lastsMs = lastsMs
    this.#ask = ask
    this.#now = now
  }

  ask(): Promise<T> {
    const now = this.#now()
    if (!this.#answer || now - this.#askedAt >= this.#lastsMs) {
      this.#askedAt = now
      this.#answer = this.#ask()
    }
    return this.#answer
  }
}
