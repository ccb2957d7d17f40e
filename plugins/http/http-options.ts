import type { Server } from 'node:http'
import type { FastifyHttpOptions, FastifyServerOptions } from 'fastify'
import { appErrorForStatus } from '../../src/errors.js'
import { beginError, sendError } from './send-error.js'

/** Below this stand the routes that ignore what follows the roles. */
export const VERIFY_FOR = '/verify/for/'

/**
 * How requests to Holdfast's routes are read: their limits, paths and validation. The same in the
 * stand-alone server and inside an application, whose own options are for its own routes.
 *
 * @param prefix below which the routes hang
 */
export function httpOptions(prefix: string): FastifyHttpOptions<Server> {
  // An address that has no route because it is none. A proxy that asks may pass a body on: it gets
  // none.
  const frameworkErrors: FastifyServerOptions['frameworkErrors'] = (error, request, reply) => {
    const refusal = appErrorForStatus(error.statusCode ?? 400)
    if (request.url.startsWith(prefix + VERIFY_FOR)) beginError(reply, refusal).send()
    else sendError(request, reply, refusal)
  }
  return {
    bodyLimit: 64 * 1024,
    // The first start makes an embedded store, which takes as long as the machine needs.
    pluginTimeout: 0,
    // While draining, requests on open connections are answered, and told to close them.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    frameworkErrors
  }
}
