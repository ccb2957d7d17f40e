import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A gate between a server and a service. Shut, it breaks open connections and refuses new ones. */
export interface Gate {
  port: number
  shut(): void
  open(): void
  close(): Promise<void>
}

/** Listens on a free port of loopback and forwards everything to `host`:`targetPort`. */
export async function openGate(host: string, targetPort: number): Promise<Gate> {
  const sockets = new Set<Socket>()
  let isOpen = true
  const server = createServer((client) => {
    if (!isOpen) return client.destroy()
    const target = connect(targetPort, host)
    for (const socket of [client, target]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        target.destroy()
      })
    }
    return client.pipe(target).pipe(client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const shut = () => {
    isOpen = false
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    shut,
    open: () => {
      isOpen = true
    },
    async close() {
      shut()
      server.close()
      await once(server, 'close')
    }
  }
}
