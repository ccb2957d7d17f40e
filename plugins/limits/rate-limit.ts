import fastifyRateLimit, {
  type FastifyRateLimitStore,
  type RateLimitPluginOptions
} from '@fastify/rate-limit'
import LocalStore from '@fastify/rate-limit/store/LocalStore.js'
import RedisStore from '@fastify/rate-limit/store/RedisStore.js'
import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import fp from 'fastify-plugin'
import { connectRedis, type RedisConnection } from '../../src/redis/redis.js'
import { reportError } from '../../src/error-report.js'
import { AppError } from '../../src/errors.js'
import type { Holdfast } from '../../src/holdfast.js'
import { Budgets, clientNetwork, SharedBudgetStore, LocalBudgetStore } from './budgets.js'
import type { Limit } from '../../src/limits.js'

type Count = (
  key: string,
  done: (error: Error | null, result?: { current: number; ttl: number }) => void,
  timeWindow: number,
  max: number
) => void
type Counter = FastifyRateLimitStore & { incr: Count }

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Budgets that a handler or hook takes from and gives back to; null where RATE_LIMIT is off.
     */
    budgets: Budgets | null
  }
}

/** Where counts are kept. */
export interface Counts {
  budgets: Budgets
  redis: RedisConnection | null
  /** Names the store, in a Redis that several may share; null until it has answered. */
  storeId: () => string | null
}

/** Opens what counts, in Redis where there is one; null where RATE_LIMIT is off. */
export function openCounts(app: FastifyInstance, holdfast: Holdfast): Counts | null {
  const { config } = holdfast
  const storeId = () => holdfast.storeId()
  if (!config.rateLimit) return null
  const redis =
    config.redisUrl === undefined ? null : connect(app, config.redisUrl, config.redisCaFile)
  const local = new LocalBudgetStore()
  holdfast.onCountsForgotten((counts) => local.forget(counts))
  return {
    budgets: new Budgets(redis ? new SharedBudgetStore(redis, storeId, local) : local),
    redis,
    storeId
  }
}

/**
 * Counts in Redis, so that nodes share their counts, and in this process while Redis does not
 * answer.
 */
class SharedCounter {
  readonly #shared: Counter
  readonly #local: Counter
  readonly #storeId: () => string | null

  constructor(shared: Counter, local: Counter, storeId: () => string | null) {
    this.#shared = shared
    this.#local = local
    this.#storeId = storeId
  }

  incr: Count = (key, done, timeWindow, max) => {
    const storeId = this.#storeId()
    if (storeId === null) return this.#local.incr(key, done, timeWindow, max)
    this.#shared.incr(
      `${storeId}:limit:${key}`,
      (error, result) => {
        if (error) this.#local.incr(key, done, timeWindow, max)
        else done(null, result)
      },
      timeWindow,
      max
    )
  }

  // Routes share a count by the name in its key, not by their own.
  child(): SharedCounter {
    return this
  }
}

/** Makes the limits that routes name in `config: limitedBy(…)` hold. */
async function rateLimit(
  app: FastifyInstance,
  { counts }: { counts: Counts | null }
): Promise<void> {
  if (!counts) return
  const { redis, storeId } = counts
  class Store extends SharedCounter {
    constructor() {
      const inProcess = new LocalStore(false, false)
      super(
        redis ? new RedisStore(false, false, redis, 'holdfast:') : inProcess,
        inProcess,
        storeId
      )
    }
  }
  await app.register(fastifyRateLimit, {
    global: false,
    enableDraftSpec: true,
    keyGenerator: clientNetwork,
    store: Store,
    errorResponseBuilder: () => new AppError('rate_limited')
  } satisfies RateLimitPluginOptions)
}

/** The `config` of a route that counts requests by client address (IPv6 by /64) against a limit. */
export function limitedBy({
  name,
  max,
  windowMs
}: Limit): NonNullable<RouteShorthandOptions['config']> {
  return { rateLimit: { max, timeWindow: windowMs, groupId: `:${name}` } }
}

/** Fails fast: a counter is not worth waiting for, and a command sent twice would count twice. */
function connect(
  app: FastifyInstance,
  redisUrl: string,
  caFile: string | undefined
): RedisConnection {
  const redis = connectRedis(redisUrl, { caFile })
  let away = false
  redis.on('error', (error: Error) => {
    if (!away)
      app.log.warn(
        { err: reportError(error) },
        'Redis does not answer: rates are counted in this process'
      )
    away = true
  })
  redis.on('ready', () => {
    if (away) app.log.info('Redis answers again')
    away = false
  })
  app.addHook('onClose', async () => {
    redis.disconnect()
  })
  return redis
}

export default fp(rateLimit, { name: 'rate-limit' })
