// What stands behind the proxies of the other examples: it answers with the request headers that reached it, over HTTP and over WebSocket.
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

const port = Number(process.env.PORT ?? 4000)
const describe = ({ method, url, headers }) => JSON.stringify({ port, method, url, headers })

const server = createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(describe(request))
})

server.on('upgrade', (request, socket) => {
  const protocol = String(request.headers.upgrade).toLowerCase()
  if (protocol !== 'websocket') {
    socket.end('HTTP/1.1 501 Not Implemented\r\nConnection: close\r\n\r\n')
    return
  }
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  socket.on('error', () => socket.destroy()).on('end', () => socket.end())
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
  socket.write(textFrame(describe(request)))
  socket.on('data', (data) => socket.write(textFrame(`${data.length} bytes`)))
})

function textFrame(text) {
  const payload = Buffer.from(text)
  const head = payload.length < 126 ? Buffer.from([0x81, payload.length]) : Buffer.from([0x81, 126, payload.length >> 8, payload.length & 0xff])
  return Buffer.concat([head, payload])
}

server.listen(port, process.env.HOST ?? '127.0.0.1')
