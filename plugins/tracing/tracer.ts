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

/** Spans of requests, sent in batches. A collector that is away costs spans, and no request. */
export interface Tracer {
  begin(
    request: object,
    headers: IncomingHttpHeaders,
    method: string,
    route: string | undefined
  ): void
  end(request: object, status: number): void
  /** Sends what has not been sent. */
  close(): Promise<void>
}

/** Opens a tracer of its own: an application around us may have another as its global one. */
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
      // The route and not the path: tokens travel in paths of links that were mailed.
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
    // the collector is away: there is nobody to tell
    close: () => provider.shutdown().catch(() => {})
  }
}
