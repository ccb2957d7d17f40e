/** Clocks may drift by this share of a lease, and step by this much, without doing harm. */
export const DRIFT = 0.05
export const CLOCK_STEP_MS = 100

const offset = () => Date.now() - performance.now()

/** Notices that the machine was suspended, or its clock was set: the monotonic clock, on which leases are counted, may have stood still. */
export class StepWatch {
  #offset = offset()

  /** Whether the clocks have parted since the last `reset`. */
  stepped(): boolean {
    return Math.abs(offset() - this.#offset) > CLOCK_STEP_MS
  }

  reset(): void {
    this.#offset = offset()
  }
}
