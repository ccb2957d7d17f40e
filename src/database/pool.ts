import { Client, DatabaseError, Pool, type ClientConfig, type PoolConfig } from 'pg'

/** How many connections a pool opens at a time. */
const OPENED_AT_A_TIME = 4

/** What makes pg's pool look at its queue. Its types name neither this nor `_isFull`, which it asks before it opens a connection: a test would miss them. */
interface Growth {
  _pulseQueue(): void
}

/**
 * A pool that opens few connections at a time, while those that are open serve whoever waits. pg's own opens one for each request until it
 * is full. Where a crowd comes to a node that has just started, all of them may take longer than a request waits: all are given up half
 * open, the next requests begin anew, and a healthy database serves next to nobody for as long as the crowd comes back.
 */
export class GrowingPool extends Pool {
  readonly #opening: Opening
  readonly #max: number

  constructor(config: PoolConfig & { max: number }) {
    const opening: Opening = { count: 0 }
    const options = { ...config, Client: Connection as unknown as new () => Connection, opening }
    super(options)
    this.#opening = opening
    this.#max = config.max
    this.on('connect', () => (this as unknown as Growth)._pulseQueue())
  }

  _isFull(): boolean {
    return this.#opening.count >= OPENED_AT_A_TIME || this.totalCount >= this.#max
  }
}

/** How many connections of a pool are being opened at this moment. */
interface Opening {
  count: number
}

/**
 * A connection that ends when a statement on it got no answer: the server may still be at it. Prisma would give it back to the pool,
 * where the next request's statements would run inside the transaction that was given up, be answered, and never be committed.
 */
class Connection extends Client {
  readonly #opening: Opening

  constructor(config: ClientConfig & { opening: Opening }) {
    super(config)
    this.#opening = config.opening
  }

  override connect(...args: never[]): never {
    const [opened] = args as unknown as [(error: Error | null) => void]
    this.#opening.count++
    return super.connect((error: Error | null) => {
      this.#opening.count--
      opened(error)
    }) as never
  }

  override query(...args: never[]): never {
    const result: unknown = super.query(...args as [never])
    if (result instanceof Promise) {
      result.catch((error: unknown) => {
        if (!(error instanceof DatabaseError)) this.end().catch(() => {})
      })
    }
    return result as never
  }
}
