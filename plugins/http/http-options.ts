import type { Server } from 'node:http'
import type { FastifyHttpOptions, FastifyServerOptions } from 'fastify'
import { appErrorForStatus } from '../../src/errors.js'
import { beginError, sendError } from './send-error.js'

/** The routes below this ignore the path after the roles. */
export const VERIFY_FOR = '/verify/for/'

/**
 * Fastify's options for Holdfast's routes: limits, paths and validation. They are the same in the
 * stand-alone server and inside an application, whose own options apply to its own routes.
 *
 * @param prefix below which the routes are
 */
export function httpOptions(prefix: string): FastifyHttpOptions<Server> {
  // The address is invalid, so there is no route. A proxy that asks may pass a body on, so this
  // answer has none.
  const frameworkErrors: FastifyServerOptions['frameworkErrors'] = (error, request, reply) => {
    const refusal = appErrorForStatus(error.statusCode ?? 400)
    if (request.url.startsWith(prefix + VERIFY_FOR)) beginError(reply, refusal).send()
    else sendError(request, reply, refusal)
  }
  return {
    bodyLimit: 64 * 1024,
    // The first start creates an embedded store, which may take long on a slow machine.
    pluginTimeout: 0,
    // While draining, requests on open connections are still answered, with a header that closes
    // them.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    frameworkErrors
  }
}
