// What stands behind the proxies of the other examples: it answers with the request headers that reached it.
import { createServer } from 'node:http'

const port = Number(process.env.PORT ?? 4000)
createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }))
}).listen(port, '127.0.0.1')
