import { once } from 'node:events'
import { Agent, request as request1, type IncomingMessage } from 'node:http'
import { connect, type ClientHttp2Session } from 'node:http2'
import { text } from 'node:stream/consumers'

/** A request as it is sent: nothing is added to it. */
export interface Sent {
  method: string
  path: string
  headers?: Record<string, string>
  body?: string
}

export interface Received {
  status: number
  headers: Record<string, string | string[]>
  body: string
}

/** Speaks HTTP with one server. */
export interface Client {
  readonly url: string
  send(sent: Sent): Promise<Received>
  close(): void
}

/** Speaks HTTP/1.1. Paths and methods that `fetch` would correct are sent unchanged. */
export function overHttp1(url: string): Client {
  const agent = new Agent({ keepAlive: true })
  return {
    url,
    async send({ method, path, headers = {}, body }) {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      const outgoing = request1(url, { method, path, agent, headers: { ...length, ...headers } })
      outgoing.end(body)
      const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
      return {
        status: incoming.statusCode ?? 0,
        headers: incoming.headers as Received['headers'],
        body: await text(incoming)
      }
    },
    close: () => agent.destroy()
  }
}

/** Speaks HTTP/2 without TLS. It never announces the length of a body. */
export function overHttp2(url: string): Client {
  let session: ClientHttp2Session | null = null
  return {
    url,
    async send({ method, path, headers = {}, body }) {
      if (!session || session.closed) session = connect(url)
      const stream = session.request(
        { ':method': method, ':path': path, ...headers },
        { endStream: body === undefined }
      )
      if (body !== undefined) stream.end(body)
      const [incoming] = (await once(stream, 'response')) as [Record<string, string | string[]>]
      const { ':status': status, ...rest } = incoming
      return { status: Number(status), headers: rest, body: await text(stream) }
    },
    close: () => session?.destroy()
  }
}
