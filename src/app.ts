import { randomUUID } from 'node:crypto'
import type { Server } from 'node:http'
import Fastify, { type FastifyBaseLogger, type FastifyHttpOptions, type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { v7 as uuidV7 } from 'uuid'
import holdfast from '../plugins/holdfast.js'
import security from '../plugins/security.js'
import { sendNotFound, sendRefusal } from '../plugins/errors.js'
import { FastPath } from '../plugins/fast-path.js'
import type { Config } from './config.js'
import { problemOf, refusalFor } from './errors.js'

export { serveWorkersMetrics } from '../plugins/metrics.js'

export interface AppOptions {
  /** A logger to use instead of one that writes to stdout. */
  logger?: FastifyBaseLogger
  /** Told that the store cannot be worked on with this configuration. */
  onUnfit?: (error: Error) => void
}

/** Builds the stand-alone server: a Fastify application with the one plugin in it. It does not listen yet. */
export async function buildApp(config: Config, { logger, onUnfit }: AppOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({
    ...(logger ? { loggerInstance: logger } : { logger: { level: config.logLevel, serializers: { req: describeRequest } } }),
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    // Not a time-ordered id: its random bytes would cost a tenth of a check, and nobody sorts requests by it.
    genReqId: () => randomUUID(),
    bodyLimit: 64 * 1024,
    requestTimeout: 30_000,
    http: { headersTimeout: 10_000, maxHeaderSize: 16 * 1024 },
    // The first start makes an embedded store, which takes as long as the machine needs.
    pluginTimeout: 0,
    // While draining, requests on open connections are answered, and told to close them.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    frameworkErrors: (error, request, reply) => { sendRefusal(request, reply, refusalFor(error.statusCode ?? 400)) },
    clientErrorHandler: refuseMalformed
  } as FastifyHttpOptions<Server>) as unknown as FastifyInstance
  await app.register(async (nowhere) => {
    await nowhere.register(security, { config: { ...config, trustedOrigins: [] } })
    nowhere.setNotFoundHandler(sendNotFound)
  })
  // Spans are made by hooks, which see no request that is answered ahead of them.
  const fastPath = config.otlpEndpoint === undefined ? new FastPath() : null
  fastPath?.install(app.server)
  app.addHook('preClose', async () => fastPath?.close())
  await app.register(holdfast, { ...config, fastPath, ...(onUnfit ? { onUnfit } : {}) })
  return app
}

/** A request in the log: never its headers, and never its query, where one-time tokens travel. */
function describeRequest(request: FastifyRequest): Record<string, unknown> {
  return { method: request.method, path: request.url.split('?', 1)[0], remoteAddress: request.ip }
}

/** Answers what Node's parser refused before there was a request. */
const refuseMalformed: FastifyServerOptions['clientErrorHandler'] = (error, socket) => {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const refusal = refusalFor(error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400)
  const problem = problemOf(refusal, uuidV7())
  const body = JSON.stringify(problem)
  socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
}
