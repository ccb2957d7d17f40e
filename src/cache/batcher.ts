import { AsyncResource } from 'node:async_hooks'

const MAX_WAIT_MS = 5
const LONGEST_WAIT_MS = 100

/** A batch of this size does not wait for earlier batches, up to `maxConcurrent`. */
const MIN_BATCH = 4

export interface BatcherOptions {
  /** How many batches may be in flight at once. Default 1. */
  maxConcurrent?: number
  /**
   * How long an item waits at most while other batches are in flight, in milliseconds. It doubles
   * with each batch in flight, up to 100. Default 5.
   */
  maxWaitMs?: number
}

interface Batch<Item, Result> {
  items: Item[]
  results: Promise<readonly Result[]>
}

/**
 * Loads items in batches: items of one turn of the event loop, and items that arrive while earlier
 * batches are in flight. The more items arrive, the less each costs. A slow store gets larger
 * batches, not more of them. An item never joins a read that began before it arrived.
 */
export class Batcher<Item, Result> {
  readonly #loadAll: (items: readonly Item[]) => Promise<readonly Result[]>
  readonly #maxConcurrent: number
  readonly #maxWaitMs: number
  /** A batch belongs to many callers, so it must not run in the async context of the first one. */
  readonly #context = new AsyncResource('Batcher')
  #open: Batch<Item, Result> | null = null
  #inFlight = 0
  /** Sends the open batch. */
  #flush = () => {}

  /** @param loadAll returns one result for each item, in their order */
  constructor(
    loadAll: (items: readonly Item[]) => Promise<readonly Result[]>,
    { maxConcurrent = 1, maxWaitMs = MAX_WAIT_MS }: BatcherOptions = {}
  ) {
    this.#loadAll = loadAll
    this.#maxConcurrent = maxConcurrent
    this.#maxWaitMs = maxWaitMs
  }

  /**
   * Loads an item with its batch. An error of the batch rejects all its items.
   *
   * @param then maps the result, which is cheaper than another promise around this one
   */
  load<T>(item: Item, then: (result: Result) => T | Promise<T>): Promise<T> {
    this.#open ??= this.#begin()
    const { items, results } = this.#open
    const index = items.push(item) - 1
    if (this.#isDue(items)) this.#flush()
    return results.then((all) => {
      if (index >= all.length) throw new Error('fewer results than items')
      return then(all[index] as Result)
    })
  }

  #begin(): Batch<Item, Result> {
    const items: Item[] = []
    return { items, results: this.#context.runInAsyncScope(() => this.#run(items)) }
  }

  async #run(items: readonly Item[]): Promise<readonly Result[]> {
    await Promise.resolve() // the rest of this turn's items
    if (!this.#isDue(items)) await this.#untilDue()
    this.#open = null
    this.#inFlight++
    try {
      return await this.#loadAll(items)
    } finally {
      this.#inFlight--
      this.#flush()
    }
  }

  #isDue(items: readonly Item[]): boolean {
    return (
      this.#inFlight === 0 || (items.length >= MIN_BATCH && this.#inFlight < this.#maxConcurrent)
    )
  }

  /** Waits until the batch is large enough, another one ends, or the wait is over. */
  #untilDue(): Promise<void> {
    return new Promise((resolve) => {
      const timeout = setTimeout(
        resolve,
        Math.min(this.#maxWaitMs * 2 ** this.#inFlight, LONGEST_WAIT_MS)
      )
      this.#flush = () => {
        clearTimeout(timeout)
        resolve()
      }
    })
  }
}
