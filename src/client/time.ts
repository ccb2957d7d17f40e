/** The two clocks of a machine. */
export interface Clock {
  /** Milliseconds since 1970. */
  now: () => number
  /** Milliseconds that never go back. */
  monotonic: () => number
}

/**
 * A clock of milliseconds since now, by whichever of two says more. The one may be set back, the other
 * may stand still while the machine sleeps.
 */
export function createTime(clock: Clock): () => number {
  let passed = 0
  let lastNow = clock.now()
  let lastMonotonic = clock.monotonic()
  return () => {
    const now = clock.now()
    const monotonic = clock.monotonic()
    const step = Math.max(now - lastNow, monotonic - lastMonotonic, 0)
    // Small steps are not added up: each would be rounded up.
    if (step < 1000 && now >= lastNow && monotonic >= lastMonotonic) return passed + step
    lastNow = now
    lastMonotonic = monotonic
    return (passed += step)
  }
}
