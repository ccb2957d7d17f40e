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
import { addAllRoutes } from '../routes/all-routes.js'
import { describeAnswer } from '../http/answer-facts.js'
import { FastPath } from '../fast-path/fast-path.js'
import { httpOptions } from '../http/http-options.js'
import { mostHeadersOf } from '../http/request-headers.js'
import { VERIFY_FOR } from '../http/http-options.js'
import { questionKey } from '../routes/verify/verify.js'
import { restateCors } from '../security.js'

export interface GuestOptions {
  holdfast: Holdfast
  /** Whether all below `holdfast.prefix` is Holdfast's; else the paths that it has. */
  ownsPrefix: boolean
}

/**
 * Adds Holdfast to an application as its guest. The routes are those of a Fastify inside, which is
 * asked by routes of the application on the same paths. So neither sees the other's parsers,
 * compilers, serializers, schemas, decorators, options, error handlers and hooks, whatever was
 * added first. Two things of the application come before: its `onRequest` hooks, and with them what
 * it limits or refuses, and its router. And one comes after: its `onResponse` hooks.
 */
export async function addGuest(
  app: FastifyInstance,
  { holdfast, ownsPrefix }: GuestOptions
): Promise<void> {
  const {
    prefix,
    config,
    auth: { trustedOrigins }
  } = holdfast
  const mostHeaders = () => mostHeadersOf(app.server)
  const requests = new WeakMap<IncomingMessage, FastifyRequest>()
  const inner = Fastify({
    ...httpOptions(prefix),
    ...asLoggedBy(app.log, requests)
  }) as unknown as FastifyInstance
  // Spans are made by hooks, which see no request that is answered ahead of them.
  const fastPath = config.otlpEndpoint === undefined ? new FastPath(mostHeaders) : null
  const listen: RequestListener = (request, response) => inner.routing(request, response)
  fastPath?.handOnTo(listen)
  const answer = fastPath?.listen ?? listen
  const paths = notePaths(inner)
  await addAllRoutes(inner, { holdfast, fastPath, isAlone: ownsPrefix, mostHeaders })
  await inner.ready()
  app.addHook('preClose', async () => fastPath?.close())
  app.addHook('onClose', () => inner.close())

  /** After every hook of the application, and ahead of its parsers. */
  const onRequest = (request: FastifyRequest, reply: FastifyReply): void => {
    const { raw } = request
    requests.set(raw, request)
    // where a hook has set others
    if (request.headers !== raw.headers) Object.assign(raw.headers, request.headers)
    reply.hijack()
    clear(reply.raw)
    answer(raw, reply.raw)
  }
  /**
   * An answer of the application in our place: a preflight is ours to answer all the same, and a
   * refusal says nothing of CORS but what we say.
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
    // The application's own hooks of this kind add to each route, too: ours come after those, for
    // they end it.
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
    // What the application's router has no method for (WebDAV) comes to where nothing is found.
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
 * The application's log, with the ids of its requests; it writes the lines about requests itself.
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
    genReqId: (raw) => String(requests.get(raw)?.id),
    ...noLines()
  }
}

/** Where pino keeps the serializers of a logger. */
const SERIALIZERS = Symbol.for('pino.serializers')

/** In the log of the application, too, the line about a refusal has its cause. */
function describingAnswers({ log }: FastifyInstance): {
  logSerializers: { res: (reply: FastifyReply) => string }
} {
  const { res } =
    (log as unknown as Record<symbol, { res?: unknown } | undefined>)[SERIALIZERS] ?? {}
  const describe: (reply: FastifyReply) => object = (reply) => ({
    ...(typeof res === 'function' ? (res(reply) as object) : {}),
    ...describeAnswer(reply)
  })
  // Fastify's types know serializers that make text; pino takes any value.
  return { logSerializers: { res: describe as unknown as (reply: FastifyReply) => string } }
}

/** Before Fastify 5.10 there is another option for it, which warns after. */
function noLines(): object {
  const { LogController } = Fastify as Partial<Pick<typeof Fastify, 'LogController'>>
  return LogController
    ? { logController: new LogController({ disableRequestLogging: true }) }
    : { disableRequestLogging: true }
}

/** A path of Holdfast, as an application is asked for it. */
interface Path extends Pick<RouteOptions, 'childLoggerFactory'> {
  methods: Set<string>
}

/**
 * Collects the paths of the routes that are added from now on. What a parameter may be, and how
 * long, is for the router inside to say.
 */
function notePaths(inner: FastifyInstance): Map<string, Path> {
  const paths = new Map<string, Path>()
  inner.addHook('onRoute', ({ url, method, childLoggerFactory }) => {
    if (/[^/]\*$/.test(url) || url === '*') return // preflights, wherever they go
    const path = url.replace(/\/(:.*)?$/, '/*')
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
 * What is Holdfast's in an application: below its prefix everything, without one what it has, with
 * its preflights.
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
 * Takes what hooks of the application have written on an answer off it again. `Connection` is about
 * the socket, and Fastify's word on its way out.
 */
function clear(response: ServerResponse): void {
  response.statusCode = 200
  for (const name of response.getHeaderNames()) {
    if (name !== 'connection') response.removeHeader(name)
  }
}

/**
 * The tail of a question about another address may be no address at all (`/100%`). Fastify would
 * refuse it before there is a hook or a route, although it is ignored: such a one is taken off.
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
