import { createHash, randomUUID } from 'node:crypto'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { countsPrefix } from '../../src/redis/counts.js'
import type { RedisConnection } from '../../src/redis/redis.js'
import { AppError } from '../../src/errors.js'
import type { Limit } from '../../src/limits.js'
import { clientAddress } from '../http/client-address.js'

/** The state of a budget after something was taken from it. */
export interface Taken {
  current: number
  /** Milliseconds until the window ends. */
  remainingMs: number
}

/** A taking, which is given back if it does not count. */
export interface Taking {
  limit: Limit
  of: string
  /**
   * Whether the budget was spent, and this one was let through because the last was long enough
   * ago.
   */
  late: boolean
}

/**
 * The contract of both stores. `take` counts one and returns the count. `giveBack` takes one back
 * that did not count after all.
 */
export interface BudgetStore {
  take(key: string, windowMs: number): Promise<Taken>
  giveBack(key: string): Promise<void>
}

const TAKE = `
local current = redis.call('INCR', KEYS[1])
if current == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {current, redis.call('PTTL', KEYS[1])}`

// A window that has ended gets nothing back, so that the next window does not lose a count.
const GIVE_BACK = `
local current = tonumber(redis.call('GET', KEYS[1]) or '0')
if current > 0 then redis.call('DECR', KEYS[1]) end
return current`

type Scripts = RedisConnection & {
  hfTake(key: string, windowMs: number): Promise<[number, number]>
  hfGiveBack(key: string): Promise<number>
}

/** Counts in Redis, and in this process while Redis does not answer. */
export class SharedBudgetStore implements BudgetStore {
  readonly #redis: Scripts
  readonly #storeId: () => string | null
  readonly #local: LocalBudgetStore

  constructor(redis: RedisConnection, storeId: () => string | null, local: LocalBudgetStore) {
    redis.defineCommand('hfTake', { numberOfKeys: 1, lua: TAKE })
    redis.defineCommand('hfGiveBack', { numberOfKeys: 1, lua: GIVE_BACK })
    this.#redis = redis as Scripts
    this.#storeId = storeId
    this.#local = local
  }

  async take(key: string, windowMs: number): Promise<Taken> {
    try {
      const [current, remainingMs] = await this.#redis.hfTake(this.#keyOf(key), windowMs)
      return { current, remainingMs }
    } catch {
      return this.#local.take(key, windowMs)
    }
  }

  async giveBack(key: string): Promise<void> {
    try {
      await this.#redis.hfGiveBack(this.#keyOf(key))
    } catch {
      await this.#local.giveBack(key)
    }
  }

  #keyOf(key: string): string {
    const storeId = this.#storeId()
    if (storeId === null) throw new Error('the store has not named itself yet')
    return countsPrefix(storeId) + key
  }
}

interface Count {
  current: number
  /** The end of the window, by the store's clock. */
  until: number
}

/**
 * Keys that one process counts. A flood of invented accounts pushes the oldest out and costs no
 * more memory.
 */
const LOCAL_KEYS = 20_000
/** Table places for counts that were pushed out. */
const PLACES = 65_536

/**
 * Counts that were pushed out of `LOCAL_KEYS`. Without it, an attacker who floods a process with
 * invented accounts could start again guessing at a real one. Each key has one place. Of the keys
 * that share a place the highest count stays, so a few invented guesses do not push out many
 * guesses at a real account.
 */
class PushedOut {
  readonly #keys = new Uint32Array(PLACES)
  readonly #counts = new Uint32Array(PLACES)
  readonly #ends = new Float64Array(PLACES)
  // So that an attacker cannot choose names that share a place with a real account.
  readonly #seed = randomUUID()

