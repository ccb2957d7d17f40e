import { createHash } from 'node:crypto'
import { betterAuth, type BetterAuthOptions } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { fromNodeHeaders } from 'better-auth/node'
import { admin, bearer, oneTimeToken, twoFactor } from 'better-auth/plugins'
import Fastify from 'fastify'
import { Pool } from 'pg'
import type { StockEndpoint, StockReady } from './stock.js'

/*
 * better-auth 1.7.25 with the plugins that Holdfast offers, on PostgreSQL by its own migrations,
 * behind the Fastify route of its documentation (docs/integrations/fastify). Every other setting is
 * its default.
 */
const url = process.env['BASE_URL'] ?? ''
const options = {
  baseURL: url,
  secret: 'a secret for tests only: 81c7d2f05be94a36',
  database: new Pool({ connectionString: process.env['DATABASE_URL'], max: 5 }),
  emailAndPassword: {
    enabled: true,
    // The kind of hash does not show over HTTP, and scrypt would take most of the time.
    password: {
      hash: async (text) => cheapHash(text),
      verify: async ({ hash, password }) => hash === cheapHash(password)
    }
  },
  user: { deleteUser: { enabled: true } },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { disabled: true },
  plugins: [admin(), twoFactor(), oneTimeToken(), bearer()]
} satisfies BetterAuthOptions
await (await getMigrations(options)).runMigrations()
const auth = betterAuth(options)

const app = Fastify()
app.route({
  method: ['GET', 'POST'],
  url: '/api/auth/*',
  async handler(request, reply) {
    try {
      const target = new URL(request.url, `http://${request.headers.host}`)
      const body = request.body ? { body: JSON.stringify(request.body) } : {}
      const headers = fromNodeHeaders(request.headers)
      const response = await auth.handler(
        new Request(target, { method: request.method, headers, ...body })
      )
      reply.status(response.status)
      response.headers.forEach((value, key) => {
        reply.header(key, value)
      })
      return await reply.send(response.body ? await response.text() : null)
    } catch {
      return reply
        .status(500)
        .send({ error: 'Internal authentication error', code: 'AUTH_FAILURE' })
    }
  }
})
await app.listen({ host: '127.0.0.1', port: Number(new URL(url).port) })
process.on('disconnect', () => process.exit(0))
process.send?.({ endpoints: endpointsOf(auth.api) } satisfies StockReady)

function cheapHash(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}

interface Declared {
  path?: string
  options?: { method?: string | string[]; metadata?: { SERVER_ONLY?: boolean } }
}

/** The endpoints that are served over HTTP. */
function endpointsOf(api: object): StockEndpoint[] {
  return Object.values(api as Record<string, Declared>).flatMap(({ path, options }) => {
    if (path === undefined || options?.metadata?.SERVER_ONLY) return []
    return [{ path, methods: [options?.method ?? []].flat() }]
  })
}
