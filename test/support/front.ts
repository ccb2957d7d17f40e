import { once } from 'node:events'
import { request as requestPlain, type ClientRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request, type RequestOptions } from 'node:https'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { hiddenFields } from './page-browser.js'
import { HOST, type Listening } from './proxies.js'

/** An answer that came through a proxy. */
export interface Reply {
  status: number
  headers: IncomingMessage['headers']
  body: string
}

/** A request as sent on the wire. */
export interface Sent {
  method?: string
  /** Names and values alternately, sent unchanged. */
  headers?: readonly string[]
  body?: string
  /** The value of `Host`. Absent: the name of the site. */
  host?: string
  /** The address of this machine to send it from. */
  from?: string
}

/**
 * The public side of a proxy: `https://app.example.com`, whatever its port here. The certificate is
 * verified, as a browser does.
 */
export class Front {
  readonly #host: string
  readonly #listening: Listening
  readonly #tls: ConnectionOptions

  /** @param cert the site's certificate, or the one that has signed it */
  constructor(listening: Listening, cert: string, host = HOST) {
    this.#host = host
    this.#listening = listening
    this.#tls = { host: '127.0.0.1', port: listening.port, servername: host, ca: cert }
  }

  get origin(): string {
    return `https://${this.#host}`
  }

  /** Sends a request over TLS, on a connection of its own. */
  send(path: string, sent: Sent = {}): Promise<Reply> {
    return answerOf(
      request({ ...this.#optionsOf(path, sent), ...this.#tls } as RequestOptions),
      sent.body
    )
  }

  /** Sends a request to the port without TLS. */
  sendPlain(path: string, sent: Sent = {}): Promise<Reply> {
    return answerOf(
      requestPlain({
        ...this.#optionsOf(path, sent),
        host: '127.0.0.1',
        port: this.#listening.plainPort
      }),
      sent.body
    )
  }

  /** Sends a request by HTTP/2, where a browser splits its cookies into fields (RFC 9113 8.2.3). */
  async sendHttp2(path: string, headers: Record<string, string | string[]>): Promise<Reply> {
    const client = connectHttp2(this.origin, {
      createConnection: () => connectTls({ ...this.#tls, ALPNProtocols: ['h2'] })
    })
    try {
      await once(client, 'connect')
      const stream = client.request({ ':path': path, ':authority': this.#host, ...headers })
      const [received] = (await once(stream, 'response')) as [Record<string, string>]
      return { status: Number(received[':status']), headers: received, body: await text(stream) }
    } finally {
      client.destroy()
    }
  }

  /**
   * Opens a WebSocket, and sends a text.
   *
   * @returns the answer and what came back through it, in one text
   */
  async openWebSocket(path: string, headers: readonly string[]): Promise<Reply> {
    const handshake = [
      'connection',
      'Upgrade',
      'upgrade',
      'websocket',
      'sec-websocket-key',
      'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-version',
      '13'
    ]
    const outgoing = request({
      ...this.#optionsOf(path, { headers: [...handshake, ...headers] }, []),
      ...this.#tls
    } as RequestOptions).end()
    const refused = once(outgoing, 'response').then(async ([response]) =>
      replyOf(response as IncomingMessage)
    )
    const opened = once(outgoing, 'upgrade').then(async (event) => {
      const [response, socket, head] = event as [IncomingMessage, Socket, Buffer]
      let heard = head.toString('latin1')
      socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
      socket.on('error', () => {})
      for await (const chunk of socket) {
        heard += (chunk as Buffer).toString('latin1')
        if (heard.includes('8 bytes')) break
      }
      socket.destroy()
      return { status: response.statusCode ?? 0, headers: response.headers, body: heard }
    })
    for (const answer of [refused, opened]) answer.catch(() => {})
    return Promise.race([refused, opened])
  }

  #optionsOf(
    path: string,
    { method = 'GET', headers = [], body = '', host = this.#host, from }: Sent,
    connection = ['connection', 'close']
  ): RequestOptions {
    return {
      method,
      path,
      agent: false,
      ...(from === undefined ? {} : { localAddress: from }),
      headers: [
        'host',
        host,
        ...connection,
        ...(body ? ['content-length', String(Buffer.byteLength(body))] : []),
        ...headers
      ]
    }
  }
}

async function answerOf(outgoing: ClientRequest, body = ''): Promise<Reply> {
  const [response] = (await once(outgoing.end(body), 'response')) as [IncomingMessage]
  return replyOf(response)
}

async function replyOf(response: IncomingMessage): Promise<Reply> {
  return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) }
}

/** A browser behind a proxy: it keeps cookies, and names the page that asks. */
export class FrontBrowser {
  readonly cookies = new Map<string, string>()
  readonly #front: Front

  constructor(front: Front) {
    this.#front = front
  }

  get cookie(): string[] {
    return this.cookies.size === 0
      ? []
      : ['cookie', [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')]
  }

  /** Opens a page. */
  open(path: string): Promise<Reply> {
    return this.#send(path, {
      headers: [
        'accept',
        'text/html,application/xhtml+xml',
        'sec-fetch-mode',
        'navigate',
        'sec-fetch-site',
        'none'
      ]
    })
  }

  /** Sends JSON from a page of the site. */
  post(
    path: string,
    body: unknown = {},
    headers: readonly string[] = [],
    from?: string
  ): Promise<Reply> {
    return this.#send(path, {
      method: 'POST',
      body: JSON.stringify(body),
      ...(from === undefined ? {} : { from }),
      headers: [
        'content-type',
        'application/json',
        'origin',
        this.#front.origin,
        'sec-fetch-site',
        'same-origin',
        ...headers
      ]
    })
  }

  /**
   * Opens a page, and sends the form on it, as `PageBrowser` does.
   *
   * @param action the path of the form; that of the page by default
   */
  async submit(
    path: string,
    fields: Record<string, string>,
    action = path,
    origin = this.#front.origin
  ): Promise<Reply> {
    const { status, body } = await this.open(path)
    const hidden = hiddenFields(body, action)
    if (!hidden) throw new Error(`${path} answered ${status} without a form for ${action}: ${body}`)
    return this.#send(action, {
      method: 'POST',
      body: new URLSearchParams({ ...hidden, ...fields }).toString(),
      headers: [
        'content-type',
        'application/x-www-form-urlencoded',
        'accept',
        'text/html,application/xhtml+xml',
        'origin',
        origin
      ]
    })
  }

  async #send(path: string, sent: Sent): Promise<Reply> {
    const reply = await this.#front.send(path, {
      ...sent,
      headers: [...(sent.headers ?? []), ...this.cookie]
    })
    for (const cookie of reply.headers['set-cookie'] ?? []) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      if (/max-age=0/i.test(cookie)) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return reply
  }
}