  keep(name: string, { current, until }: Count, now: number): void {
    const { key, place } = this.#placeOf(name)
    if ((this.#ends[place] ?? 0) > now && (this.#counts[place] ?? 0) > current) return
    this.#keys[place] = key
    this.#counts[place] = current
    this.#ends[place] = until
  }

  find(name: string): Count | null {
    const { key, place } = this.#placeOf(name)
    return this.#keys[place] === key
      ? { current: this.#counts[place] ?? 0, until: this.#ends[place] ?? 0 }
      : null
  }

  #placeOf(name: string): { key: number; place: number } {
    const digest = createHash('sha256').update(this.#seed).update(name).digest()
    return { key: digest.readUInt32BE(0), place: digest.readUInt32BE(4) % PLACES }
  }
}

/** Counts in this process. */
export class LocalBudgetStore implements BudgetStore {
  readonly #counts = new Map<string, Count>()
  /** Created with the first count that is pushed out. */
  #pushedOut: PushedOut | null = null
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  async take(key: string, windowMs: number): Promise<Taken> {
    const now = this.#now()
    const known = this.#counts.get(key) ?? this.#pushedOut?.find(key)
    const count = known && known.until > now ? known : { current: 0, until: now + windowMs }
    count.current++
    this.#counts.delete(key)
    this.#counts.set(key, count)
    for (const [oldest, pushed] of this.#counts) {
      if (this.#counts.size <= LOCAL_KEYS) break
      this.#counts.delete(oldest)
      this.#pushedOut ??= new PushedOut()
      this.#pushedOut.keep(oldest, pushed, now)
    }
    return { current: count.current, remainingMs: count.until - now }
  }

  /** Deletes the counts of an account, and those of its user's password. */
  forget({ account, userId }: { account: string; userId: string }): void {
    for (const key of this.#counts.keys())
      if (key.startsWith(`${account}:`) || key.startsWith(`${userId}:`)) this.#counts.delete(key)
  }

  async giveBack(key: string): Promise<void> {
    const count = this.#counts.get(key)
    if (count && count.until > this.#now() && count.current > 0) count.current--
  }
}

/**
 * Budgets whose use is decided after the fact. One is taken before the work, in the same step that
 * counts it, and given back if it did not count.
 */
export class Budgets {
  readonly #store: BudgetStore

  constructor(store: BudgetStore) {
    this.#store = store
  }

  /**
   * Takes one from a budget, before the work, so that two guesses at once cannot share one. A spent
   * budget that only delays gives one when the last was long enough ago.
   *
   * @throws AppError 429 `rate_limited` with the headers set: `Retry-After` says when one can be
   *   taken
   */
  async take(reply: FastifyReply, limit: Limit, of: string): Promise<Taking> {
    const { current, remainingMs } = await this.#store.take(toKey(limit, of), limit.windowMs)
    if (limit.thenEveryMs === undefined) {
      if (current > limit.max) refuse(reply, limit, remainingMs)
      return { limit, of, late: false }
    }
    if (current < limit.max) return { limit, of, late: false }
    // The guess that spends the budget also starts the delay.
    const gate = await this.#store.take(gateFrom(limit, of), limit.thenEveryMs)
    if (current > limit.max && gate.current > 1)
      refuse(reply, limit, Math.min(remainingMs, gate.remainingMs))
    return { limit, of, late: current > limit.max }
  }

  /**
   * Gives one back. If that fails, the budget stays smaller until its window ends, which affects
   * only the client that it limits.
   */
  async giveBack({ limit, of, late }: Taking): Promise<void> {
    await this.#store.giveBack(toKey(limit, of))
    if (late) await this.#store.giveBack(gateFrom(limit, of))
  }
}

function toKey({ name }: Limit, of: string): string {
  return `${of}:${name}`
}

/** The key that counts what a spent budget lets through: one in each of its short windows. */
function gateFrom({ name }: Limit, of: string): string {
  return `${of}:${name}:late`
}

function refuse(reply: FastifyReply, { max }: Limit, waitMs: number): never {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  void reply.headers({
    'ratelimit-limit': max,
    'ratelimit-remaining': 0,
    'ratelimit-reset': seconds,
    'retry-after': seconds
  })
  throw new AppError('rate_limited')
}

/**
 * The network that a request is counted for: the client's address, or IPv6 /64, because a /64
 * belongs to one customer.
 */
export function clientNetwork(request: FastifyRequest): string {
  const address = clientAddress(request)
  return address === '' ? '' : normalizeIP(address)
}
