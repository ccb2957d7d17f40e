import { ReplyError } from 'ioredis'

/**
 * After this many failures in a row Redis counts as down, and is not called for this long, in
 * milliseconds.
 */
const FAILURES = 3
const REST_MS = 250

/**
 * `closed`: commands are sent. `open`: they fail at once. `half-open`: one is under way as a test.
 */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** Redis was not called, because it has not answered lately. */
export class BreakerOpen extends Error {
  override readonly name = 'BreakerOpen'

  constructor() {
    super('Redis has not answered lately, and was not asked')
  }
}

/**
 * Keeps callers from waiting a command's whole time-out for a Redis that does not answer. Reads go
 * to the store at once, and a revocation goes on to the outbox. It sends nothing twice: a refused
 * command was never sent.
 */
export class Breaker {
  readonly #now: () => number
  #failures = 0
  #openUntil = -Infinity
  #probing = false

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now
  }

  get state(): BreakerState {
    if (this.#failures < FAILURES) return 'closed'
    return this.#probing || this.#now() >= this.#openUntil ? 'half-open' : 'open'
  }

  /** @throws BreakerOpen without calling; else the error of `send` */
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
