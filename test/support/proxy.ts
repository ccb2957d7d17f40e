import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP proxy whose network can fail: connections stay open, and nothing arrives any more. */
export interface Proxy {
  readonly port: number
  /** From now on nothing passes, in either direction. */
  swallow(): void
  /** Delivers held traffic late, as TCP would repeat it. */
  deliver(): void
  /**
   * Connects new clients to another port and keeps the open connections, like a name whose address
   * changes.
   */
  leadTo(target: number): void
  close(): Promise<void>
}

/** Starts a proxy in front of a port of loopback. */
export async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>()
  let swallowing = false
  let current = target
  const server = createServer({ pauseOnConnect: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port: current })
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk: Buffer) => {
        to.write(chunk)
      })
      from.on('error', () => {})
      from.once('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      if (swallowing) from.pause()
      else from.resume()
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    swallow() {
      swallowing = true
      for (const socket of sockets) socket.pause()
    },
    deliver() {
      swallowing = false
      for (const socket of sockets) socket.resume()
    },
    leadTo(next) {
      current = next
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}
