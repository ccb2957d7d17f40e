import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import { Browser, build, freshStore, password, sessionState, signIn, signUp, start, storage } from './helper.js'
import { startBalancer } from './services/balancer.js'
import { openGate } from './services/gate.js'
import { until } from './services/poll.js'
import { freePort } from './services/ports.js'
import { runCli, startServer } from './services/server.js'

const onEmbedded = storage === 'embedded'
const production = { skip: onEmbedded && 'one process has an embedded store to itself' }

t.test('a server that drains is alive, not ready, and still serves', async (t) => {
  const { url, app } = await build(t)
  const { browser } = await signUp(url)
  t.equal((await fetch(`${url}/health/ready`)).status, 200)
  app.holdfast.drain()
  const ready = await fetch(`${url}/health/ready`)
  t.equal(ready.status, 503)
  t.match(await ready.json(), { cause: 'store_unavailable' })
  t.equal((await fetch(`${url}/health/live`)).status, 200)
  const answer = await browser.get('/session')
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('connection'), 'close', 'and tells clients to use another connection')
})

t.test('a server whose schema is behind is not ready', async (t) => {
  const { url, app } = await build(t)
  await app.holdfast.prisma.$executeRaw`DELETE FROM "_prisma_migrations" WHERE migration_name = (SELECT max(migration_name) FROM "_prisma_migrations")`
  t.equal((await fetch(`${url}/health/ready`)).status, 503)
  t.equal((await fetch(`${url}/health/live`)).status, 200)
})

t.test('a server without Redis is ready', production, async (t) => {
  const options = await freshStore(t)
  const redis = new URL(options.redisUrl ?? '')
  const gate = await openGate(redis.hostname, Number(redis.port))
  t.teardown(() => gate.close())
  const { url } = await start(t, { ...options, rateLimit: false, redisUrl: `redis://127.0.0.1:${gate.port}` })
  const { browser } = await signUp(url)
  gate.shut()
  t.equal((await fetch(`${url}/health/ready`)).status, 200)
  t.equal(await sessionState(browser), 'valid')
})

t.test('SIGTERM lets an open request end, and nobody waits where nobody asks about readiness', async (t) => {
  const server = await startServer(t, { ...await freshStore(t), drainDelayMs: 30_000 })
  const { email } = await signUp(server.url)
  const body = JSON.stringify({ email, password })
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  let answer = ''
  socket.on('data', (chunk: Buffer) => { answer += chunk.toString() })
  socket.write(`POST /api/auth/sign-in/email HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 5)}`)
  await until('the server to have seen the request', async () => (await fetch(`${server.url}/health/live`)).ok)
  const began = performance.now()
  const exited = server.kill('SIGTERM')
  socket.write(body.slice(5))
  await once(socket, 'close')
  t.match(answer, /^HTTP\/1\.1 200 /)
  t.equal(await exited, 0)
  t.ok(performance.now() - began < 15_000, 'the delay is for balancers')
})

t.test('no revocation waits for a server that was stopped', production, async (t) => {
  const options = { ...await freshStore(t), nodeLeaseMs: 20_000 }
  const server = await startServer(t, options)
  const { url } = await start(t, { ...options, rateLimit: false })
  await signUp(server.url)
  t.equal(await server.kill('SIGTERM'), 0)
  const { browser } = await signUp(url)
  // The table of leases must have been there for a lease: that wait is not for the one that was stopped.
  await browser.post('/api/auth/sign-out')
  const ada = await signUp(url)
  const began = performance.now()
  t.equal((await ada.browser.post('/api/auth/sign-out')).status, 200)
  t.ok(performance.now() - began < 5_000, `${Math.round(performance.now() - began)} ms`)
})

t.test('a rolling restart under load loses no request', production, async (t) => {
  const base = { ...await freshStore(t), baseUrl: 'http://127.0.0.1', drainDelayMs: 1_000, databasePoolSize: 3 }
  const ports = [await freePort(), await freePort(), await freePort()]
  const servers = []
  for (const port of ports) servers.push(await startServer(t, { ...base, port }))
  const balancer = await startBalancer(servers.map(({ url }) => url))
  t.teardown(() => balancer.close())
  const { email } = await signUpThrough(balancer.url)
  const lost: string[] = []
  let answered = 0
  const stopped = new AbortController()
  const load = async (ask: (browser: Browser) => Promise<Response>) => {
    const browser = await signInThrough(balancer.url, email)
    while (!stopped.signal.aborted) {
      const answer = await ask(browser).catch((error: unknown) => String(error))
      if (typeof answer === 'string' || answer.status !== 200) lost.push(typeof answer === 'string' ? answer : `${answer.status} ${await answer.text()}`)
      else await answer.text()
      answered++
    }
  }
  const loads = [...[1, 2, 3, 4].map(() => load((browser) => browser.get('/session'))), load(() => signInOnce(balancer.url, email))]
  const before = answered
  for (const [index, port] of ports.entries()) {
    const old = servers[index]
    t.equal(await old?.kill('SIGTERM'), 0, 'it ends by itself')
    const fresh = await startServer(t, { ...base, port })
    await until('it to be in service again', () => balancer.inService(fresh.url))
  }
  stopped.abort()
  await Promise.all(loads)
  t.ok(answered - before > 100, `${answered} requests`)
  t.strictSame(lost, [], `of ${answered} requests none was lost`)
  t.comment(`${answered} requests`)
})

