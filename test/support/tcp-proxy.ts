import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export type Direction = 'toServer' | 'toClient'

/** One connection through a TCP proxy. */
export interface Wire {
  /** The beginning of what the client has sent, which tells what the connection is for. */
  sent: string
  /** For filters to mark the connection. */
  marked: boolean
}

/**
 * Decides about a piece of traffic. In the text the name of a prepared statement is followed by its
 * SQL. `hold` stops this direction of this connection until the next `release`.
 */
export type Filter = (text: string, direction: Direction, wire: Wire) => 'pass' | 'hold'

interface OpenWire extends Wire {
  near: Socket
  far: Socket
  queues: Record<Direction, { chunk: Buffer; text: string }[]>
  /** The SQL of PostgreSQL's prepared statements, by name. */
  statements: Map<string, string>
}

const SENT_LIMIT = 8_192

/**
 * The TCP proxy between one node and one service. It can be cut, connected to another server, and
 * can hold traffic piece by piece. It never loses or reorders what it lets pass, as TCP would not.
 */
export class TcpProxy {
  readonly #wires = new Set<OpenWire>()
  readonly #server: Server
  #target: number
  #isCut = false
  #delayMs = 0
  #filter: Filter | null = null
  readonly #listeners = new Set<(text: string) => void>()

  private constructor(target: number) {
    this.#target = target
    this.#server = createServer((near) => this.#accept(near))
  }

  /** Opens a proxy to a port of loopback. */
  static async to(target: number): Promise<TcpProxy> {
    const line = new TcpProxy(target)
    line.#server.listen(0, '127.0.0.1')
    await once(line.#server, 'listening')
    return line
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Breaks every connection and refuses new ones until `mend`. */
  cut(): void {
    this.#isCut = true
    this.#break(() => true)
  }

  mend(): void {
    this.#isCut = false
  }

  /** Breaks connections. Clients that connect again reach the other server. */
  leadTo(target: number, which: (wire: Wire) => boolean = () => true): void {
    this.#target = target
    this.#break(which)
  }

  /** Sets a filter for everything that passes from now on, beginning with what is held. */
  watch(filter: Filter | null): void {
    this.#filter = filter
    for (const wire of this.#wires) {
      this.#pump(wire, 'toServer')
      this.#pump(wire, 'toClient')
    }
  }

  /** Delays both directions, for connections that are made from now on. */
  delay(ms: number): void {
    this.#delayMs = ms
  }

  /**
   * Observes everything that comes in, whatever the filter decides.
   *
   * @returns how to stop it
   */
  listen(listener: (text: string) => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Lets everything pass, beginning with what was held. */
  release(): void {
    this.watch(null)
  }

  /** How many pieces are held now. */
  get held(): number {
    let held = 0
    for (const { queues } of this.#wires) held += queues.toServer.length + queues.toClient.length
    return held
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(near: Socket): void {
    near.on('error', () => {})
    if (this.#isCut) {
      near.destroy()
      return
    }
    const far = connect({ host: '127.0.0.1', port: this.#target, noDelay: true })
    near.setNoDelay(true)
    const wire: OpenWire = {
      near,
      far,
      sent: '',
      marked: false,
      queues: { toServer: [], toClient: [] },
      statements: new Map()
    }
    this.#wires.add(wire)
    // Timers of one length end in the order in which they began.
    const later =
      this.#delayMs > 0
        ? (step: () => void) => {
            setTimeout(step, this.#delayMs)
          }
        : (step: () => void) => step()
    near.on('data', (chunk: Buffer) => {
      if (wire.sent.length < SENT_LIMIT) wire.sent += chunk.toString('latin1')
      later(() => this.#take(wire, 'toServer', chunk))
    })
    far.on('data', (chunk: Buffer) => later(() => this.#take(wire, 'toClient', chunk)))
    far.on('error', () => {})
    for (const socket of [near, far]) {
      socket.once('close', () => {
        this.#wires.delete(wire)
        near.destroy()
        far.destroy()
      })
    }
  }

  #take(wire: OpenWire, direction: Direction, chunk: Buffer): void {
    const text =
      chunk.toString('latin1') +
      (direction === 'toServer' ? namedIn(chunk.toString('latin1'), wire.statements) : '')
    for (const listener of this.#listeners) listener(text)
    wire.queues[direction].push({ chunk, text })
    this.#pump(wire, direction)
  }

  #pump(wire: OpenWire, direction: Direction): void {
    const queue = wire.queues[direction]
    const to = direction === 'toServer' ? wire.far : wire.near
    for (let piece = queue[0]; piece; piece = queue[0]) {
      if (this.#filter?.(piece.text, direction, wire) === 'hold') return
      queue.shift()
      to.write(piece.chunk)
    }
  }

  #break(which: (wire: Wire) => boolean): void {
    for (const wire of this.#wires) {
      if (!which(wire)) continue
      wire.near.destroy()
      wire.far.destroy()
    }
  }
}

// PostgreSQL's messages Parse ("P", length, name, SQL) and Bind ("B", length, portal, name): the
// SQL goes over the wire once.
function namedIn(text: string, statements: Map<string, string>): string {
  for (const [, name = '', sql = ''] of text.matchAll(/P[^]{4}(holdfast_[0-9a-f]+)\0([^\0]*)\0/g))
    statements.set(name, sql)
  return [...text.matchAll(/B[^]{4}\0(holdfast_[0-9a-f]+)\0/g)]
    .map(([, name = '']) => statements.get(name) ?? '')
    .join(' ')
}

/** Whether a connection to Redis is the one that carries a node's subscription. */
export function isSubscription(wire: Wire): boolean {
  return /\bs?subscribe\r\n/i.test(wire.sent)
}
