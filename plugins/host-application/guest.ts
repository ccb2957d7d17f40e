import { randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  type RouteOptions
} from 'fastify'
import type { Holdfast } from '../../src/holdfast.js'
import type { PagesOptions } from '../pages/options.js'
import { addAllRoutes } from '../routes/all-routes.js'
import { describeAnswer } from '../http/answer-facts.js'
import { FastPath } from '../fast-path/fast-path.js'
import { httpOptions, VERIFY_FOR } from '../http/http-options.js'
import { maxHeadersFrom } from '../http/request-headers.js'
import { questionKey } from '../routes/verify/verify.js'
import { restateCors } from '../security.js'

export interface GuestOptions {
  holdfast: Holdfast
  /**
   * Whether every path below `holdfast.prefix` is Holdfast's; else only the paths of its routes.
   */
  ownsPrefix: boolean
  /** The pages for people. Null where there are none. */
  pages: PagesOptions | null
}

/**
 * Adds Holdfast to an application as its guest. The routes are those of an inner Fastify, which
 * routes of the application on the same paths pass requests to. So neither sees the other's
 * parsers, compilers, serializers, schemas, decorators, options, error handlers and hooks, in
 * whatever order they were added. Two things of the application run before: its `onRequest` hooks,
 * with what they limit or refuse, and its router. Its `onResponse` hooks run after.
 */
export async function addGuest(
  app: FastifyInstance,
  { holdfast, ownsPrefix, pages }: GuestOptions
): Promise<void> {
  const {
    prefix,
    config,
    auth: { trustedOrigins }
  } = holdfast
  const mostHeaders = () => maxHeadersFrom(app.server)
  const requests = new WeakMap<IncomingMessage, FastifyRequest>()
  const inner = Fastify({
    ...httpOptions(prefix),
    ...asLoggedBy(app.log, requests)
  }) as unknown as FastifyInstance
  // Hooks make the spans, and no hook sees a request that the fast path answers.
  const fastPath = config.otlpEndpoint === undefined ? new FastPath(mostHeaders) : null
  const listen: RequestListener = (request, response) => inner.routing(request, response)
  fastPath?.handOnTo(listen)
  const answer = fastPath?.listen ?? listen
  const paths = notePaths(inner)
  await addAllRoutes(inner, { holdfast, fastPath, pages, isAlone: ownsPrefix, mostHeaders })
  await inner.ready()
  app.addHook('preClose', async () => fastPath?.close())
  app.addHook('onClose', () => inner.close())

  /** Runs after every hook of the application, and before its parsers. */
  const onRequest = (request: FastifyRequest, reply: FastifyReply): void => {
    const { raw } = request
    requests.set(raw, request)
    // where a hook has replaced the headers
    if (request.headers !== raw.headers) Object.assign(raw.headers, request.headers)
    reply.hijack()
    clear(reply.raw)
    answer(raw, reply.raw)
  }
  /**
   * The application answered in our place. We still answer a preflight, and a refusal has only our
   * CORS headers.
   */
  const onSend = (
    request: FastifyRequest,
    reply: FastifyReply,
    payload: unknown,
    done: (error: null, payload: unknown) => void
  ): void => {
    if (request.method === 'OPTIONS') return onRequest(request, reply)
    restateCors(request, reply, trustedOrigins)
    done(null, payload)
  }
  await app.register(async (scope) => {
    const relative = (url: string) => url.slice(scope.prefix.length)
    const supported = new Set(scope.supportedMethods)
    // Added last, because the application's own `onRoute` hooks add to each route, and our hook
    // ends the request.
    scope.addHook('onRoute', (route) => {
      route.onRequest = [...[route.onRequest ?? []].flat(), onRequest]
      route.onSend = [...[route.onSend ?? []].flat(), onSend]
    })
    for (const [url, { methods, ...options }] of ownPaths(paths, prefix, ownsPrefix)) {
      if (!isBelow(url, scope.prefix)) continue
      const method = [...methods].filter((each) => supported.has(each))
      if (method.length > 0)
        scope.route({
          ...options,
          method,
          url: relative(url),
          exposeHeadRoute: false,
          schema: { hide: true },
          handler: answeredBefore
        })
    }
    // Methods that the application's router does not know (WebDAV) arrive at its not-found handler.
    await scope.register(
      async (rest) => {
        rest.setNotFoundHandler({ onRequest, onSend } as object, answeredBefore)
      },
      { prefix: relative(ownsPrefix ? prefix : `${prefix}/verify`) }
    )
  }, describingAnswers(app))
  readOddTails(app.server, prefix + VERIFY_FOR)
}