t.test('several workers serve behind one port, and one that dies is replaced', production, async (t) => {
  const metricsPort = await freePort()
  const server = await startServer(t, { ...await freshStore(t), workers: 2, metricsPort, databasePoolSize: 3 })
  const metric = async (name: string) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text())?.[1])
  await until('both workers to serve', async () => await metric('holdfast_ready') === 2)
  const ada = await signUp(server.url)
  const phone = await signIn(server.url, ada.email)
  t.strictSame(await states(phone.browser), new Set(['valid']))
  t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
  t.strictSame(await states(phone.browser), new Set(['401 session_revoked']), 'a revocation is known to both')
  const [worker] = childrenOf(server.pid)
  process.kill(worker ?? 0, 'SIGKILL')
  await until('it to be replaced', () => /worker \d+ ended \(killed\): starting another/.test(server.stderr))
  await until('both workers to serve again', async () => await metric('holdfast_ready') === 2)
  t.strictSame(await states(ada.browser), new Set(['valid']))
  t.equal(await server.kill('SIGTERM'), 0)
})

t.test('a start that would surprise later is refused with one line that names the variable', async (t) => {
  const { databaseUrl, redisUrl, authSecret, dataDir } = await freshStore(t)
  const port = await freePort()
  const store = onEmbedded ? { dataDir } : { databaseUrl, redisUrl, authSecret, baseUrl: 'http://localhost' }
  const starts = [
    { options: { ...(onEmbedded ? { dataDir } : { databaseUrl, authSecret, baseUrl: 'http://localhost' }), workers: 2 }, line: /^holdfast: WORKERS: more than one need DATABASE_URL and REDIS_URL.*\n$/ },
    { options: { ...store, workers: 65 }, line: /^holdfast: WORKERS: must be a whole number from 1 to 64 \(it is 65\)\n$/ },
    { options: { ...store, port, metricsPort: port }, line: /^holdfast: METRICS_PORT: must not be PORT\n$/ },
    { options: { ...store, authSecret: 'x'.repeat(40) }, line: /^holdfast: AUTH_SECRET: must be random.*\n$/ }
  ]
  for (const { options, line } of starts) {
    const run = runCli(t, ['start'], Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)))
    t.equal(await run.exited, 2)
    t.match(run.stderr, line)
    t.equal(run.stdout, '')
  }
  if (onEmbedded) return
  const busy = await startServer(t, { ...await freshStore(t), workers: 2 })
  const second = runCli(t, ['start'], { ...await freshStore(t), baseUrl: 'http://localhost', port: Number(new URL(busy.url).port), workers: 2 })
  t.equal(await second.exited, 2)
  t.match(second.stderr, /^holdfast: PORT: \d+ is in use: stop what listens there, or set another\n$/, 'once, however many workers there are')
})

/** What twenty questions, which reach every worker, are told. */
async function states(browser: Browser): Promise<Set<string>> {
  return new Set(await Promise.all(Array.from({ length: 20 }, () => sessionState(browser))))
}

/** The processes that a process has started. */
function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
}

const headers = { 'content-type': 'application/json', origin: 'http://127.0.0.1' }

async function signUpThrough(url: string): Promise<{ email: string }> {
  const email = `${crypto.randomUUID()}@example.com`
  const answer = await fetch(`${url}/api/auth/sign-up/email`, { method: 'POST', headers, body: JSON.stringify({ name: 'Ada', email, password }) })
  if (!answer.ok) throw new Error(`sign-up answered ${answer.status}`)
  return { email }
}

function signInOnce(url: string, email: string): Promise<Response> {
  return fetch(`${url}/api/auth/sign-in/email`, { method: 'POST', headers, body: JSON.stringify({ email, password }) })
}

async function signInThrough(url: string, email: string): Promise<Browser> {
  const browser = new Browser(url)
  const answer = await browser.fetch('/api/auth/sign-in/email', { method: 'POST', headers, body: JSON.stringify({ email, password }) })
  if (!answer.ok) throw new Error(`sign-in answered ${answer.status}`)
  return browser
}
