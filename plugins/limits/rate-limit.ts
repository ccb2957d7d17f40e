import { callbackify } from 'node:util'
import fastifyRateLimit, {
  type FastifyRateLimitStore,
  type FastifyRateLimitStoreCtor,
  type RateLimitPluginOptions
} from '@fastify/rate-limit'
import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import fp from 'fastify-plugin'
import { connectRedis, type RedisConnection } from '../../src/redis/redis.js'
import { reportError } from '../../src/error-report.js'
import { AppError } from '../../src/errors.js'
import type { Holdfast } from '../../src/holdfast.js'
import {
  Budgets,
  clientNetwork,
  LocalBudgetStore,
  SharedBudgetStore,
  type BudgetStore
} from './budgets.js'
import type { Limit } from '../../src/limits.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The budgets that handlers and hooks use. Null where RATE_LIMIT is off. */
    budgets: Budgets | null
  }
}

/** The counters, and the store that keeps them. */
export interface Counts {
  budgets: Budgets
  store: BudgetStore
}

/** Opens the counters, in Redis where there is one. Null where RATE_LIMIT is off. */
export function openCounts(app: FastifyInstance, holdfast: Holdfast): Counts | null {
  const { config } = holdfast
  if (!config.rateLimit) return null
  const redis =
    config.redisUrl === undefined ? null : connect(app, config.redisUrl, config.redisCaFile)
  const local = new LocalBudgetStore()
  holdfast.onCountsForgotten((counts) => local.forget(counts))
  const store = redis ? new SharedBudgetStore(redis, () => holdfast.storeId(), local) : local
  return { budgets: new Budgets(store), store }
}

/** Has @fastify/rate-limit count where budgets are counted. */
function counterOn(store: BudgetStore): FastifyRateLimitStoreCtor {
  const take = callbackify(async (key: string, windowMs: number) => {
    const { current, remainingMs } = await store.take(key, windowMs)
    return { current, ttl: remainingMs }
  })
  return class implements FastifyRateLimitStore {
    incr: FastifyRateLimitStore['incr'] = (key, done, windowMs) => take(key, windowMs, done)

    // Routes share a count by the name in its key, and not by their own.
    child(): this {
      return this
    }
  }
}

/** Applies the limits that routes name in `config: limitedBy(…)`. */
async function rateLimit(
  app: FastifyInstance,
  { counts }: { counts: Counts | null }
): Promise<void> {
  if (!counts) return
  await app.register(fastifyRateLimit, {
    global: false,
    enableDraftSpec: true,
    keyGenerator: clientNetwork,
    store: counterOn(counts.store),
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

/**
 * Fails fast: a count is not worth waiting for, and a command that is sent twice would count twice.
 */
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
