import type { Clock } from '../../src/clock.js'

/** A clock that stands still until a test moves it. */
export class TestClock implements Clock {
  #now = Date.parse('2026-01-02T03:04:05.678Z')
  #monotonic = 5_000
  readonly now = () => this.#now
  readonly monotonic = () => this.#monotonic

  /** Lets time pass. */
  advance(ms: number): void {
    this.#now += ms
    this.#monotonic += ms
  }

  /** Sets the machine's clock ahead, or back, while no time passes. */
  set(aheadMs: number): void {
    this.#now += aheadMs
  }
}
