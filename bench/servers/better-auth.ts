import { betterAuth, type BetterAuthOptions } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { fromNodeHeaders } from 'better-auth/node'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import { serve, setting } from './child.js'

/*
 * better-auth as its documentation integrates it with Fastify (docs/integrations/fastify), in the
 * mode of BENCH_MODE: `database`, `secondary` (sessions in Redis) or `cookie` (the cookie cache).
 */
const mode = setting('BENCH_MODE')
const redis = mode === 'secondary' ? new Redis(setting('REDIS_URL')) : null
const options = {
  baseURL: 'http://localhost:3000',
  secret: 'a secret for the bench only: 5d2c8e0a9b7f4163',
  database: new Pool({
    connectionString: setting('DATABASE_URL'),
    max: Number(setting('DATABASE_POOL_SIZE'))
  }),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  ...(mode === 'cookie' ? { session: { cookieCache: { enabled: true, maxAge: 300 } } } : {}),
  ...(redis
    ? {
        secondaryStorage: {
          get: (key) => redis.get(key),
          getAndDelete: (key) => redis.getdel(key),
          async increment(key, ttl) {
            await redis.set(key, 0, 'EX', ttl, 'NX')
            return redis.incr(key)
          },
          async set(key, value, ttl) {
            await (ttl === undefined ? redis.set(key, value) : redis.set(key, value, 'EX', ttl))
          },
          async delete(key) {
            await redis.del(key)
          }
        }
      }
    : {})
} satisfies BetterAuthOptions
const { runMigrations } = await getMigrations(options)
await runMigrations()
const auth = betterAuth(options)

const app = Fastify({ logger: { level: 'warn' } })
app.route({
  method: ['GET', 'POST'],
  url: '/api/auth/*',
  async handler(request, reply) {
    const url = new URL(request.url, `http://${request.headers.host}`)
    const headers = fromNodeHeaders(request.headers)
    const response = await auth.handler(
      new Request(url.toString(), {
        method: request.method,
        headers,
        ...(request.body ? { body: JSON.stringify(request.body) } : {})
      })
    )
    reply.status(response.status)
    response.headers.forEach((value, key) => {
      reply.header(key, value)
    })
    return reply.send(response.body ? await response.text() : null)
  }
})
await serve((at) => app.listen(at))
