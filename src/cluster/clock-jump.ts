/** Clocks may drift by this share of a lease, and may step by this much, without harm. */
export const DRIFT = 0.05
export const CLOCK_STEP_MS = 100

/**
 * Detects that the machine was suspended or its clock was set. Leases are counted on the monotonic
 * clock, which may have stood still during a suspension.
 */
export class ClockWatch {
  #offset = Date.now() - performance.now()

  /**
   * Whether the wall clock and the monotonic clock have parted since the last `reset`.
   *
   * @param now the monotonic clock, for a caller that has just read it
   */
  clockJumped(now = performance.now()): boolean {
    return Math.abs(Date.now() - now - this.#offset) > CLOCK_STEP_MS
  }

  reset(): void {
    this.#offset = Date.now() - performance.now()
  }
}
