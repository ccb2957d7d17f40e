import type { FastifyInstance, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { ConfigError, refuseForeignVariables, resolveConfig, type HoldfastOptions } from '../src/config.js'
import type { Protections } from '../src/cache/protections.js'
import { errorLine, redact, reportError } from '../src/error-report.js'
import { openHoldfast, type Holdfast } from '../src/holdfast.js'
import { describeAnswer } from './answer-facts.js'
import bodyHeaders from './body-headers.js'
import errors from './errors.js'
import type { FastPath } from './fast-path.js'
import gateway from './gateway.js'
import guard from './guard.js'
import { openCodec } from './jwt.js'
import metrics from './metrics.js'
import openapi from './openapi.js'
import { noteMethods } from './other-methods.js'
import rateLimit, { openCounts } from './rate-limit.js'
import refusedPreflights from './refused-origins.js'
import requestHeaders from './request-headers.js'
import accountEvents from './routes/account-events.js'
import auth from './routes/auth.js'
import health from './routes/health.js'
import introspection from './routes/introspection.js'
import sessionCheck from './routes/session-check.js'
import sessions from './routes/sessions.js'
import token from './routes/token.js'
import verify from './routes/verify.js'
import wellKnown, { insertedWellKnown } from './routes/well-known.js'
import security from './security.js'
import tracing from './tracing.js'
import trustedProxy, { TrustedProxies } from './trusted-proxy.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Holdfast without HTTP: its reader answers whether a credential stands for an active session. */
    holdfast: Holdfast
  }
}

export interface PluginOptions extends HoldfastOptions {
  /** Where the routes hang, such as `/identity`. Sessions' cookies keep the path `/`. */
  prefix?: string
  /** Told that the store cannot be worked on with this configuration; by default it is logged. */
  onUnfit?: (error: Error) => void
  /** For the tests of the cache alone: steps of its protocol to leave out. */
  protections?: Protections
  /** For the stand-alone server: where checks may be answered ahead of Fastify, whose hooks do not see them. */
  fastPath?: FastPath | null
}

/**
 * The whole server as one Fastify plugin: `app.register(holdfast, options)`. The application around it gets `requireSession` and
 * `requireRole(…)` for its own routes; Holdfast's routes, their errors and parsers stay in a scope of their own below `prefix`.
 */
async function holdfastPlugin(app: FastifyInstance, { prefix: below = '', onUnfit, protections, fastPath, ...options }: PluginOptions): Promise<void> {
  refuseForeignVariables(process.env)
  const prefix = below.replace(/\/+$/, '')
  if (prefix !== '' && !prefix.startsWith('/')) throw new ConfigError(`prefix: must begin with a slash (it is ${JSON.stringify(below)})`)
  const config = resolveConfig(options)
  const holdfast = await openHoldfast(config, app.prefix + prefix, {
    onDebug: (message) => app.log.debug(redact(message)),
    onWarning: (message, details) => app.log.warn(details === null ? {} : { err: reportError(details) }, redact(message)),
    onError: (message, error) => app.log.error({ err: reportError(error) }, message),
    onUnfit: (error) => { app.log.fatal(errorLine(error)); onUnfit?.(error) }
  }, { protections, openCodec })
  app.addHook('onClose', () => holdfast.close())
  app.decorate('holdfast', holdfast)
  // On the way out, a connection that is kept would be closed under somebody's next request.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (holdfast.draining) reply.header('connection', 'close')
    done()
  })
  fastPath?.drainWhen(() => holdfast.draining)
  const counts = openCounts(app, holdfast)
  app.decorate('budgets', counts?.budgets ?? null)
  await app.register(guard, { holdfast })
  // Else a path of ours may be one of the application around us as well, by another method.
  const isAlone = prefix !== '' || fastPath !== undefined
  await app.register(async (scope) => {
    await scope.register(requestHeaders)
    await scope.register(trustedProxy, { proxies: new TrustedProxies(config.trustedProxies) })
    await scope.register(errors)
    await scope.register(tracing, { config })
    await scope.register(metrics, { holdfast, fastPath: fastPath ?? null })
    await scope.register(openapi, { holdfast, prefix: app.prefix + prefix })
    await scope.register(rateLimit, { counts })
    await scope.register(gateway, { holdfast })
    // What browsers may ask. Gateways' routes stand beside it: no CORS there.
    await scope.register(async (web) => {
      await web.register(refusedPreflights, { holdfast })
      await web.register(security, { config })
      await web.register(bodyHeaders)
      const refuseOthers = noteMethods(web)
      await web.register(auth, { holdfast })
      await web.register(sessions, { holdfast })
      await web.register(accountEvents, { holdfast })
      await web.register(token, { holdfast })
      if (isAlone) refuseOthers()
    })
    await scope.register(verify, { holdfast, fastPath: fastPath ?? null })
    await scope.register(async (others) => {
      await others.register(bodyHeaders)
      const refuseOthers = noteMethods(others)
      await others.register(introspection, { holdfast, fastPath: fastPath ?? null })
      await others.register(sessionCheck, { holdfast, fastPath: fastPath ?? null })
      await others.register(health, { holdfast })
      await others.register(wellKnown, { holdfast })
      if (isAlone) refuseOthers()
    })
  }, { prefix, ...(fastPath === undefined ? describedIn(app) : {}) })
  // RFC 8414 puts an issuer's path behind the well-known name, which is outside the prefix.
  if (prefix !== '' && app.prefix === '') await app.register(insertedWellKnown, { holdfast })
}

/** Where pino keeps the serializers of a logger. */
const SERIALIZERS = Symbol.for('pino.serializers')

/** In the log of a host application, too, the line about a refusal has its cause. The stand-alone server's own logger sees to that by itself. */
function describedIn({ log }: FastifyInstance): { logSerializers: { res: (reply: FastifyReply) => string } } {
  const { res } = (log as unknown as Record<symbol, { res?: unknown } | undefined>)[SERIALIZERS] ?? {}
  const describe: (reply: FastifyReply) => object = (reply) => ({ ...(typeof res === 'function' ? res(reply) as object : {}), ...describeAnswer(reply) })
  // Fastify's types know serializers that make text; pino takes any value.
  return { logSerializers: { res: describe as unknown as (reply: FastifyReply) => string } }
}

export type { Check, Session, User } from '../src/session/session.js'
export type { Holdfast, HoldfastOptions }
export default fp(holdfastPlugin, { name: 'holdfast', fastify: '5.x' })
