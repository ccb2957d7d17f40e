/** Clocks may drift by this share of a lease, and step by this much, without doing harm. */
export const DRIFT = 0.05
export const CLOCK_STEP_MS = 100

/**
 * Notices that the machine was suspended, or its clock was set: the monotonic clock, on which
 * leases are counted, may have stood still.
 */
export class ClockWatch {
  #offset = Date.now() - performance.now()

  /**
   * Whether the clocks have parted since the last `reset`. @param now the monotonic clock, for
   * whoever has just read it
   */
  clockJumped(now = performance.now()): boolean {
    return Math.abs(Date.now() - now - this.#offset) > CLOCK_STEP_MS
  }

  reset(): void {
    this.#offset = Date.now() - performance.now()
  }
}
