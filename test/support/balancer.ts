import { once } from 'node:events'
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A reverse proxy that rotates among the servers that are ready. */
export interface Balancer {
  readonly url: string
  /** Whether a server gets requests now. */
  inService(url: string): boolean
  close(): Promise<void>
}

/** How often each server is asked whether it is ready. */
const PROBE_MS = 100

/**
 * Starts a balancer in front of `servers`. It keeps connections, and asks `/health/ready`. It tries
 * another server only where no connection could be made, which is before anything was sent. A
 * request that is lost on the way is answered 502.
 */
export async function startBalancer(servers: readonly string[]): Promise<Balancer> {
  const agent = new Agent({ keepAlive: true })
  const ready = new Set<string>()
  const probe = async (url: string) => {
    const ok = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(1_000) }).then(
      (answer) => answer.ok,
      () => false
    )
    if (ok) ready.add(url)
    else ready.delete(url)
  }
  await Promise.all(servers.map(probe))
  const timer = setInterval(() => {
    for (const url of servers) void probe(url)
  }, PROBE_MS)
  let turn = 0

  function forward(
    incoming: IncomingMessage,
    body: Buffer,
    outgoing: ServerResponse,
    tried: readonly string[]
  ): void {
    const candidates = servers.filter((url) => ready.has(url) && !tried.includes(url))
    const url = candidates[turn++ % candidates.length]
    if (url === undefined) {
      outgoing.writeHead(502).end('no server is ready')
      return
    }
    const onward = request(
      url + (incoming.url ?? '/'),
      { method: incoming.method ?? 'GET', headers: incoming.headers, agent },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      }
    )
    onward.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') forward(incoming, body, outgoing, [...tried, url])
      else if (!outgoing.headersSent) outgoing.writeHead(502).end(String(error.code))
    })
    onward.end(body)
  }

  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.once('end', () => forward(incoming, Buffer.concat(chunks), outgoing, []))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    inService: (url) => ready.has(url),
    async close() {
      clearInterval(timer)
      agent.destroy()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}
