import { randomUUID } from 'node:crypto'
import type { Server } from 'node:http'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyRequest,
  type FastifyServerOptions
} from 'fastify'
import { v7 as uuidV7 } from 'uuid'
import holdfast from '../../plugins/holdfast.js'
import { describeAnswer } from '../../plugins/http/answer-facts.js'
import { FastPath } from '../../plugins/fast-path/fast-path.js'
import { httpOptions, VERIFY_FOR } from '../../plugins/http/http-options.js'
import { questionKey } from '../../plugins/routes/verify/verify.js'
import { TrustedProxies } from '../../plugins/http/client-address.js'
import type { Config } from '../config.js'
import { reportError } from '../error-report.js'
import { toProblem, appErrorForStatus } from '../errors.js'

export { serveWorkersMetrics } from '../../plugins/metrics/metrics.js'

export interface AppOptions {
  /** A logger to use instead of one that writes to stdout. */
  logger?: FastifyBaseLogger
  /** Called when the store cannot be used with this configuration. */
  onUnfit?: (error: Error) => void
}

/**
 * Builds the stand-alone server: a Fastify application with the one plugin in it. It does not
 * listen yet.
 */
export async function buildApp(
  config: Config,
  { logger, onUnfit }: AppOptions = {}
): Promise<FastifyInstance> {
  const proxies = new TrustedProxies(config.trustedProxies)
  const serializers = {
    req: (request: FastifyRequest) => describeRequest(request, proxies),
    res: describeAnswer,
    err: reportError
  }
  const app = Fastify({
    ...(logger
      ? { loggerInstance: logger.child({}, { serializers }) }
      : { logger: { level: config.logLevel, serializers } }),
    ...httpOptions(''),
    // Not a time-ordered id: its random bytes would cost a tenth of a check, and requests are never
    // sorted by it.
    genReqId: () => randomUUID(),
    requestTimeout: 30_000,
    keepAliveTimeout: config.keepAliveTimeoutSeconds * 1_000,
    http: { headersTimeout: 10_000, maxHeaderSize: config.maxHeaderBytes },
    rewriteUrl: ({ url = '/' }) => questionKey(toOriginForm(url), VERIFY_FOR),
    clientErrorHandler: refuseMalformed
  } as FastifyHttpOptions<Server>) as unknown as FastifyInstance
  // Node would silently drop headers past this number, so our own code counts them.
  app.server.maxHeadersCount = 0
  // Hooks make the spans, and no hook sees a request that the fast path answers.
  const fastPath = config.otlpEndpoint === undefined ? new FastPath() : null
  fastPath?.install(app.server)
  app.addHook('preClose', async () => fastPath?.close())
  await app.register(holdfast, { ...config, fastPath, ...(onUnfit ? { onUnfit } : {}) })
  return app
}

/** Reduces a whole address (RFC 9112 3.2.2) to its path: `Host` has already named the host. */
function toOriginForm(url: string): string {
  return url.startsWith('/') ? url : url.replace(/^https?:\/\/[^/?#]*(?=\/)/i, '')
}

/**
 * A request in the log: never its headers, and never its query, which may contain one-time tokens.
 */
function describeRequest(
  { method, url, raw }: FastifyRequest,
  proxies: TrustedProxies
): Record<string, unknown> {
  return { method, path: url.split('?', 1)[0], remoteAddress: proxies.addressOf(raw) }
}

/** Answers requests that Node's parser refused. */
const refuseMalformed: FastifyServerOptions['clientErrorHandler'] = (error, socket) => {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const refusal = appErrorForStatus(
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 431
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 408
        : 400
  )
  const problem = toProblem(refusal, uuidV7())
  const body = JSON.stringify(problem)
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
  )
}
