import fastifyRateLimit, { type FastifyRateLimitStore, type RateLimitPluginOptions } from '@fastify/rate-limit'
import LocalStore from '@fastify/rate-limit/store/LocalStore.js'
import RedisStore from '@fastify/rate-limit/store/RedisStore.js'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { connectRedis, type RedisConnection } from '../src/cache/redis.js'
import type { Config } from '../src/config.js'
import { Refusal } from '../src/errors.js'

type Count = (key: string, done: (error: Error | null, result?: { current: number, ttl: number }) => void, timeWindow: number, max: number) => void
type Counter = FastifyRateLimitStore & { incr: Count }

/** Counts in Redis, so that nodes share their counts, and in this process while Redis does not answer. */
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
    this.#shared.incr(`${storeId}:${key}`, (error, result) => {
      if (error) this.#local.incr(key, done, timeWindow, max)
      else done(null, result)
    }, timeWindow, max)
  }

  child(route: never): SharedCounter {
    return new SharedCounter(this.#shared.child(route), this.#local.child(route), this.#storeId)
  }
}

/** Limits requests by client address (IPv6 by /64) on the routes that ask for it in their `config.rateLimit`. */
async function rateLimit(app: FastifyInstance, { config, storeId }: { config: Config, storeId: () => string | null }): Promise<void> {
  if (!config.rateLimit) return
  const options: RateLimitPluginOptions = {
    global: false,
    enableDraftSpec: true,
    errorResponseBuilder: () => new Refusal('rate_limited')
  }
  if (config.redisUrl === undefined) {
    await app.register(fastifyRateLimit, options)
    return
  }
  const redis = connect(app, config.redisUrl)
  class Store extends SharedCounter {
    constructor() {
      super(new RedisStore(false, false, redis, 'holdfast:limit:'), new LocalStore(false, false), storeId)
    }
  }
  await app.register(fastifyRateLimit, { ...options, store: Store })
}

/** Fails fast: a counter is not worth waiting for, and a command sent twice would count twice. */
function connect(app: FastifyInstance, redisUrl: string): RedisConnection {
  const redis = connectRedis(redisUrl, { commandTimeout: 100 })
  let away = false
  redis.on('error', (error: Error) => {
    if (!away) app.log.warn({ err: error }, 'Redis does not answer: rates are counted in this process')
    away = true
  })
  redis.on('ready', () => {
    if (away) app.log.info('Redis answers again')
    away = false
  })
  app.addHook('onClose', async () => { redis.disconnect() })
  return redis
}

export default fp(rateLimit, { name: 'rate-limit' })
