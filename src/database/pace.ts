/** How long the statement of a batch may take: a fraction of the time after which a statement is given up. */
const BATCH_MS = 200

export interface PaceOptions {
  first: number
  min: number
  max: number
}

/**
 * How many rows the next batch of a long work takes: as many as the store does in a fraction of the time that a statement has. A store that
 * is slow, or has more to search, is asked for less.
 */
export class Pace {
  readonly #options: PaceOptions
  readonly #nowMs: () => number
  size: number

  /** @param nowMs a steady clock */
  constructor(options: PaceOptions, nowMs: () => number = () => performance.now()) {
    this.#options = options
    this.#nowMs = nowMs
    this.size = options.first
  }

  /** Does one batch, and learns from how long it took. */
  async keep<T>(batch: (size: number) => Promise<T>): Promise<T> {
    const { size } = this
    const startedAt = this.#nowMs()
    const result = await batch(size)
    const fitting = size * BATCH_MS / Math.max(this.#nowMs() - startedAt, 1)
    const { min, max } = this.#options
    this.size = Math.round(Math.min(Math.max(fitting, min), max, size * 2))
    return result
  }
}
