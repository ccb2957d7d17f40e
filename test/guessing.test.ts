import { randomUUID } from 'node:crypto'
import t from 'tap'
import { limits } from '../src/limits.js'
import { Browser, build, password, signUp } from './helper.js'

const running = await build(t, { rateLimit: true, trustedProxies: ['127.0.0.1'] })
const { url } = running

/** A client that keeps no cookies, at an address. */
class Program {
  readonly address: string

  constructor(address: string) {
    this.address = address
  }

  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(`${url}/api/auth/${path}`, {
      method: 'POST', body: JSON.stringify(body), ...init,
      headers: { 'content-type': 'application/json', 'x-forwarded-for': this.address, ...init.headers as Record<string, string> }
    })
  }

  signIn(email: string, secret = password, init: RequestInit = {}): Promise<Response> {
    return this.post('sign-in/email', { email, password: secret }, init)
  }
}

const newEmail = () => `${randomUUID()}@example.com`

t.test('S6: a flood of guesses from six addresses is shed, and a sign-in from a seventh is answered soon', async (t) => {
  const { email } = await signUp(url)
  const emails = Array.from({ length: 120 }, newEmail)
  const flood = emails.map(async (guessed, n) => {
    const response = await new Program(`203.0.113.${n % 6 + 1}`).signIn(guessed, 'a wrong guess, surely')
    return { guessed, n, status: response.status, retryAfter: response.headers.get('retry-after'), body: await response.json() as { cause?: string } }
  })
  await Promise.race(flood)
  const since = performance.now()
  const honest = await new Program('203.0.113.7').signIn(email)
  const ms = performance.now() - since
  t.equal(honest.status, 200)
  t.ok(ms < 10_000, `answered after ${Math.round(ms)} ms`)
  const answers = await Promise.all(flood)
  const shed = answers.filter(({ status }) => status === 503)
  t.comment(`${shed.length} of ${answers.length} were shed, the honest sign-in took ${Math.round(ms)} ms, all took ${Math.round(performance.now() - since)} ms`)
  t.strictSame(new Set(answers.map(({ status }) => status)), new Set([401, 503]))
  t.ok(shed.length > 0)
  for (const { retryAfter, body } of shed) t.match({ retryAfter, body }, { retryAfter: '2', body: { status: 503, cause: 'overloaded' } })

  const first = shed[0]
  const again = new Program(`203.0.113.${(first?.n ?? 0) % 6 + 1}`)
  const statuses: number[] = []
  for (let n = 0; n < limits.accountFromAddress.max; n++) statuses.push((await again.signIn(first?.guessed ?? '', 'a wrong guess')).status)
  t.strictSame(new Set(statuses), new Set([401]), 'what was shed has spent no guess')
})

t.test('S6: nothing is computed for clients that went away', async (t) => {
  const { email } = await signUp(url)
  const leaving = new AbortController()
  const gone = Array.from({ length: 20 }, () => new Program('203.0.113.20').signIn(newEmail(), 'a wrong guess', { signal: leaving.signal }).catch(() => null))
  await new Program('203.0.113.21').signIn(newEmail(), 'a wrong guess')
  leaving.abort()
  await Promise.all(gone)
  const since = performance.now()
  t.equal((await new Program('203.0.113.20').signIn(email)).status, 200, 'their address as well')
  t.comment(`answered after ${Math.round(performance.now() - since)} ms`)
  t.notOk(running.log.some((line) => line.includes('"level":50')), 'and no error is logged')
})

t.test('S6: a password that cannot be checked changes nothing, and signs nobody out', async (t) => {
  const ada = await signUp(url)
  const browser = new Browser(url)
  for (const [name, value] of ada.browser.cookies) browser.cookies.set(name, value)
  const answers = await Promise.all(Array.from({ length: 60 }, () => ada.browser.post('/api/auth/sign-in/email', { email: newEmail(), password })))
  t.strictSame(answers.flatMap((answer) => answer.headers.getSetCookie()), [], 'no cookie is set or cleared')
  t.equal((await browser.get('/session')).status, 200)
})
