import type { FastifyInstance } from 'fastify'
import type { Holdfast } from '../../src/holdfast.js'
import bodyHeaders from '../http/body-headers.js'
import errors from '../errors.js'
import { sendNotFound } from '../limits/not-found.js'
import type { FastPath } from '../fast-path/fast-path.js'
import gateway from '../gateway.js'
import type { PagesOptions } from '../pages/options.js'
import pages, { notFoundPage } from '../pages/pages.js'
import { pageSettings } from '../pages/settings.js'
import { addGuards } from '../guard.js'
import metrics from '../metrics/metrics.js'
import openapi from '../openapi.js'
import { noteMethods } from '../http/other-methods.js'
import rateLimit, { openCounts } from '../limits/rate-limit.js'
import refusedPreflights from './auth/refused-origins.js'
import requestHeaders from '../http/request-headers.js'
import accountEvents from './account/account-events.js'
import auth from './auth/auth.js'
import health from './health/health.js'
import introspection from './introspection/introspection.js'
import sessionCheck from './session-check/session-check.js'
import sessions from './sessions/sessions.js'
import token from './token/token.js'
import verify from './verify/verify.js'
import wellKnown, { insertedWellKnown } from './well-known/well-known.js'
import security from '../security.js'
import tracing from '../tracing/tracing.js'
import trustedProxy from '../trusted-proxy.js'
import { TrustedProxies } from '../http/client-address.js'

declare module '../host-application/plugin-options.js' {
  interface PluginOptions {
    /**
     * The fast path of the stand-alone server, or null where there is none. In an application,
     * `addGuest` has its own.
     */
    fastPath?: FastPath | null
  }
}

export interface AllRoutesOptions {
  holdfast: Holdfast
  fastPath: FastPath | null
  /** The pages for people. Null where there are none. */
  pages: PagesOptions | null
  /** Whether no other application has routes on our paths. Then they answer every method. */
  isAlone: boolean
  /** How many headers of a request the server takes before it drops the rest. */
  mostHeaders: () => number
}

/**
 * Adds every route of Holdfast, with what they share, to a Fastify that has no others: the
 * stand-alone server, or the one inside an application.
 */
export async function addAllRoutes(
  app: FastifyInstance,
  { holdfast, fastPath, pages: pagesOptions, isAlone, mostHeaders }: AllRoutesOptions
): Promise<void> {
  const { config, prefix } = holdfast
  const people = pagesOptions && pageSettings(holdfast, pagesOptions)
  app.decorate('holdfast', holdfast)
  app.addHook('onSend', (request, reply, _payload, done) => {
    // Fastify sets this header with a body that is too long. HTTP/2 does not have it (RFC 9113
    // 8.2.2).
    if (request.raw.httpVersionMajor > 1) reply.removeHeader('connection')
    // While draining, a kept connection could be closed under the client's next request.
    else if (holdfast.draining) reply.header('connection', 'close')
    done()
  })
  fastPath?.drainWhen(() => holdfast.draining)
  const counts = openCounts(app, holdfast)
  app.decorate('budgets', counts?.budgets ?? null)
  addGuards(app, holdfast)
  await app.register(
    async (scope) => {
      await scope.register(requestHeaders, { mostHeaders })
      await scope.register(trustedProxy, { proxies: new TrustedProxies(config.trustedProxies) })
      await scope.register(errors)
      await scope.register(tracing, { config })
      await scope.register(metrics, { holdfast, fastPath })
      await scope.register(openapi, { holdfast, prefix })
      await scope.register(rateLimit, { counts })
      await scope.register(gateway, { holdfast })
      await scope.register(async (nowhere) => {
        await nowhere.register(security, { config: { ...config, trustedOrigins: [] } })
        nowhere.setNotFoundHandler(people && isAlone ? notFoundPage(people) : sendNotFound)
      })
      // Routes for browsers. Gateways' routes are outside of this scope, without CORS.
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
      if (people) {
        await scope.register(async (scopeOfPages) => {
          await scopeOfPages.register(bodyHeaders)
          await scopeOfPages.register(pages, { settings: people, isAlone })
        })
      }
      await scope.register(verify, { holdfast, fastPath })
      await scope.register(async (others) => {
        await others.register(bodyHeaders)
        const refuseOthers = noteMethods(others)
        await others.register(introspection, { holdfast, fastPath })
        await others.register(sessionCheck, { holdfast, fastPath })
        await others.register(health, { holdfast })
        await others.register(wellKnown, { holdfast })
        if (isAlone) refuseOthers()
      })
    },
    { prefix }
  )
  // RFC 8414 puts an issuer's path behind the well-known name, which is outside the prefix.
  if (prefix !== '') await app.register(insertedWellKnown, { holdfast })
}
