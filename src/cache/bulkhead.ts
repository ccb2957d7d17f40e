import { StoreUnavailable } from '../errors.js'

/**
 * Lets a bounded number of reads at the store, and a bounded number wait: when the caches are gone, what the store cannot
 * bear is told to try again, and does not take the rest down with it.
 */
export class Bulkhead {
  readonly #limit: number
  readonly #queueLimit: number
  readonly #queue: (() => void)[] = []
  #running = 0

  constructor(limit: number, queueLimit: number) {
    this.#limit = limit
    this.#queueLimit = queueLimit
  }

  /** @throws StoreUnavailable when too many wait already */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) {
      if (this.#queue.length >= this.#queueLimit) throw new StoreUnavailable(new Error('too many checks wait for the store'))
      await new Promise<void>((resolve) => { this.#queue.push(resolve) })
    } else this.#running++
    try {
      return await work()
    } finally {
      // The place passes straight on to the next in the queue.
      const next = this.#queue.shift()
      if (next) next()
      else this.#running--
    }
  }
}
