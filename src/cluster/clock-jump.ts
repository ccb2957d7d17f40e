import type { Clock } from '../clock.js'

/** Clocks may drift by this share of a lease, and may step by this much, without harm. */
export const DRIFT = 0.05
export const CLOCK_STEP_MS = 100

/**
 * Detects that the machine was suspended or its clock was set. Leases are counted on the monotonic
 * clock, which may have stood still during a suspension.
 */
export class ClockWatch {
  readonly #clock: Clock
  #offset: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#offset = clock.now() - clock.monotonic()
  }

  /**
   * Whether the wall clock and the monotonic clock have parted since the last `reset`.
   *
   * @param now the monotonic clock, for a caller that has just read it
   */
  clockJumped(now = this.#clock.monotonic()): boolean {
    return Math.abs(this.#clock.now() - now - this.#offset) > CLOCK_STEP_MS
  }

  reset(): void {
    this.#offset = this.#clock.now() - this.#clock.monotonic()
  }
}
