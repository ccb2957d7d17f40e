import { Pool, type PoolClient, type PoolConfig } from 'pg'
import { Connection } from './connection.js'
import type { ServerAddress } from './database-url.js'
import { Openings } from './openings.js'
import { Places } from './places.js'

/** How many connections a pool opens at a time. */
const OPENED_AT_A_TIME = 4
/**
 * How long one counts as opening, in milliseconds. One that takes longer is probably waiting for a
 * distant server, and does not keep a machine busy.
 */
const OPENING_MS = 100

interface Waiter {
  callback: (error: Error | undefined, client?: PoolClient, release?: () => void) => void
}

/**
 * The internals of pg's pool that its types do not name. database-pool.test.ts fails where pg
 * renames one.
 */
interface Internals {
  /** The callers that wait for a connection, longest first. */
  _pendingQueue: Waiter[]
  /** Hands an idle connection to the caller that has waited longest. */
  _pulseQueue(): void
  /** Opens a connection for `waiter`. Throws what creating a client throws. */
  newClient(waiter: Waiter): void
}
const growth = Pool.prototype as unknown as Internals

export interface GrowingPoolConfig extends PoolConfig {
  max: number
  /**
   * How long a caller waits for a connection, in milliseconds: for a turn, and for the opening of a
   * new one.
   */
  maxWaitMs: number
  /**
   * The places that connections may use, the first choice first. Without them, what `host` and
   * `port` say.
   */
  places?: readonly ServerAddress[]
  needsChannelBinding?: boolean
  /** Called with each new connection before it is used. If it fails, the connection is not used. */
  prepare?: (connection: Connection) => Promise<void>
  /** For tests. Default `OPENING_MS`. */
  openingMs?: number
}

/**
 * A pool that opens few connections at a time, while the open ones serve the waiting callers. pg's
 * own opens one for each request until it is full. On a node that has just started under load, all
 * of them may take longer than a request waits. All are then given up half open, the next requests
 * begin again, and a healthy database serves almost no request as long as the load lasts.
 *
 * A caller waits for any connection, not for the one that was opened when it came. That one goes on
 * opening after the caller has given up (`connectionTimeoutMillis` is its limit), and serves the
 * next caller.
 */
export class GrowingPool extends Pool {
  readonly #openings: Openings
  readonly #places: Places | null
  readonly #maxWaitMs: number
  /** Connections that are opening, however long it takes. */
  #underWay = 0
  #lastFailure: Error | null = null

  constructor({
    openingMs = OPENING_MS,
    places,
    maxWaitMs,
    prepare,
    ...config
  }: GrowingPoolConfig) {
    const openings = new Openings(openingMs, () => this._pulseQueue())
    const options = {
      ...config,
      Client: Connection as unknown as new () => Connection,
      openings,
      ...(prepare ? { onConnect: prepare } : {})
    }
    super(options as PoolConfig)
    this.#openings = openings
    this.#places = places ? new Places(places) : null
    this.#maxWaitMs = maxWaitMs
  }

  /** As pg's own: with a callback, or for a promise. */
  override connect(...args: never[]): never {
    const [callback] = args as unknown as [Waiter['callback'] | undefined]
    return (callback ? this.#wait(callback) : this.take()) as never
  }

  /** Waits for a connection. The caller must release it. */
  take(): Promise<PoolClient> {
    return new Promise((resolve, reject) => {
      this.#wait((error, client) =>
        client ? resolve(client) : reject(error ?? new Error('there is no connection'))
      )
    })
  }

  /**
   * pg's own pool calls it from callbacks of connections, where a thrown error would end the
   * process.
   */
  _pulseQueue(): void {
    try {
      if (this.ending || this.idleCount > 0) growth._pulseQueue.call(this as unknown as Internals)
      else if (this.waitingCount > this.#underWay && !this.#isFull())
        this.#open(this.#queue[this.#underWay])
    } catch (error) {
      this.emit('error', error) // its caller goes on waiting, and is refused in time
    }
  }

  #isFull(): boolean {
    return this.#openings.count >= OPENED_AT_A_TIME || this.totalCount >= this.options.max
  }

  #wait(callback: Waiter['callback']): void {
    if (this.ending) return callback(new Error('Cannot use a pool after calling end on the pool'))
    const waiter: Waiter = {
      callback(error, client, release) {
        clearTimeout(timer)
        callback(error, client, release)
      }
    }
    const timer = setTimeout(() => {
      this.#refuse(
        waiter,
        new Error('timeout exceeded when trying to connect', { cause: this.#lastFailure })
      )
    }, this.#maxWaitMs).unref()
    this.#queue.push(waiter)
    process.nextTick(() => this._pulseQueue())
  }

  get #queue(): Waiter[] {
    return (this as unknown as Internals)._pendingQueue
  }

  /** Rejects a caller that is still waiting. */
  #refuse(waiter: Waiter, error: Error): void {
    const index = this.#queue.indexOf(waiter)
    if (index < 0) return
    this.#queue.splice(index, 1)
    waiter.callback(error)
  }

  /**
   * @param waiter is told when it fails; the connection goes to the caller that has waited longest
   * @param tried the places that have failed in this round; each gets one try
   */
  #open(
    waiter: Waiter | undefined,
    place = this.#places?.current,
    tried: readonly ServerAddress[] = []
  ): void {
    const opened: Waiter['callback'] = (error, _client, release) => {
      this.#underWay--
      if (!error) {
        if (place) this.#places?.use(place)
        this.#lastFailure = null
        release?.()
        return
      }
      this.#lastFailure = error
      const next = place && this.#places?.after(place, error)
      if (next && next !== place && !tried.includes(next) && !this.ending)
        this.#open(waiter, next, [...tried, place])
      else if (waiter) this.#refuse(waiter, error)
      this._pulseQueue()
    }
    this.#underWay++
    try {
      Object.assign(this.options, { place })
      growth.newClient.call(this as unknown as Internals, { callback: opened })
    } catch (error) {
      this.#underWay--
      throw error
    }
  }
}
