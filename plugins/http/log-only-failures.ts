import type { FastifyInstance, RouteShorthandOptions } from 'fastify'

/**
 * The options of a route whose every request would fill the log: of its requests only what went
 * wrong is written. Not Fastify's `logLevel`: with it the log methods of each request's own logger
 * are built anew, which costs as much as a check. Here their parent has the level.
 */
export function quiet({ log }: FastifyInstance): Pick<RouteShorthandOptions, 'childLoggerFactory'> {
  // Where the whole log is as quiet, or more so, there is nothing to do.
  if (['warn', 'error', 'fatal', 'silent'].includes(log.level)) return {}
  const parent = log.child({}, { level: 'warn' })
  return {
    childLoggerFactory: (_logger, bindings, { serializers }) =>
      parent.child(bindings, serializers ? { serializers } : {})
  }
}
