import { describeRedisRefusal } from './redis.js'

/**
 * Logs once why Redis refuses this node's commands, in Redis' own words. Without that line an
 * operator could not see why every check reads the store: the connection is open, and its commands
 * are answered. The next warning follows only after the lease was granted again.
 */
export class RedisRefusals {
  readonly #onWarning: (message: string) => void
  #isTold = false

  constructor(onWarning: (message: string) => void) {
    this.#onWarning = onWarning
  }

  /** Notes a failed attempt. An error that Redis did not write does not explain a refusal. */
  note(error: unknown): void {
    const words = describeRedisRefusal(error)
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
