import { once } from 'node:events'
import { createServer } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isLoopback } from '../src/config.js'
import { Refusal } from '../src/errors.js'
import type { Holdfast } from '../src/holdfast.js'
import { createMetrics, NO_ROUTE } from './prometheus.js'

/** Counts the requests of Holdfast's routes, and serves `/metrics`: on METRICS_PORT where it is set, else to this machine alone. */
async function metrics(app: FastifyInstance, { holdfast }: { holdfast: Holdfast }): Promise<void> {
  const { host, metricsPort } = holdfast.config
  const { registry, note } = createMetrics(holdfast)
  app.addHook('onResponse', (request, reply, done) => {
    note(request.method, request.routeOptions.url ?? NO_ROUTE, reply.statusCode, reply.elapsedTime / 1000)
    done()
  })
  if (metricsPort !== undefined) return listenApart(app, host, metricsPort, () => registry.metrics(), registry.contentType)
  app.get('/metrics', { schema: { hide: true } }, async (request, reply) => {
    if (!isFromThisMachine(request)) throw new Refusal('not_found')
    return reply.type(registry.contentType).header('cache-control', 'no-store').send(await registry.metrics())
  })
}

// A reverse proxy of this machine connects from loopback as well, and says for whom.
function isFromThisMachine({ raw, headers }: FastifyRequest): boolean {
  const peer = (raw.socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  return isLoopback(peer) && headers['x-forwarded-for'] === undefined && headers['forwarded'] === undefined && headers['via'] === undefined
}

async function listenApart(app: FastifyInstance, host: string, port: number, read: () => Promise<string>, type: string): Promise<void> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    if (request.method !== 'GET' || request.url?.split('?', 1)[0] !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    read().then(
      (text) => response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(text),
      (error: unknown) => {
        app.log.error({ err: error }, 'the metrics could not be read')
        response.writeHead(500).end()
      }
    )
  })
  server.listen(port, host)
  await once(server, 'listening') // or the start fails
  app.addHook('onClose', async () => {
    server.closeAllConnections()
    server.close()
  })
}

export default fp(metrics, { name: 'metrics' })
