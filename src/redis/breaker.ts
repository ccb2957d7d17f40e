import { ReplyError } from 'ioredis'

/**
 * Failures in a row after which Redis is taken for gone, and how long it is then left alone, in
 * milliseconds.
 */
const FAILURES = 3
const REST_MS = 250

/**
 * `closed`: commands are sent. `open`: they fail at once. `half-open`: one is under way to find
 * out.
 */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** Redis was not asked: it has not answered lately. */
export class BreakerOpen extends Error {
  override readonly name = 'BreakerOpen'

  constructor() {
    super('Redis has not answered lately, and was not asked')
  }
}

/**
 * Keeps callers from waiting, each for a command's whole time-out, for a Redis that does not
 * answer: reads go to the store at once, and a revocation goes on to the outbox. It sends nothing
 * twice: what was refused here was never sent.
 */
export class Breaker {
  readonly #now: () => number
  #failures = 0
  #openUntil = -Infinity
  #probing = false

  /** @param now monotonic milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  get state(): BreakerState {
    if (this.#failures < FAILURES) return 'closed'
    return this.#probing || this.#now() >= this.#openUntil ? 'half-open' : 'open'
  }

  /** @throws BreakerOpen without calling; else whatever `send` throws */
  async run<T>(send: () => Promise<T>): Promise<T> {
    const { state } = this
    if (state === 'open' || this.#probing) throw new BreakerOpen()
    const isProbe = state === 'half-open'
    this.#probing = isProbe
    try {
      const answer = await send()
      this.#failures = 0
      return answer
    } catch (error) {
      // An error that Redis wrote is an answer.
      if (error instanceof ReplyError) this.#failures = 0
      else this.#fail()
      throw error
    } finally {
      if (isProbe) this.#probing = false
    }
  }

  #fail(): void {
    this.#failures++
    if (this.#failures >= FAILURES) this.#openUntil = this.#now() + REST_MS
  }
}
