import { DRIFT, ClockWatch } from './clock-jump.js'

/**
 * The database's clock as this process knows it: bounds for what it shows, from answers that
 * carried its time. Ages of copies in Redis are counted on it, because all nodes share it and a
 * writer to Redis cannot move it.
 */
export class DatabaseClock {
  /** Bounds for the database's milliseconds less this process's monotonic ones. */
  #low = -Infinity
  #high = Infinity
  #notedAt = -Infinity
  readonly #steps = new ClockWatch()

  /**
   * Takes note of an answer. The bounds shrink to what all answers agree on, and grow by what
   * clocks may drift between them. An answer that does not agree begins anew: one of the clocks was
   * set, or the database is another.
   *
   * @param time what the database's clock showed, cut to milliseconds
   * @param sentAt when it was asked, in monotonic milliseconds
   */
  note(time: Date, sentAt: number): void {
    const now = performance.now()
    const drift = (now - this.#notedAt) * DRIFT
    const [earliest, latest] = [time.getTime() - now, time.getTime() + 1 - sentAt]
    const low = Math.max(this.#low - drift, earliest)
    const high = Math.min(this.#high + drift, latest)
    const agrees = low <= high && !this.#steps.clockJumped(now)
    this.#low = agrees ? low : earliest
    this.#high = agrees ? high : latest
    this.#notedAt = now
    this.#steps.reset()
  }

  /**
   * The latest that it may be there; null where that is not known: nothing was noted, or this
   * machine slept since.
   */
  latest(now: number): number | null {
    return this.#isKnown(now) ? now + this.#high + (now - this.#notedAt) * DRIFT : null
  }

  /** The earliest that it may be there; null where that is not known. */
  earliest(now: number): number | null {
    return this.#isKnown(now) ? now + this.#low - (now - this.#notedAt) * DRIFT : null
  }

  #isKnown(now: number): boolean {
    return this.#notedAt > -Infinity && !this.#steps.clockJumped(now)
  }
}
