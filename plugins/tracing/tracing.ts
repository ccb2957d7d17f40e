import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../../src/config.js'

/**
 * A span for each request, where OTEL_EXPORTER_OTLP_ENDPOINT is set. Otherwise OpenTelemetry is not
 * even loaded.
 */
async function tracing(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  if (config.otlpEndpoint === undefined) return
  const { openTracer } = await import('./tracer.js')
  const tracer = openTracer(config.otlpEndpoint)
  app.addHook('onRequest', (request, _reply, done) => {
    tracer.begin(request, request.headers, request.method, request.routeOptions.url)
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    tracer.end(request, reply.statusCode)
    done()
  })
  // A client that disconnects gets no response, and its span must still end.
  app.addHook('onRequestAbort', (request, done) => {
    tracer.end(request, 499)
    done()
  })
  app.addHook('onClose', () => tracer.close())
}

export default fp(tracing, { name: 'tracing' })
