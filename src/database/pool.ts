import { Client, DatabaseError, Pool, type ClientConfig, type PoolConfig } from 'pg'

/** How many connections a pool opens at a time. */
const OPENED_AT_A_TIME = 4
/** For how long one counts as being opened, in milliseconds: what takes longer waits most likely for a server that is far away, and keeps no machine busy. */
const OPENING_MS = 100

/** What of pg's pool its types do not name, beside `_isFull`, which it asks before it opens a connection; database-pool.test.ts fails where pg renames one. */
const growth = Pool.prototype as unknown as {
  /** Hands an idle connection to whoever waits longest, or opens one for them; throws what the making of a client throws. */
  _pulseQueue(this: Pool): void
}

export interface GrowingPoolConfig extends PoolConfig {
  max: number
  /** For a test's sake; `OPENING_MS` where absent. */
  openingMs?: number
}

/**
 * A pool that opens few connections at a time, while those that are open serve whoever waits. pg's own opens one for each request until it
 * is full. Where a crowd comes to a node that has just started, all of them may take longer than a request waits: all are given up half
 * open, the next requests begin anew, and a healthy database serves next to nobody for as long as the crowd comes back.
 */
export class GrowingPool extends Pool {
  readonly #openings: Openings

  constructor({ openingMs = OPENING_MS, ...config }: GrowingPoolConfig) {
    const openings = new Openings(openingMs, () => this._pulseQueue())
    const options = { ...config, Client: Connection as unknown as new () => Connection, openings }
    super(options)
    this.#openings = openings
  }

  _isFull(): boolean {
    return this.#openings.count >= OPENED_AT_A_TIME || this.totalCount >= this.options.max
  }

  /** pg's own pool calls it from callbacks of connections, where whatever it throws would end the process. */
  _pulseQueue(): void {
    try {
      growth._pulseQueue.call(this)
    } catch (error) {
      this.emit('error', error) // whoever it was for goes on waiting, and is refused in time
    }
  }
}

/** The connections of a pool that are being opened at this moment. */
class Openings {
  readonly #openingMs: number
  readonly #onRoom: () => void
  #count = 0

  /** @param onRoom told when another one may be opened, once whoever waited for this one has it */
  constructor(openingMs: number, onRoom: () => void) {
    this.#openingMs = openingMs
    this.#onRoom = onRoom
  }

  get count(): number {
    return this.#count
  }

  /** @returns what is to be called when the connection is open, or was given up */
  begin(): () => void {
    let counts = true
    const end = () => {
      if (!counts) return
      counts = false
      clearTimeout(timer)
      this.#count--
      process.nextTick(this.#onRoom)
    }
    // What has come meanwhile is heard first: this process may have been busy for as long.
    const timer = setTimeout(() => setImmediate(end), this.#openingMs).unref()
    this.#count++
    return end
  }
}

/**
 * A connection that ends when a statement on it got no answer: the server may still be at it. Prisma would give it back to the pool,
 * where the next request's statements would run inside the transaction that was given up, be answered, and never be committed.
 */
class Connection extends Client {
  readonly #openings: Openings

  constructor(config: ClientConfig & { openings: Openings }) {
    super(config)
    this.#openings = config.openings
  }

  /** As the pool calls it, which never asks for a promise. */
  override connect(...args: never[]): never {
    const [opened] = args as unknown as [(error: Error | null) => void]
    const end = this.#openings.begin()
    return super.connect((error: Error | null) => {
      end()
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
