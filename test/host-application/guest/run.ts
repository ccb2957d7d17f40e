import { once } from 'node:events'
import { createServer } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import holdfast, { identityOf, type HoldfastOptions } from 'holdfast'
import { overHttp1, overHttp2, type Client, type Received } from './client.js'
import { hosts, type Host } from './hosts.js'
import { gateway, journey, trustedOrigin, type Step } from './journey.js'

/*
 * Runs Holdfast inside one application after another, as the installed package: this file is in a
 * project of its own. It takes the applications' names, and writes a line of JSON for each order in
 * which each of them was put together.
 */
export interface Visit {
  host: string
  /** Which was registered first. `alone` is the application without Holdfast. */
  first: 'host' | 'holdfast' | 'alone'
  journey: Step[]
  /** The answers of the application's guarded route: without a session, and with one. */
  guarded: string[]
  /** The answers of the application's own routes. */
  own: string[]
}

const store = JSON.parse(process.env['STORE'] ?? '{}') as HoldfastOptions
const PREFIX = '/identity'

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

async function visit(host: Host, first: Visit['first']): Promise<Visit> {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const app = Fastify({ pluginTimeout: 120_000, ...host.options }) as unknown as FastifyInstance
  if (first === 'host') await host.setUp(app)
  if (first !== 'alone') {
    await app.register(holdfast, {
      ...store,
      prefix: PREFIX,
      baseUrl,
      port,
      rateLimit: false,
      trustedOrigins: [trustedOrigin],
      gatewayClients: [`${gateway.id}:${gateway.secret}`]
    })
  }
  if (first !== 'host') await host.setUp(app)
  await host.addRoutes?.(app)
  app.get('/own', async (request) => ({ query: request.query, id: typeof request.id }))
  app.get('/own/failing', async () => {
    throw new Error('the host failed')
  })
  if (first !== 'alone')
    app.get(
      '/guarded',
      { preHandler: app.requireSession, schema: { hide: true } },
      async (request) => ({ name: identityOf(request).user.name })
    )
  await app.listen({ host: '127.0.0.1', port })
  const client = host.http2 ? overHttp2(baseUrl) : overHttp1(baseUrl)
  try {
    const seen: Visit = {
      host: host.name,
      first,
      ...(first === 'alone' ? { journey: [], guarded: [] } : await stay(client, first)),
      own: []
    }
    const own = [
      { method: 'GET', path: '/own?a=1' },
      { method: 'GET', path: '/own/failing' },
      { method: 'GET', path: '/own/nothing' },
      { method: 'PROPFIND', path: '/own' },
      ...(host.requests ?? [])
    ]
    for (const sent of own)
      seen.own.push(`${sent.method} ${sent.path} ${shown(await client.send(sent), baseUrl)}`)
    return seen
  } finally {
    client.close()
    await app.close()
  }
}

async function stay(
  client: Client,
  first: Visit['first']
): Promise<Pick<Visit, 'journey' | 'guarded'>> {
  const guarded: string[] = []
  const ask = async (headers: Record<string, string>) => {
    const { status, body } = await client.send({ method: 'GET', path: '/guarded', headers })
    guarded.push(`${status} ${body}`)
  }
  await ask({})
  return {
    journey: await journey(client, PREFIX, { onSignedIn: ask, document: first === 'host' }),
    guarded
  }
}

function shown(
  {
    status,
    headers: { date: _date, etag: _etag, 'last-modified': _modified, ...headers },
    body
  }: Received,
  url: string
): string {
  return `${status} ${JSON.stringify(headers)} ${body}`
    .replaceAll(url, 'URL')
    .replaceAll(new URL(url).host, 'HOST')
    .replace(/sessionId=[^;]+/, 'sessionId=…')
    .replaceAll(/(x-ratelimit-(?:remaining|reset)":")\d+/g, '$1…')
}

for (const name of process.argv.slice(2)) {
  const host = hosts.find((each) => each.name === name)
  if (!host) throw new Error(`there is no application ${name}`)
  for (const first of ['alone', 'host', 'holdfast'] as const)
    process.stdout.write(`${JSON.stringify(await visit(host, first))}\n`)
}
process.exit(0)
