import { createServer, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import formbody from '@fastify/formbody'
import helmet from '@fastify/helmet'
import httpProxy from '@fastify/http-proxy'
import jwt from '@fastify/jwt'
import multipart from '@fastify/multipart'
import rateLimit from '@fastify/rate-limit'
import session from '@fastify/session'
import serveStatic from '@fastify/static'
import swagger from '@fastify/swagger'
import websocket from '@fastify/websocket'
import type { FastifyError, FastifyInstance } from 'fastify'
import {
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler
} from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Sent } from './client.js'

/** An application that registers Holdfast. */
export interface Host {
  name: string
  /** Fastify's options. */
  options?: object
  http2?: boolean
  /** What it does before or after Holdfast is registered. */
  setUp(app: FastifyInstance): unknown
  /** Its own routes, beside those that all have. */
  addRoutes?(app: FastifyInstance): unknown
  /** Requests to its own routes. */
  requests?: readonly Sent[]
}

const json = { 'content-type': 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const post = (path: string, body: string, headers: Record<string, string>): Sent => ({
  method: 'POST',
  path,
  body,
  headers
})
const echo = (app: FastifyInstance) =>
  app.post('/own/echo', async (request) => ({ body: request.body ?? null }))
const preflight: Sent = {
  method: 'OPTIONS',
  path: '/own',
  headers: { origin: 'https://evil.example', 'access-control-request-method': 'GET' }
}
const elsewhere: Sent = { method: 'GET', path: '/own', headers: { origin: 'https://evil.example' } }

/** A server that answers with the path of each request that a proxy sends it. */
async function upstream(app: FastifyInstance): Promise<string> {
  const server = createServer((request: IncomingMessage, response) => {
    response.end(`upstream ${request.method} ${request.url}`)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  app.addHook('onClose', async () => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

export const hosts: readonly Host[] = [
  {
    name: 'plain',
    setUp: () => {},
    addRoutes: echo,
    requests: [post('/own/echo', '{"a":1}', json), post('/own/echo', 'a=1', form)]
  },
  {
    name: 'cors',
    setUp: (app) =>
      app.register(cors, { origin: true, credentials: true, exposedHeaders: ['x-host'] }),
    requests: [preflight, elsewhere]
  },
  {
    name: 'cors, by hand',
    setUp: (app) =>
      app
        .addHook('onRequest', async (request, reply) => {
          const { origin = '*' } = request.headers
          reply.headers({
            'access-control-allow-origin': origin,
            'access-control-allow-credentials': 'true'
          })
          reply.raw
            .setHeader('access-control-allow-origin', origin)
            .setHeader('access-control-allow-credentials', 'true')
            .setHeader('x-host', 'raw').statusCode = 202
          if (request.method === 'OPTIONS') return reply.code(204).send()
          return undefined
        })
        .addHook('onSend', async (request, reply) => {
          reply.headers({
            'access-control-allow-origin': request.headers.origin ?? '*',
            'access-control-allow-credentials': 'true'
          })
        }),
    requests: [preflight, elsewhere]
  },
  {
    name: 'formbody',
    setUp: (app) => app.register(formbody),
    addRoutes: echo,
    requests: [post('/own/echo', 'a=1', form)]
  },
  {
    name: 'JSON parser',
    setUp: (app) => {
      app.removeContentTypeParser('application/json')
      app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) =>
        done(null, { wrapped: body })
      )
    },
    addRoutes: echo,
    requests: [post('/own/echo', '{"a":1}', json)]
  },
  {
    name: '* parser',
    setUp: (app) =>
      app.addContentTypeParser('*', (_request, payload, done) => {
        payload.resume()
        payload.on('end', () => done(null, 'anything'))
      }),
    addRoutes: echo,
    requests: [post('/own/echo', 'x', { 'content-type': 'text/odd' })]
  },
  {
    name: 'no parsers',
    setUp: (app) => app.removeAllContentTypeParsers(),
    addRoutes: echo,
    requests: [post('/own/echo', '{"a":1}', json)]
  },
  {
    name: 'zod',
    setUp: (app) =>
      app
        .setValidatorCompiler(validatorCompiler)
        .setSerializerCompiler(serializerCompiler)
        .register(swagger, {
          openapi: { info: { title: 'Host', version: '1' } },
          transform: jsonSchemaTransform
        }),
    addRoutes: (app) => {
      app.get(
        '/own/zod',
        {
          schema: {
            querystring: z.object({ n: z.coerce.number() }),
            response: { 200: z.object({ n: z.number() }) }
          }
        },
        async (request) => request.query
      )
      app.get('/own/document', { schema: { hide: true } }, async () =>
        JSON.stringify(app.swagger())
      )
    },
    requests: [
      { method: 'GET', path: '/own/zod?n=7' },
      { method: 'GET', path: '/own/zod?n=x' },
      { method: 'GET', path: '/own/document' }
    ]
  },
  {
    name: 'compilers',
    setUp: (app) =>
      app
        .setValidatorCompiler(() => () => ({ error: new Error('the host takes nothing') }))
        .setSerializerCompiler(() => () => '"the host"')
        .setSchemaErrorFormatter(() => new Error('the host formats'))
        .setSchemaController({
          bucket: () => ({ add: () => {}, getSchema: () => ({}), getSchemas: () => ({}) })
        } as never)
  },
  {
    name: 'reply serializer',
    setUp: (app) => app.setReplySerializer((payload) => `host:${JSON.stringify(payload)}`)
  },
  {
    name: 'preSerialization',
    setUp: (app) =>
      app.addHook('preSerialization', async (_request, _reply, payload) => ({ data: payload }))
  },
  {
    name: 'hooks',
    setUp: (app) =>
      app
        .addHook('onRequest', async (_request, reply) => {
          reply.header('x-host', 'onRequest').header('set-cookie', 'host=1').code(201)
        })
        .addHook('preParsing', async (_request, _reply, payload) => payload)
        .addHook('preValidation', async (request) => {
          if (request.url.startsWith('/identity')) throw new Error('preValidation of the host')
        })
        .addHook('preHandler', async (request, reply) => {
          if (request.url.startsWith('/identity'))
            return reply.code(418).send('preHandler of the host')
          return undefined
        })
        .addHook('onError', async (_request, reply) => {
          reply.header('x-host', 'onError')
        })
        .addHook('onSend', async (_request, _reply, payload) =>
          typeof payload === 'string' ? `${payload} and the host` : payload
        )
  },
  {
    name: 'swagger',
    setUp: (app) => app.register(swagger, { openapi: { info: { title: 'Host', version: '1' } } }),
    addRoutes: (app) => {
      app.addSchema({ $id: 'Session', type: 'object', properties: { mine: { type: 'string' } } })
      app.get('/own/thing', { schema: { response: { 200: { $ref: 'Session#' } } } }, async () => ({
        mine: 'x'
      }))
      app.all('/own/all', async (request) => request.method)
      app.get('/own/document', { schema: { hide: true } }, async () =>
        JSON.stringify(app.swagger())
      )
    },
    requests: [
      { method: 'GET', path: '/own/thing' },
      { method: 'GET', path: '/own/document' },
      { method: 'PROPFIND', path: '/own/all' }
    ]
  },
  {
    name: 'helmet',
    setUp: (app) =>
      app.register(helmet, {
        contentSecurityPolicy: { directives: { defaultSrc: ['https://host.example'] } }
      })
  },
  {
    name: 'cookie',
    setUp: (app) => app.register(cookie, { secret: 'a secret of the host', parseOptions: {} }),
    addRoutes: (app) =>
      app.get('/own/cookie', async (request, reply) =>
        reply.setCookie('host', '1', { signed: true }).send(request.cookies)
      ),
    requests: [{ method: 'GET', path: '/own/cookie', headers: { cookie: 'a=1; b=2' } }]
  },
  {
    name: 'jwt',
    setUp: (app) =>
      app.register(jwt, {
        secret: 'a secret of the host',
        cookie: { cookieName: 'token', signed: false }
      }),
    addRoutes: (app) => app.get('/own/jwt', async (request) => request.jwtVerify()),
    requests: [{ method: 'GET', path: '/own/jwt', headers: { authorization: 'Bearer x' } }]
  },
  {
    name: 'session',
    setUp: async (app) => {
      await app.register(cookie)
      await app.register(session, {
        secret: 'a secret of the host that is long enough',
        cookie: { secure: false },
        saveUninitialized: true
      })
    },
    addRoutes: (app) =>
      app.get('/own/session', async (request) => ({ id: typeof request.session.sessionId })),
    requests: [{ method: 'GET', path: '/own/session' }]
  },
  {
    name: 'multipart',
    setUp: (app) => app.register(multipart, { attachFieldsToBody: 'keyValues' }),
    addRoutes: echo,
    requests: [
      post('/own/echo', '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', {
        'content-type': 'multipart/form-data; boundary=x'
      })
    ]
  },
  {
    name: 'rate-limit',
    setUp: (app) => app.register(rateLimit, { max: 1_000, timeWindow: 3_600_000 })
  },
  {
    name: 'static',
    setUp: (app) =>
      app.register(serveStatic, {
        root: tmpdir(),
        prefix: '/',
        wildcard: true,
        decorateReply: true
      }),
    requests: [{ method: 'GET', path: '/no-such-file' }]
  },
  {
    name: 'http-proxy',
    setUp: async (app) =>
      app.register(httpProxy, { upstream: await upstream(app), prefix: '/', websocket: true }),
    requests: [{ method: 'GET', path: '/elsewhere' }, post('/elsewhere', '{"a":1}', json)]
  },
  {
    name: 'websocket',
    setUp: (app) => app.register(websocket),
    addRoutes: (app) =>
      app.register(async (scope) =>
        scope.get('/own/socket', { websocket: true }, (socket) => {
          socket.close()
        })
      ),
    requests: [{ method: 'GET', path: '/own/socket' }]
  },
  {
    name: 'http2',
    http2: true,
    options: { http2: true },
    setUp: () => {},
    addRoutes: echo,
    requests: [post('/own/echo', '{"a":1}', json)]
  },
  {
    name: 'names',
    setUp: (app) => {
      for (const name of [
        'budgets',
        'gateway',
        'forwardedRequest',
        'authenticateGateway',
        'requireGateway',
        'isStillRight',
        'questionOfGateway',
        'guard',
        'identity'
      ])
        app.decorate(name, `${name} of the host`)
      for (const name of ['identity', 'gateway', 'budgets', 'corsPreflightEnabled'])
        app.decorateRequest(name, null)
      app.addSchema({ $id: 'Problem', type: 'object' })
    },
    addRoutes: (app) =>
      app.get('/own/names', async (request) => [
        (app as unknown as Record<string, unknown>)['budgets'],
        'identity' in request ? request.identity : 'none'
      ]),
    requests: [{ method: 'GET', path: '/own/names' }]
  },
  {
    name: 'options',
    options: {
      bodyLimit: 16,
      maxParamLength: 10,
      caseSensitive: false,
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
      exposeHeadRoutes: false,
      requestIdHeader: 'x-request-id',
      requestIdLogLabel: 'id',
      trustProxy: true,
      onProtoPoisoning: 'remove',
      onConstructorPoisoning: 'remove',
      return503OnClosing: false,
      allowErrorHandlerOverride: true,
      genReqId: () => 7,
      ajv: { customOptions: { coerceTypes: 'array', removeAdditional: 'all', useDefaults: true } },
      serializerOpts: { rounding: 'ceil' },
      querystringParser: (text: string) => ({ text }),
      frameworkErrors: (
        _error: Error,
        _request: unknown,
        reply: { code(status: number): { send(payload: string): void } }
      ) => reply.code(400).send('framework error of the host'),
      childLoggerFactory: (logger: object) => logger
    },
    setUp: (app) =>
      app
        .setErrorHandler<FastifyError>((error, _request, reply) =>
          reply.code(error.statusCode ?? 500).send({ host: error.message })
        )
        .setNotFoundHandler((_request, reply) => reply.code(404).send({ host: 'nothing' }))
        .setGenReqId(() => 'id of the host'),
    addRoutes: echo,
    requests: [
      post('/own/echo', '{"a":1}', json),
      post('/own/echo', '{"a":"this is too long"}', json),
      { method: 'GET', path: '/OWN//' },
      { method: 'GET', path: '/own/%zz' }
    ]
  }
]
