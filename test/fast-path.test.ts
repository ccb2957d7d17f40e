import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { FastPath } from '../plugins/fast-path.js'
import holdfast from '../plugins/holdfast.js'
import type { HoldfastOptions } from '../src/config.js'
import { accessTokenOf } from './families.js'
import { build, freshStore, signUp, type Person } from './helper.js'
import { freePort } from './services/ports.js'

interface Watched {
  app: FastifyInstance
  url: string
  fastPath: FastPath
  /** The paths of requests that Fastify has seen. */
  seen: string[]
}

/** A server with the fast path in front, and a hook that sees what comes through to Fastify. */
async function watched(t: Test, options: HoldfastOptions = {}): Promise<Watched> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const app = Fastify()
  const fastPath = new FastPath()
  fastPath.install(app.server)
  const seen: string[] = []
  app.addHook('onRequest', async (request) => { seen.push(request.url) })
  await app.register(holdfast, { ...await freshStore(t), baseUrl: url, port, rateLimit: false, fastPath, ...options })
  t.teardown(() => app.close())
  await app.listen({ host: '127.0.0.1', port })
  return { app, url, fastPath, seen }
}

async function verify({ url, seen }: Watched, bearer: string, path = '/verify'): Promise<{ status: number, sessionId: string | null, byFastify: boolean }> {
  seen.length = 0
  const { status, headers } = await fetch(url + path, { headers: { authorization: `Bearer ${bearer}` } })
  return { status, sessionId: headers.get('x-session-id'), byFastify: seen.includes(path) }
}

t.test('a yes to a question that was read before does not enter Fastify, and nothing else stays outside', async (t) => {
  const server = await watched(t)
  const ada = await signUp(server.url)
  const cookie = [...ada.browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const yes = { status: 200, sessionId: ada.sessionId }
  for (const path of ['/verify', '/verify?role=user', '/verify/for/user', '/verify/for/user/orders/7?page=2']) {
    t.match(await verify(server, ada.bearer, path), { ...yes, byFastify: true }, path)
    t.match(await verify(server, ada.bearer, path), { ...yes, byFastify: false }, path)
  }
  t.match(await verify(server, ada.bearer, '/verify/for/user/another/path'), { ...yes, byFastify: false }, 'the tail is ignored')
  t.match(await verify(server, ada.bearer, '/verify/for/user/%zz'), { status: 400 }, 'an address that is none is refused as ever')
  t.match(await verify(server, await accessTokenOf(server, ada.sessionId)), { ...yes, byFastify: false })
  server.seen.length = 0
  t.equal((await fetch(`${server.url}/verify`, { headers: { cookie } })).headers.get('x-session-id'), ada.sessionId)
  t.strictSame(server.seen, [])

  t.match(await verify(server, 'hst1_nonsense'), { status: 401, byFastify: true })
  t.match(await verify(server, ada.bearer, '/verify?role=admin'), { status: 403, byFastify: true })
  t.match(await verify(server, ada.bearer, '/verify?role=admin'), { status: 403, byFastify: true })
  t.match(await verify(server, ada.bearer, '/verify/for/admin'), { status: 403, byFastify: true })
  t.match(await verify(server, ada.bearer, '/verify?rol=user'), { status: 400, byFastify: true })
  t.match(await verify(server, ada.bearer, '/verify?rol=user'), { status: 400, byFastify: true })

  await ada.browser.post('/api/auth/sign-out')
  t.match(await verify(server, ada.bearer), { status: 401, byFastify: true })
})

t.test('many at once are answered each with its own', async (t) => {
  const server = await watched(t)
  const people: Person[] = []
  for (let i = 0; i < 12; i++) people.push(await signUp(server.url))
  await verify(server, people[0]?.bearer ?? '')
  const asked = Array.from({ length: 300 }, (_one, index) => people[index % (people.length + 1)] ?? null)
  const answers = await Promise.all(asked.map(async (person) => {
    const { status, headers } = await fetch(`${server.url}/verify`, { headers: { authorization: `Bearer ${person?.bearer ?? 'hst1_nonsense'}` } })
    return { status, sessionId: headers.get('x-session-id') }
  }))
  t.strictSame(answers, asked.map((person) => (person ? { status: 200, sessionId: person.sessionId } : { status: 401, sessionId: null })))
})

t.test('whoever must be asked is asked once', async (t) => {
  const server = await watched(t, { localCache: false })
  const [ada, bob] = [await signUp(server.url), await signUp(server.url)]
  await verify(server, ada.bearer)
  await bob.browser.post('/api/auth/sign-out')
  const { checks } = server.app.holdfast.tally
  const asked = () => [checks.shared, checks.store].flatMap((layer) => Object.values(layer)).reduce((sum, count) => sum + count, 0)
  for (const [person, answer] of [[ada, { status: 200, byFastify: false }], [bob, { status: 401, byFastify: true }]] as const) {
    const before = asked()
    t.match(await verify(server, person.bearer), answer)
    t.equal(asked() - before, 1)
  }
})

t.test('on the way out nothing is taken: Fastify closes the connections', async (t) => {
  const server = await watched(t)
  const ada = await signUp(server.url)
  await verify(server, ada.bearer)
  t.match(await verify(server, ada.bearer), { byFastify: false })
  server.fastPath.close()
  t.match(await verify(server, ada.bearer), { status: 200, byFastify: true })

  const stopping = await build(t)
  const bob = await signUp(stopping.url)
  const ask = () => fetch(`${stopping.url}/verify`, { headers: { authorization: `Bearer ${bob.bearer}` } })
  for (let i = 0; i < 2; i++) t.equal((await ask()).headers.get('connection'), 'keep-alive')
  stopping.app.holdfast.drain()
  t.equal((await ask()).headers.get('connection'), 'close')
})

t.test('metrics count what does not enter Fastify', async (t) => {
  const running = await build(t)
  const ada = await signUp(running.url)
  for (let i = 0; i < 5; i++) await fetch(`${running.url}/verify`, { headers: { authorization: `Bearer ${ada.bearer}` } })
  const metrics = await (await fetch(`${running.url}/metrics`)).text()
  t.match(metrics, /holdfast_http_request_duration_seconds_count\{method="GET",route="\/verify",status="200"\} 5\n/)
})
