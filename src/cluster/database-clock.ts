import type { Clock } from '../clock.js'
import { DRIFT, ClockWatch } from './clock-jump.js'

/**
 * Bounds for the database's clock, from query answers that carried its time. Ages of copies in
 * Redis are counted on this clock: all nodes share it, and an attacker who can write to Redis
 * cannot move it.
 */
export class DatabaseClock {
  /** Bounds for the database's milliseconds minus this process's monotonic milliseconds. */
  #low = -Infinity
  #high = Infinity
  #notedAt = -Infinity
  readonly #clock: Clock
  readonly #steps: ClockWatch

  constructor(clock: Clock) {
    this.#clock = clock
    this.#steps = new ClockWatch(clock)
  }

  /**
   * Takes note of an answer. The bounds shrink to what all answers agree on, and grow by what
   * clocks may drift between answers. An answer that contradicts them starts over: a clock was set,
   * or the database is another one.
   *
   * @param time what the database's clock showed, cut to milliseconds
   * @param sentAt when the query was sent, in monotonic milliseconds
   */
  note(time: Date, sentAt: number): void {
    const now = this.#clock.monotonic()
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
   * The latest time that the database's clock may show, in milliseconds. Null where it is not
   * known: no answer was noted yet, or this machine has slept since.
   */
  latest(now: number): number | null {
    return this.#isKnown(now) ? now + this.#high + (now - this.#notedAt) * DRIFT : null
  }

  /**
   * The earliest time that the database's clock may show, in milliseconds. Null where it is not
   * known.
   */
  earliest(now: number): number | null {
    return this.#isKnown(now) ? now + this.#low - (now - this.#notedAt) * DRIFT : null
  }

  #isKnown(now: number): boolean {
    return this.#notedAt > -Infinity && !this.#steps.clockJumped(now)
  }
}
