import { wordsOfRedis } from './redis.js'

/**
 * Tells once why Redis refuses what this node asks, in Redis' own words. Without that line nobody
 * would see why every check is read from the store: a connection stands, and its commands are
 * answered. The next warning comes when the lease was granted in between.
 */
export class RedisRefusals {
  readonly #onWarning: (message: string) => void
  #isTold = false

  constructor(onWarning: (message: string) => void) {
    this.#onWarning = onWarning
  }

  /**
   * Notes an attempt that failed. An error that Redis did not write says nothing of its reasons.
   */
  note(error: unknown): void {
    const words = wordsOfRedis(error)
    if (words === null || this.#isTold) return
    this.#isTold = true
    this.#onWarning(
      `Redis refuses what this node asks, so sessions are read from the store: ${words}`
    )
  }

  /** Notes that the lease was granted. */
  clear(): void {
    if (this.#isTold) this.#onWarning('Redis grants this node its lease again')
    this.#isTold = false
  }
}
