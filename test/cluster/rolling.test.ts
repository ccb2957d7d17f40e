import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  Browser,
  freshStore,
  password,
  sessionState,
  signIn,
  signUp,
  storage
} from '../support/server.js'
import { startBalancer } from '../support/balancer.js'
import { until } from '../support/poll.js'
import { freePort } from '../support/ports.js'
import { startServer } from '../support/server-process.js'

/** Between two requests of one client. */
const PAUSE_MS = 20

// Six starts, one after the other, on whatever machine this is.
t.setTimeout(600_000)
const production = {
  timeout: 300_000,
  skip: storage === 'embedded' && 'one process has an embedded store to itself'
}

t.test('a rolling restart under load loses no request', production, async (t) => {
  const base = {
    ...(await freshStore(t)),
    baseUrl: 'http://127.0.0.1',
    drainDelayMs: 1_000,
    databasePoolSize: 3
  }
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
      if (typeof answer === 'string' || answer.status !== 200)
        lost.push(typeof answer === 'string' ? answer : `${answer.status} ${await answer.text()}`)
      else await answer.text()
      answered++
      await sleep(PAUSE_MS, undefined, { ref: false }) // the machine has six servers to start
    }
  }
  const loads = [
    ...[1, 2, 3, 4].map(() => load((browser) => browser.get('/session'))),
    load(() => signInOnce(balancer.url, email))
  ]
  const before = answered
  for (const [index, port] of ports.entries()) {
    const old = servers[index]
    t.equal(await old?.kill('SIGTERM'), 0, 'the old server ended by itself')
    const fresh = await startServer(t, { ...base, port })
    await until('it to be in service again', () => balancer.inService(fresh.url))
  }
  stopped.abort()
  await Promise.all(loads)
  t.ok(answered - before > 100, `${answered} requests`)
  t.strictSame(lost, [], `none of ${answered} requests was lost`)
  t.comment(`${answered} requests`)
})

t.test(
  'several workers serve behind one port, and one that dies is replaced',
  production,
  async (t) => {
    const metricsPort = await freePort()
    const server = await startServer(t, {
      ...(await freshStore(t)),
      workers: 2,
      metricsPort,
      databasePoolSize: 3
    })
    const metric = async (name: string) =>
      Number(
        new RegExp(`^${name} (\\d+)`, 'm').exec(
          await (
            await fetch(`http://127.0.0.1:${metricsPort}/metrics`, {
              signal: AbortSignal.timeout(10_000)
            })
          ).text()
        )?.[1]
      )
    await until('both workers to serve', async () => (await metric('holdfast_ready')) === 2, 60_000)
    const ada = await signUp(server.url)
    const phone = await signIn(server.url, ada.email)
    t.strictSame(await states(phone.browser), new Set(['valid']))
    t.equal((await ada.browser.delete(`/sessions/${phone.sessionId}`)).status, 200)
    t.strictSame(
      await states(phone.browser),
      new Set(['401 session_revoked']),
      'both workers know the revocation'
    )
    const [worker] = childrenOf(server.pid)
    process.kill(worker ?? 0, 'SIGKILL')
    await until('it to be replaced', () =>
      /worker \d+ ended \(killed\): starting another/.test(server.stderr)
    )
    await until(
      'both workers to serve again',
      async () => (await metric('holdfast_ready')) === 2,
      60_000
    )
    t.strictSame(await states(ada.browser), new Set(['valid']))
    t.equal(await server.kill('SIGTERM'), 0)
  }
)

/** The answers to twenty requests, which reach every worker. */
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
  const answer = await fetch(`${url}/api/auth/sign-up/email`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ name: 'Ada', email, password })
  })
  if (!answer.ok) throw new Error(`sign-up answered ${answer.status}`)
  return { email }
}

function signInOnce(url: string, email: string): Promise<Response> {
  return fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ email, password })
  })
}

async function signInThrough(url: string, email: string): Promise<Browser> {
  const browser = new Browser(url)
  const answer = await browser.fetch('/api/auth/sign-in/email', {
    method: 'POST',
    headers,
    body: JSON.stringify({ email, password })
  })
  if (!answer.ok) throw new Error(`sign-in answered ${answer.status}`)
  return browser
}
