import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { build } from '../support/server.js'
import { until } from '../support/poll.js'

interface Sent {
  resourceSpans: {
    scopeSpans: {
      spans: {
        traceId: string
        parentSpanId?: string
        name: string
        attributes: { key: string; value: Record<string, unknown> }[]
      }[]
    }[]
  }[]
}

t.test(
  'a request is a span of the trace that it names, and what the client sent is not in it',
  async (t) => {
    const received: string[] = []
    const collector = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.once('end', () => {
        received.push(Buffer.concat(chunks).toString())
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      })
    }).listen(0, '127.0.0.1')
    await once(collector, 'listening')
    t.teardown(() => {
      collector.closeAllConnections()
      collector.close()
    })
    const { url } = await build(t, {
      otlpEndpoint: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
    })
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    await fetch(`${url}/session?secret=hunter2`, {
      headers: {
        traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
        authorization: 'Bearer hst1_hunter2'
      }
    })
    await fetch(`${url}/sessions/hunter2/events`)
    const sent = () =>
      received
        .flatMap((body) => (JSON.parse(body) as Sent).resourceSpans)
        .flatMap(({ scopeSpans }) => scopeSpans)
        .flatMap((scope) => scope.spans)
    const spans = await until('both spans to be sent', () => (sent().length >= 2 ? sent() : null))
    const span = spans.find(({ name }) => name === 'GET /session')
    t.match(span, { traceId, parentSpanId: '00f067aa0ba902b7' })
    t.match(span?.attributes.find(({ key }) => key === 'http.response.status_code')?.value, {
      intValue: 401
    })
    t.ok(spans.some(({ name }) => name === 'GET /sessions/:id/events'))
    t.notMatch(received.join(''), 'hunter2')
  }
)

t.test('a collector that is down affects no request', async (t) => {
  const { url } = await build(t, { otlpEndpoint: 'http://127.0.0.1:9' })
  t.equal((await fetch(`${url}/health/live`)).status, 200)
})

t.test('without the setting nothing is loaded', (t) => {
  const source = `
    await import(${JSON.stringify(new URL('../../src/server/app.js', import.meta.url).href)})
    const { Module } = await import('node:module')
    const loaded = (name) => Object.keys(Module._cache).some((path) => path.includes(name))
    process.stdout.write(JSON.stringify([loaded('prom-client'), loaded('exporter-trace-otlp')]))`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    encoding: 'utf8'
  })
  t.strictSame(JSON.parse(stdout), [true, false])
  t.end()
})
