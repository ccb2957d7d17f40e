import type { IncomingHttpHeaders } from 'node:http'
import {
  defaultTextMapGetter,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type Span
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'

/**
 * Makes spans of requests and sends them in batches. When the collector is down, spans are lost,
 * but no request fails.
 */
export interface Tracer {
  begin(
    request: object,
    headers: IncomingHttpHeaders,
    method: string,
    route: string | undefined
  ): void
  end(request: object, status: number): void
  /** Sends the remaining spans. */
  close(): Promise<void>
}

/** Opens its own tracer, because a host application may have another one as its global. */
export function openTracer(endpoint: string): Tracer {
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    timeoutMillis: 5_000
  })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'holdfast' }),
    spanProcessors: [new BatchSpanProcessor(exporter)]
  })
  const tracer = provider.getTracer('holdfast')
  const propagator = new W3CTraceContextPropagator()
  const spans = new WeakMap<object, Span>()
  return {
    begin(request, headers, method, route) {
      const parent = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter)
      // The route and not the path: mailed links have tokens in their paths.
      const attributes = {
        'http.request.method': method,
        ...(route === undefined ? {} : { 'http.route': route })
      }
      spans.set(
        request,
        tracer.startSpan(
          route === undefined ? method : `${method} ${route}`,
          { kind: SpanKind.SERVER, attributes },
          parent
        )
      )
    },
    end(request, status) {
      const span = spans.get(request)
      if (!span) return
      spans.delete(request)
      span.setAttribute('http.response.status_code', status)
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
    },
    // The collector is down: the rest is lost.
    close: () => provider.shutdown().catch(() => {})
  }
}