/**
 * The application's log, with the ids of its requests. The application writes the request lines
 * itself.
 */
function asLoggedBy(
  log: FastifyBaseLogger,
  requests: WeakMap<IncomingMessage, FastifyRequest>
): FastifyHttpOptions<Server> {
  const childLoggerFactory: FastifyServerOptions['childLoggerFactory'] = (
    _logger,
    _bindings,
    _options,
    raw
  ) => requests.get(raw)?.log ?? log
  return {
    loggerInstance: log,
    childLoggerFactory,
    // Pages call the API inside the process, and such a call has no request of the application.
    genReqId: (raw) => requests.get(raw)?.id ?? randomUUID(),
    ...noLines()
  }
}

/** The property under which pino keeps a logger's serializers. */
const SERIALIZERS = Symbol.for('pino.serializers')

/** Adds the cause of a refusal to the request lines in the application's log. */
function describingAnswers({ log }: FastifyInstance): {
  logSerializers: { res: (reply: FastifyReply) => string }
} {
  const { res } =
    (log as unknown as Record<symbol, { res?: unknown } | undefined>)[SERIALIZERS] ?? {}
  const describe: (reply: FastifyReply) => object = (reply) => ({
    ...(typeof res === 'function' ? (res(reply) as object) : {}),
    ...describeAnswer(reply)
  })
  // Fastify's types allow only serializers that return text. pino takes any value.
  return { logSerializers: { res: describe as unknown as (reply: FastifyReply) => string } }
}

/**
 * Turns request lines off. Before Fastify 5.10 the option has another name, which later versions
 * warn about.
 */
function noLines(): object {
  const { LogController } = Fastify as Partial<Pick<typeof Fastify, 'LogController'>>
  return LogController
    ? { logController: new LogController({ disableRequestLogging: true }) }
    : { disableRequestLogging: true }
}

/** A path of Holdfast, for a route in the application. */
interface Path extends Pick<RouteOptions, 'childLoggerFactory'> {
  methods: Set<string>
}

/**
 * Collects the paths of the routes that are added from now on. The inner router decides what a
 * parameter may be and how long.
 */
function notePaths(inner: FastifyInstance): Map<string, Path> {
  const paths = new Map<string, Path>()
  inner.addHook('onRoute', ({ url, method, childLoggerFactory }) => {
    if (/[^/]\*$/.test(url) || url === '*') return // preflights of any path
    const path = url === '/' ? url : url.replace(/\/(:.*)?$/, '/*')
    const known = paths.get(path) ?? {
      methods: new Set<string>(),
      ...(childLoggerFactory ? { childLoggerFactory } : {})
    }
    for (const each of [method].flat()) known.methods.add(each)
    paths.set(path, known)
  })
  return paths
}

/**
 * The paths that are Holdfast's in an application: everything below its prefix; without a prefix
 * the paths of its routes, with their preflights.
 */
function ownPaths(
  paths: ReadonlyMap<string, Path>,
  prefix: string,
  ownsPrefix: boolean
): Map<string, Path> {
  const own = new Map(paths)
  if (ownsPrefix) own.set(`${prefix}/*`, { methods: allMethods })
  else for (const { methods } of own.values()) methods.add('OPTIONS')
  return own
}

const allMethods = new Set([
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE'
])

function isBelow(url: string, prefix: string): boolean {
  return prefix === '' || url === prefix || url.startsWith(`${prefix}/`)
}

/**
 * Removes the headers that hooks of the application have set. `Connection` stays: it is about the
 * socket, and Fastify sets it while closing.
 */
function clear(response: ServerResponse): void {
  response.statusCode = 200
  for (const name of response.getHeaderNames()) {
    if (name !== 'connection') response.removeHeader(name)
  }
}

/**
 * The ignored tail of an address may be invalid (`/100%`). Fastify would refuse such a request
 * before any hook or route, so an invalid tail is cut off.
 */
function readOddTails(server: Server, below: string): void {
  server.prependListener('request', (request: IncomingMessage) => {
    const { url = '' } = request
    if (url.includes('%', below.length) && url.startsWith(below) && !isReadable(url))
      request.url = questionKey(url, below)
  })
}

function isReadable(url: string): boolean {
  try {
    decodeURIComponent(url.split(/[?#]/, 1)[0] ?? '')
    return true
  } catch {
    return false
  }
}

function answeredBefore(): never {
  throw new Error('answered before')
}
