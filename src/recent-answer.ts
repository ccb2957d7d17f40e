/**
 * Asks a question once for all who ask within a while, and tells all of them the answer, a failure
 * too.
 */
export class RecentAnswer<T> {
  readonly #ask: () => Promise<T>
  readonly #lastsMs: number
  readonly #now: () => number
  #answer: Promise<T> | null = null
  #askedAt = -Infinity

  /** @param lastsMs counted from when the question is asked: no answer is older */
  constructor(lastsMs: number, ask: () => Promise<T>, now: () => number = () => performance.now()) {
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
