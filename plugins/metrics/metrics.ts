import cluster from 'node:cluster'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { FastifyInstance, FastifyRequest, onResponseHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { AggregatorRegistry, Registry } from 'prom-client'
import { isLoopback, parseAddress } from '../../src/address.js'
import type { Config } from '../../src/config.js'
import { errorLine, reportError } from '../../src/error-report.js'
import { AppError } from '../../src/errors.js'
import { listenProblem } from '../../src/listen-problem.js'
import type { Holdfast } from '../../src/holdfast.js'
import { hostFrom } from '../http/credential.js'
import type { FastPath } from '../fast-path/fast-path.js'
import { createMetrics, NO_ROUTE } from './prometheus.js'

/**
 * Counts the requests of Holdfast's routes, and serves `/metrics`: on METRICS_PORT where it is set,
 * else on the main port of a server that only this machine can reach. A server with a public
 * address has a proxy in front, and may not be able to tell a proxied request from a local one.
 */
async function metrics(
  app: FastifyInstance,
  { holdfast, fastPath }: { holdfast: Holdfast; fastPath: FastPath | null }
): Promise<void> {
  const { metricsPort, metricsHost } = holdfast.config
  const { registry, note } = createMetrics(holdfast)
  fastPath?.noteTo(note)
  const noting =
    (url: string): onResponseHookHandler =>
    (request, reply, done) => {
      // Fastify's clock started only when the fast path handed the request on.
      const waitedMs = fastPath?.handedOn(request.raw)?.waitedMs ?? 0
      note(request.method, url, reply.statusCode, (waitedMs + reply.elapsedTime) / 1000)
      done()
    }
  // Not one hook for all routes: asking a request for its route creates an object each time.
  app.addHook('onRoute', (route) => {
    route.onResponse = [noting(route.url), ...[route.onResponse ?? []].flat()]
  })
  const notingNoRoute = noting(NO_ROUTE)
  app.addHook('onResponse', function (request, reply, done) {
    if (request.is404) notingNoRoute.call(this, request, reply, done)
    else done()
  })
  const isWorker = holdfast.config.workers > 1 && cluster.isWorker
  if (isWorker) answerSupervisor(registry)
  if (metricsPort !== undefined) {
    if (isWorker) return
    const close = await listenApart(
      metricsHost,
      metricsPort,
      () => registry.metrics(),
      (error) => app.log.error({ err: reportError(error) }, 'the metrics could not be read')
    )
    app.addHook('onClose', async () => close())
    return
  }
  if (!isForThisMachine(holdfast.config)) return
  app.get('/metrics', { schema: { hide: true } }, async (request, reply) => {
    if (!isFromThisMachine(request)) throw new AppError('not_found')
    return reply
      .type(registry.contentType)
      .header('cache-control', 'no-store')
      .send(await registry.metrics())
  })
}

function isForThisMachine({ host, baseUrl }: Config): boolean {
  return isLoopback(host) && isLoopback(new URL(baseUrl).hostname)
}

// A reverse proxy on this machine also connects from loopback, and sends a forwarding header. A web
// page whose name was bound to loopback (DNS rebinding) sends its name as the host.
function isFromThisMachine({ raw, headers }: FastifyRequest): boolean {
  const isForwarded = ['x-forwarded-for', 'forwarded', 'via'].some(
    (name) => headers[name] !== undefined
  )
  const named = `http://${hostFrom({ headers }) ?? ''}`
  const host = URL.canParse(named) ? new URL(named).hostname : ''
  return (
    isLoopback(parseAddress(raw.socket.remoteAddress ?? '') ?? '') &&
    isLoopback(host) &&
    !isForwarded
  )
}

/** The supervisor process asks each worker, and serves the sums. */
function answerSupervisor(registry: Registry): void {
  AggregatorRegistry.setRegistries(registry)
  void new AggregatorRegistry() // the constructor starts listening
}

/**
 * Serves the metrics of all workers, summed up, from the supervisor process.
 *
 * @returns how to stop it
 */
export function serveWorkersMetrics(host: string, port: number): Promise<() => void> {
  const workers = new AggregatorRegistry()
  return listenApart(
    host,
    port,
    () => workers.clusterMetrics(),
    (error) => {
      process.stderr.write(`holdfast: the metrics could not be read: ${errorLine(error)}\n`)
    }
  )
}

async function listenApart(
  host: string,
  port: number,
  read: () => Promise<string>,
  onError: (error: unknown) => void
): Promise<() => void> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    if (request.method !== 'GET' || request.url?.split('?', 1)[0] !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    read().then(
      (text) =>
        response
          .writeHead(200, {
            'content-type': Registry.PROMETHEUS_CONTENT_TYPE,
            'cache-control': 'no-store'
          })
          .end(text),
      (error: unknown) => {
        onError(error)
        response.writeHead(500).end()
      }
    )
  })
  server.listen(port, host)
  await once(server, 'listening').catch((error: unknown) => {
    throw listenProblem(error, { host, port }, ['METRICS_HOST', 'METRICS_PORT'])
  })
  return () => {
    server.closeAllConnections()
    server.close()
  }
}

export default fp(metrics, { name: 'metrics' })
