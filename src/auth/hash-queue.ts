import type { Networks } from '../network.js'

/** The client that a hash is computed for. */
export interface HashClient {
  networks: Networks
  /** Aborted when the client disconnected: then the hash is not needed. */
  gone: AbortSignal | null
}

export interface HashQueueOptions {
  /** How many hashes are computed at once. */
  atOnce: number
  /** How long a hash may wait for its turn, as expected when it is queued. */
  maxWaitMs: number
  /** A monotonic clock, in milliseconds. It measures how long a hash takes. */
  now: () => number
  /** Makes the error of a hash that is refused, or dropped because its client disconnected. */
  refused: (why: 'full' | 'gone') => Error
}

interface Waiting {
  client: HashClient
  start: () => void
  refuse: (why: 'full' | 'gone') => void
}

/**
 * At least this many may wait, however long a hash takes: a slow machine must not refuse a handful
 * of users.
 */
const MIN_WAITING = 8
/** The assumed time of a hash before one was measured. */
const FIRST_GUESS_MS = 50
/** The weight of the last hash in the running mean. */
const WEIGHT = 1 / 16

/**
 * Hashes that wait for their turn. The queue holds what can be computed within `maxWaitMs`, at the
 * running mean of a hash's time. It takes turns between networks: first between wide ones, then
 * between the narrow ones of each. When it is full, the network with the most waiting hashes loses
 * its last one to a network with fewer. Where no other network has more, the new hash is refused.
 * So a flood from one network sheds itself, and a client from elsewhere waits for one hash of each
 * other network. (P. McKenney, "Stochastic Fairness Queueing", 1990: longest-queue drop.)
 */
export class HashQueue {
  readonly #options: HashQueueOptions
  /**
   * By wide network, then by narrow. The network whose turn is next comes first. No list is empty.
   */
  readonly #lines = new Map<string, Map<string, Waiting[]>>()
  #waiting = 0
  #running = 0
  #meanMs = FIRST_GUESS_MS

  constructor(options: HashQueueOptions) {
    this.#options = options
  }

  /** How many hashes wait. */
  get waiting(): number {
    return this.#waiting
  }

  /** How many may wait at present. */
  get capacity(): number {
    const { atOnce, maxWaitMs } = this.#options
    return Math.max(MIN_WAITING, Math.floor((maxWaitMs * atOnce) / this.#meanMs))
  }

  /**
   * Computes a hash when its turn has come.
   *
   * @throws the error of `refused`, when the queue is full, or when the client disconnects before
   *   the hash begins
   */
  async run<T>(client: HashClient, compute: () => Promise<T>): Promise<T> {
    await this.#turn(client)
    const since = this.#options.now()
    try {
      return await compute()
    } finally {
      this.#meanMs += WEIGHT * (this.#options.now() - since - this.#meanMs)
      this.#running--
      this.#next()
    }
  }

  #turn(client: HashClient): Promise<void> {
    const { refused } = this.#options
    return new Promise((resolve, reject) => {
      if (client.gone?.aborted) return reject(refused('gone'))
      const onGone = () => {
        this.#remove(waiting)
        waiting.refuse('gone')
      }
      const waiting: Waiting = {
        client,
        start: () => {
          client.gone?.removeEventListener('abort', onGone)
          resolve()
        },
        refuse: (why) => {
          client.gone?.removeEventListener('abort', onGone)
          reject(refused(why))
        }
      }
      if (this.#waiting >= this.capacity && !this.#makeRoomFor(client))
        return waiting.refuse('full')
      client.gone?.addEventListener('abort', onGone, { once: true })
      this.#add(waiting)
      this.#next()
    })
  }

  #next(): void {
    while (this.#running < this.#options.atOnce && this.#waiting > 0) {
      this.#running++
      this.#takeFirst().start()
    }
  }

  #add(waiting: Waiting): void {
    const { wide, narrow } = waiting.client.networks
    const line = this.#lines.get(wide) ?? new Map<string, Waiting[]>()
    const own = line.get(narrow) ?? []
    own.push(waiting)
    line.set(narrow, own)
    this.#lines.set(wide, line)
    this.#waiting++
  }

  /**
   * Takes the oldest hash of the network whose turn it is. That network goes to the end of the
   * line.
   */
  #takeFirst(): Waiting {
    for (const [wide, line] of this.#lines) {
      for (const [narrow, own] of line) {
        const first = own[0]
        if (!first) continue
        this.#remove(first)
        if (line.delete(narrow)) line.set(narrow, own)
        if (this.#lines.delete(wide)) this.#lines.set(wide, line)
        return first
      }
    }
    throw new Error('nothing waits')
  }

  #remove(waiting: Waiting): void {
    const { wide, narrow } = waiting.client.networks
    const line = this.#lines.get(wide)
    const own = line?.get(narrow)
    const index = own?.indexOf(waiting) ?? -1
    if (!line || !own || index === -1) return
    own.splice(index, 1)
    this.#waiting--
    if (own.length === 0) line.delete(narrow)
    if (line.size === 0) this.#lines.delete(wide)
  }

  /**
   * Refuses the last hash of the network that has the most, if that has more than the new hash's
   * network would have.
   */
  #makeRoomFor({ networks }: HashClient): boolean {
    const ownLine = this.#lines.get(networks.wide)
    const wide = longest(this.#lines, countClients)
    const isOthers = wide !== null && wide.size > (ownLine ? countClients(ownLine) : 0) + 1
    const narrow = longest(
      (isOthers ? wide.value : ownLine) ?? new Map<string, Waiting[]>(),
      (list) => list.length
    )
    const own = ownLine?.get(networks.narrow)?.length ?? 0
    const victim = narrow && (isOthers || narrow.size > own + 1) ? narrow.value.at(-1) : undefined
    if (!victim) return false
    this.#remove(victim)
    victim.refuse('full')
    return true
  }
}

function countClients(line: ReadonlyMap<string, readonly Waiting[]>): number {
  let size = 0
  for (const own of line.values()) size += own.length
  return size
}

function longest<Value>(
  values: ReadonlyMap<string, Value>,
  size: (value: Value) => number
): { value: Value; size: number } | null {
  let found: { value: Value; size: number } | null = null
  for (const value of values.values()) {
    if (!found || size(value) > found.size) found = { value, size: size(value) }
  }
  return found
}
