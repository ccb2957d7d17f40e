import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import t from 'tap'
import {
  build,
  freshStore,
  password,
  sessionState,
  signUp,
  start,
  storage
} from '../support/server.js'
import { openGate } from '../support/gate.js'
import { until } from '../support/poll.js'
import { freePort } from '../support/ports.js'
import { runCli, startServer } from '../support/server-process.js'

const onEmbedded = storage === 'embedded'
const production = { skip: onEmbedded && 'one process has an embedded store to itself' }

t.test('O6: a server that drains is alive, not ready, and still serves', async (t) => {
  const { url, app, log } = await build(t)
  const { browser } = await signUp(url)
  t.equal((await fetch(`${url}/health/ready`)).status, 200)
  app.holdfast.drain()
  const ready = await fetch(`${url}/health/ready`)
  t.equal(ready.status, 503)
  t.match(await ready.json(), {
    cause: 'draining',
    detail: 'This process is being stopped: send requests to another one.'
  })
  const lines = log.map((line) => JSON.parse(line) as { level: number; msg: string; err?: unknown })
  t.match(
    lines.filter(({ msg }) => /being stopped/.test(msg)),
    [{ level: 30, err: undefined }],
    'the line is not an error'
  )
  t.strictSame(
    lines.filter(({ level }) => level > 30),
    []
  )
  t.equal((await fetch(`${url}/health/live`)).status, 200)
  const answer = await browser.get('/session')
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('connection'), 'close', 'the answer closes the connection')
})

t.test('a server whose schema is behind is not ready', async (t) => {
  const { url, app } = await build(t)
  await app.holdfast.prisma
    .$executeRaw`DELETE FROM "_prisma_migrations" WHERE migration_name = (SELECT max(migration_name) FROM "_prisma_migrations")`
  t.equal((await fetch(`${url}/health/ready`)).status, 503)
  t.equal((await fetch(`${url}/health/live`)).status, 200)
})

t.test('a server without Redis is ready', production, async (t) => {
  const options = await freshStore(t)
  const redis = new URL(options.redisUrl ?? '')
  const gate = await openGate(redis.hostname, Number(redis.port))
  t.teardown(() => gate.close())
  const { url } = await start(t, {
    ...options,
    rateLimit: false,
    redisUrl: `redis://127.0.0.1:${gate.port}`
  })
  const { browser } = await signUp(url)
  gate.shut()
  t.equal((await fetch(`${url}/health/ready`)).status, 200)
  t.equal(await sessionState(browser), 'valid')
})

t.test(
  'SIGTERM lets an open request end, without a wait if readiness was not asked for',
  async (t) => {
    const server = await startServer(t, { ...(await freshStore(t)), drainDelayMs: 30_000 })
    const { email } = await signUp(server.url)
    const body = JSON.stringify({ email, password })
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    let answer = ''
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString()
    })
    socket.write(
      `POST /api/auth/sign-in/email HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 5)}`
    )
    await until(
      'the server to have seen the request',
      async () => (await fetch(`${server.url}/health/live`)).ok
    )
    const began = performance.now()
    const exited = server.kill('SIGTERM')
    socket.write(body.slice(5))
    await once(socket, 'close')
    t.match(answer, /^HTTP\/1\.1 200 /)
    t.equal(await exited, 0)
    t.ok(performance.now() - began < 15_000, 'the delay does not apply, because no balancer asks')
  }
)

t.test('no revocation waits for a server that was stopped', production, async (t) => {
  const options = { ...(await freshStore(t)), nodeLeaseMs: 8_000 }
  const server = await startServer(t, options)
  const { url } = await start(t, { ...options, rateLimit: false })
  await signUp(server.url)
  t.equal(await server.kill('SIGTERM'), 0)
  const { browser } = await signUp(url)
  // The lease table must be a lease old: that wait is not for the stopped node.
  await browser.post('/api/auth/sign-out')
  const ada = await signUp(url)
  const began = performance.now()
  t.equal((await ada.browser.post('/api/auth/sign-out')).status, 200)
  t.ok(performance.now() - began < 4_000, `${Math.round(performance.now() - began)} ms`)
})

t.test(
  'a start that would surprise later is refused with one line that names the variable',
  async (t) => {
    const { databaseUrl, redisUrl, authSecret, dataDir } = await freshStore(t)
    const port = await freePort()
    const store = onEmbedded
      ? { dataDir }
      : { databaseUrl, redisUrl, authSecret, baseUrl: 'http://localhost' }
    const starts = [
      {
        options: {
          ...(onEmbedded ? { dataDir } : { databaseUrl, authSecret, baseUrl: 'http://localhost' }),
          workers: 2
        },
        line: /^holdfast: WORKERS: more than one need DATABASE_URL and REDIS_URL.*\n$/
      },
      {
        options: { ...store, workers: 65 },
        line: /^holdfast: WORKERS: must be a whole number from 1 to 64 \(it is 65\)\n$/
      },
      {
        options: { ...store, port, metricsPort: port },
        line: /^holdfast: METRICS_PORT: must not be PORT\n$/
      },
      {
        options: { ...store, authSecret: 'x'.repeat(40) },
        line: /^holdfast: AUTH_SECRET: must be random.*\n$/
      }
    ]
    await Promise.all(
      starts.map(async ({ options, line }) => {
        const run = runCli(
          t,
          ['start'],
          Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
        )
        t.equal(await run.exited, 2)
        t.match(run.stderr, line)
        t.equal(run.stdout, '')
      })
    )
    if (onEmbedded) return
    const other = createServer().listen(port, '127.0.0.1')
    t.teardown(() => other.close())
    const refused = runCli(t, ['start'], { ...store, port, workers: 2 })
    t.equal(await refused.exited, 2)
    t.match(
      refused.stderr,
      /^holdfast: PORT: \d+ is in use: stop what listens there, or set another\n$/,
      'the message appears once, whatever the number of workers'
    )
  }
)
