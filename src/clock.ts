/** The time. It is passed to all that decides, so that a test can set it. */
export interface Clock {
  /** Milliseconds since 1970. It jumps when the machine's clock is set. */
  readonly now: () => number
  /** Milliseconds since some time. It never goes back, and may stand still while a machine sleeps. */
  readonly monotonic: () => number
}

/** The clock of this machine. Only what opens the rooms takes it. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now()
}
