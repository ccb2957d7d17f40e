import { callStore, isGivenUp, keepFaults } from './fault.js'

/** How long the statement of a batch should take: a fraction of the statement time limit. */
const BATCH_MS = 200
/** How often a batch is tried that the store cancels. */
const TRIES = 4

/** Sizes of batches. */
export interface PaceOptions {
  first: number
  min: number
  max: number
}

/** Rows that one statement changes or removes. */
export const ROWS: PaceOptions = { first: 500, min: 50, max: 2_000 }

/**
 * Runs batch after batch, until one was not full.
 *
 * @param now monotonic milliseconds
 * @returns how many rows there were
 */
export async function inBatches(
  now: () => number,
  doBatch: (rows: number) => Promise<number>
): Promise<number> {
  const pace = new Pace(ROWS, now)
  let done = 0
  for (;;) {
    const { result, size } = await pace.keep(doBatch)
    done += result
    if (result < size) return done
  }
}

/**
 * Decides how many rows the next batch of a long task takes: as many as the store does in a
 * fraction of the statement time limit. A slow store, or one with more to search, gets smaller
 * batches.
 */
export class Pace {
  readonly #options: PaceOptions
  readonly #now: () => number
  size: number

  /** @param now monotonic milliseconds */
  constructor(options: PaceOptions, now: () => number) {
    this.#options = options
    this.#now = now
    this.size = options.first
  }

  /**
   * Runs one batch, and learns from the time it took. A batch that the store cancelled is tried
   * again with fewer rows: on a busy machine one statement in thousands stalls for longer than the
   * limit.
   *
   * @param batch runs one statement, not in a transaction
   * @returns its result, and the size that it had
   */
  async keep<T>(batch: (size: number) => Promise<T>): Promise<{ result: T; size: number }> {
    for (let tries = 1; ; tries++) {
      const { size } = this
      const startedAt = this.#now()
      try {
        const result = await keepFaults(() => batch(size))
        this.#learn(size, this.#now() - startedAt)
        return { result, size }
      } catch (error) {
        if (!isGivenUp(error) || tries === TRIES) return callStore(() => Promise.reject(error))
        this.#learn(size, this.#now() - startedAt)
      }
    }
  }

  #learn(size: number, tookMs: number): void {
    const { min, max } = this.#options
    this.size = Math.round(
      Math.min(Math.max((size * BATCH_MS) / Math.max(tookMs, 1), min), max, size * 2)
    )
  }
}
