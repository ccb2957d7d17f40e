import type { FastifyInstance, RouteShorthandOptions } from 'fastify'

/**
 * The options of a route whose requests would fill the log: only failures are written. Not
 * Fastify's `logLevel`, which builds the log methods of each request's own logger again and costs
 * as much as a check. Here the parent logger has the level.
 */
export function logOnlyFailures({
  log
}: FastifyInstance): Pick<RouteShorthandOptions, 'childLoggerFactory'> {
  // The whole log is already as quiet, or quieter.
  if (['warn', 'error', 'fatal', 'silent'].includes(log.level)) return {}
  const parent = log.child({}, { level: 'warn' })
  return {
    childLoggerFactory: (_logger, bindings, { serializers }) =>
      parent.child(bindings, serializers ? { serializers } : {})
  }
}
