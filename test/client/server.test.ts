import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import {
  createHoldfast,
  HoldfastError,
  memoryStorage,
  StaleError,
  type HoldfastClient,
  type HoldfastClientOptions
} from '../../src/client/client.js'
import { TestClock } from '../support/clock.js'
import { enrol, newPerson, nextStep, totp } from '../support/device.js'
import { until } from '../support/poll.js'
import { outcomeOf, refresh } from '../support/refresh-fixtures.js'
import { build, password } from '../support/server.js'
import { TcpProxy } from '../support/tcp-proxy.js'

const running = await build(t)
const { url } = running
const { prisma } = running.app.holdfast
/** By default, in seconds. */
const LIFE_SECONDS = 300

const newEmail = () => `${crypto.randomUUID()}@example.com`

/** A client with the events that it has emitted. */
function newClient(options: Partial<HoldfastClientOptions> = {}): {
  client: HoldfastClient
  events: string[]
} {
  const client = createHoldfast({ baseUrl: url, ...options })
  const events: string[] = []
  client.on('signedIn', () => events.push('signedIn'))
  client.on('signedOut', ({ cause }) => events.push(`signedOut ${cause}`))
  client.on('refreshed', () => events.push('refreshed'))
  client.on('stale', () => events.push('stale'))
  return { client, events }
}

async function signedUp(options: Partial<HoldfastClientOptions> = {}) {
  const email = newEmail()
  const made = newClient(options)
  const result = await made.client.signUp({ email, password, name: 'Ada' })
  if (result.status !== 'signed_in') throw new Error(result.status)
  return { ...made, email }
}

const sessionIdOf = async (client: HoldfastClient) => {
  const found = await client.session()
  if (!found) throw new Error('nobody is signed in')
  return found.session.id
}

const rowOf = (id: string) => prisma.session.findUniqueOrThrow({ where: { id } })

t.test('a person signs up, signs in elsewhere, and signs a device out', async (t) => {
  const { client, email } = await signedUp({ deviceName: 'Laptop – Büro' })
  const other = newClient()
  t.strictSame(await other.client.signIn({ email, password }), { status: 'signed_in' })
  t.match(await other.client.session(), { user: { email, name: 'Ada' } })
  const listed = await client.sessions()
  t.strictSame(listed?.sessions.map(({ name }) => name).toSorted(), ['Laptop – Büro', null])
  t.match(await other.client.getToken(), /^ey/)

  await client.revoke(await sessionIdOf(other.client))
  t.equal(await other.client.session(), null)
  t.strictSame(other.events, ['signedIn', 'signedOut session_revoked'])
  t.equal(await other.client.getToken(), null)
  t.equal(await other.client.sessions(), null)
  await t.rejects(other.client.revoke('x'), { status: 401, code: 'credential_missing' })
  t.match(await client.session(), { user: { email } }, 'the other device goes on')
})

t.test('a wrong password is an error with its code, and changes nothing', async (t) => {
  const { client, email } = await signedUp()
  await t.rejects(client.signIn({ email, password: 'wrong horse battery' }), {
    name: 'HoldfastError',
    status: 401,
    code: 'invalid_email_or_password'
  })
  t.match(await client.session(), { user: { email } })
})

t.test('a sign-in takes the place of an earlier one, which ends', async (t) => {
  const { client } = await signedUp()
  const first = await sessionIdOf(client)
  await client.signUp({ email: newEmail(), password, name: 'Grace' })
  const second = await sessionIdOf(client)
  t.not(second, first)
  await until('the first session to end', async () => (await rowOf(first)).revokedAt)
  t.equal((await rowOf(second)).revokedAt, null)
})

t.test('an address that must be proven first is no sign-in', async (t) => {
  const strict = await build(t, {
    requireEmailVerification: true,
    smtpUrl: 'smtp://127.0.0.1:9',
    mailFrom: 'holdfast@example.com'
  })
  const email = newEmail()
  const { client, events } = newClient({ baseUrl: strict.url })
  t.strictSame(await client.signUp({ email, password, name: 'Ada' }), { status: 'verify_email' })
  t.equal(await client.session(), null)
  await t.rejects(client.signIn({ email, password }), HoldfastError)
  t.equal(await client.getToken(), null)
  t.strictSame(events, [])
})

t.test('a second factor is asked for, by a code or a backup code', async (t) => {
  const ada = await newPerson(url)
  await prisma.$executeRaw`UPDATE "user" SET "emailVerified" = true WHERE "id" = ${ada.id}`
  const { totpURI, backupCodes } = await enrol(ada)
  const { client } = newClient()
  t.strictSame(await client.signIn({ email: ada.email, password }), { status: 'second_factor' })
  t.equal(await client.getToken(), null)
  await t.rejects(client.verifySecondFactor({ code: '000000' }), { code: 'invalid_code' })
  await nextStep(running, ada.id)
  t.strictSame(await client.verifySecondFactor({ code: totp(totpURI) }), { status: 'signed_in' })
  t.match(await client.session(), { user: { email: ada.email } })

  const other = newClient().client
  await other.signIn({ email: ada.email, password })
  t.strictSame(await other.verifySecondFactor({ code: backupCodes[0] ?? '', isBackup: true }), {
    status: 'signed_in'
  })
})

t.test('tokens are refreshed before they end, once for all who ask', async (t) => {
  const clock = new TestClock()
  const { client, events } = await signedUp({ clock })
  const id = await sessionIdOf(client)
  const first = await client.getToken()
  clock.advance((LIFE_SECONDS * 0.9 - 40) * 1000)
  t.equal(await client.getToken(), first)
  clock.advance(41_000)
  const given = await Promise.all(Array.from({ length: 20 }, () => client.getToken()))
  t.equal(new Set(given).size, 1)
  t.not(given[0], first)
  t.equal((await rowOf(id)).refreshGeneration, 1)
  t.strictSame(events, ['signedIn', 'refreshed'])
  t.equal(await client.getToken({ minTtl: 3_600 }), given[0], 'a young one is not replaced')
  clock.advance(61_000)
  t.not(await client.getToken({ minTtl: LIFE_SECONDS }), given[0])
})

t.test('access tokens that live two seconds are refreshed all the time', async (t) => {
  const brief = await build(t, { accessTokenTtlSeconds: 2 })
  const { client, events } = await signedUp({ baseUrl: brief.url })
  await until('three refreshes', async () => {
    if ((await client.session()) === null) throw new Error('signed out')
    return events.filter((event) => event === 'refreshed').length >= 3
  })
  t.notOk(events.some((event) => event.startsWith('signedOut')))
})

t.test('a request that is refused for its ended token is sent once more, whole', async (t) => {
  const requests: { headers: IncomingHttpHeaders; body: string; path: string }[] = []
  let refused = 1
  const api = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      requests.push({ headers: request.headers, body, path: request.url ?? '' })
      if (refused-- > 0) response.writeHead(401, { 'content-type': 'application/json' })
      response.end('{"cause":"token_expired"}')
    })
  })
  await once(api.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => api.close())
  const origin = `http://127.0.0.1:${(api.address() as AddressInfo).port}`
  const clock = new TestClock()
  const { client, events } = await signedUp({ clock, origins: [`${origin}/`] })
  clock.advance(61_000)
  const send = () => client.fetch(`${origin}/orders?x=1`, { method: 'POST', body: 'two pizzas' })
  t.equal((await send()).status, 200)
  t.strictSame(
    requests.map(({ body, path }) => `${path} ${body}`),
    ['/orders?x=1 two pizzas', '/orders?x=1 two pizzas']
  )
  t.not(requests[0]?.headers.authorization, requests[1]?.headers.authorization)
  t.equal(requests[1]?.headers.authorization, `Bearer ${await client.getToken()}`)
  t.strictSame(events, ['signedIn', 'refreshed'])

  refused = 2
  requests.length = 0
  t.equal((await send()).status, 401, 'a new token that is refused changes nothing')
  t.equal(requests.length, 1)
  t.match(await (await client.fetch('/session')).json(), { user: { name: 'Ada' } })

  const stranger = newClient({ origins: [] }).client
  await stranger.signUp({ email: newEmail(), password, name: 'Grace' })
  requests.length = 0
  await stranger.fetch(`${origin}/orders`)
  await stranger
    .fetch(`http://127.0.0.1:${new URL(url).port}@127.0.0.1:${new URL(origin).port}/`)
    .catch(() => {})
  t.strictSame(
    requests.map(({ headers }) => headers.authorization),
    requests.map(() => undefined),
    'an origin that was not given gets no token'
  )
})

t.test('a sign-out in an outage is kept, and repeated by the next process', async (t) => {
  const proxy = await TcpProxy.to(Number(new URL(url).port))
  t.teardown(() => proxy.close())
  const baseUrl = `http://127.0.0.1:${proxy.port}`
  const storage = memoryStorage()
  const { client, events } = await signedUp({ baseUrl, storage })
  const id = await sessionIdOf(client)
  t.ok(String(await storage.get()).length <= 2_000)
  proxy.cut()
  t.strictSame(await client.signOut(), { final: false })
  t.equal(await client.getToken(), null)
  t.strictSame(events, ['signedIn', 'signedOut signed_out'])
  t.equal((await rowOf(id)).revokedAt, null)
  const kept = String(await storage.get())
  t.notMatch(kept, /hrt1_|hst1_|eyJ/)
  const [token = ''] = /hrv1_[\w-]+/.exec(kept) ?? []
  t.equal(outcomeOf(await refresh(url, token)), '400 invalid_grant refresh_malformed')
  t.equal(
    (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${token}` } })).status,
    401
  )

  proxy.mend()
  newClient({ baseUrl, storage })
  await until('the session to end', async () => (await rowOf(id)).revokedAt)
  await until('nothing to be kept', async () => !(await storage.get())?.includes('hrv1_'))
})

t.test('an answer that is cut off is asked for again, and is the same', async (t) => {
  const proxy = await TcpProxy.to(Number(new URL(url).port))
  t.teardown(() => proxy.close())
  const clock = new TestClock()
  const { client, events } = await signedUp({ baseUrl: `http://127.0.0.1:${proxy.port}`, clock })
  const id = await sessionIdOf(client)
  for (let round = 1; round <= 3; round++) {
    clock.advance(LIFE_SECONDS * 1000)
    let pieces = 0
    proxy.watch((text, direction) => {
      if (direction === 'toServer') return 'pass'
      if (text.includes('refresh_token')) pieces++
      return pieces > 0 ? 'hold' : 'pass'
    })
    const asked = client.getToken()
    asked.catch(() => {})
    await until('the answer to be on its way', () => pieces > 0)
    proxy.cut()
    proxy.release()
    await t.rejects(asked, StaleError)
    t.equal((await rowOf(id)).refreshGeneration, round, 'the server has answered')
    await t.rejects(client.getToken(), StaleError, 'it is not asked again at once')
    proxy.mend()
    clock.advance(61_000)
    t.match(await client.getToken(), /^ey/)
    t.equal((await rowOf(id)).refreshGeneration, round, 'it gave the same successor')
  }
  t.notOk(events.some((event) => event.startsWith('signedOut')))
})

t.test('a server that is away is no sign-out', async (t) => {
  let answer: { status: number; body: string } | null = null
  const clock = new TestClock()
  const { client, events } = await signedUp({
    clock,
    fetch: async (input, init) => {
      if (answer === null) return fetch(input, init)
      return new Response(answer.body, { status: answer.status })
    }
  })
  for (const [status, body] of [
    [500, ''],
    [503, '{"cause":"store_unavailable"}'],
    [429, '{"error":"invalid_grant","cause":"session_revoked"}'],
    [400, '{"error":"invalid_grant","cause":"the weather"}'],
    [400, '{"error":"invalid_request","cause":"session_revoked"}'],
    [401, '{"error":"invalid_grant","cause":"session_revoked"}'],
    [200, '<h1>Welcome to the airport</h1>'],
    [200, '{"refresh_token":"x","session_id":"of somebody else"}']
  ] as const) {
    clock.advance(LIFE_SECONDS * 1000)
    answer = { status, body }
    await t.rejects(client.getToken(), StaleError, `${status} ${body}`)
    await t.rejects(client.session(), StaleError)
    answer = null
    clock.advance(61_000)
    t.match(await client.getToken(), /^ey/)
  }
  t.notOk(events.some((event) => event.startsWith('signedOut')))
  answer = { status: 200, body: '<h1>Welcome to the airport</h1>' }
  await t.rejects(client.signIn({ email: 'a@example.com', password }), HoldfastError)
  t.strictSame(await client.signOut(), { final: false })
})

t.test('every cause that ends a session signs out with its name', async (t) => {
  for (const [cause, end] of [
    [
      'user_banned',
      (id: string) =>
        prisma.$executeRaw`UPDATE "user" SET "banned" = true WHERE "id" = (SELECT "userId" FROM "session" WHERE "id" = ${id})`
    ],
    [
      'session_expired',
      (id: string) =>
        prisma.$executeRaw`UPDATE "session" SET "expiresAt" = clock_timestamp() - interval '1 s' WHERE "id" = ${id}`
    ],
    ['session_unknown', (id: string) => prisma.session.delete({ where: { id } })],
    [
      'refresh_unknown',
      (id: string) => prisma.session.update({ where: { id }, data: { refreshHash: null } })
    ]
  ] as const) {
    const clock = new TestClock()
    const { client, events } = await signedUp({ clock })
    const id = await sessionIdOf(client)
    clock.advance(LIFE_SECONDS * 1000)
    await end(id)
    t.equal(await client.getToken(), null, cause)
    t.strictSame(events, ['signedIn', `signedOut ${cause}`])
  }
})

t.test('a stolen and used token ends the session, and says so', async (t) => {
  const clock = new TestClock()
  const storage = memoryStorage()
  const { client, events } = await signedUp({ clock, storage })
  const id = await sessionIdOf(client)
  const [stolen = ''] = /hrt1_[\w-]+/.exec(String(await storage.get())) ?? []
  const second = await refresh(url, stolen)
  await refresh(url, second.body.refresh_token)
  clock.advance(LIFE_SECONDS * 1000)
  t.equal(await client.getToken(), null)
  t.strictSame(events, ['signedIn', 'signedOut refresh_reused'])
  t.equal((await rowOf(id)).revokedReason, 'refresh_reused')
})

t.test('it needs no locks and no crypto.subtle, but a source of random numbers', async (t) => {
  const module = new URL('../../src/client/client.js', import.meta.url).href
  const script = `
    const set = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true })
    const getRandomValues = crypto.getRandomValues.bind(crypto)
    set('navigator', undefined)
    set('crypto', { getRandomValues })
    const { createHoldfast } = await import('${module}')
    let now = 0
    const clock = { now: () => now, monotonic: () => now }
    const client = createHoldfast({ baseUrl: '${url}', clock })
    await client.signUp({ email: '${newEmail()}', password: '${password}', name: 'Ada' })
    const first = await client.getToken()
    now += ${LIFE_SECONDS * 1000}
    const second = await client.getToken()
    const { user } = await client.session()
    const { final } = await client.signOut()
    set('crypto', {})
    let refused = ''
    try { createHoldfast({ baseUrl: '${url}' }) } catch (error) { refused = error.name }
    console.log(JSON.stringify({ isNew: first !== second, name: user.name, final, refused }))`
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '-e',
    script
  ])
  t.strictSame(JSON.parse(stdout), {
    isNew: true,
    name: 'Ada',
    final: true,
    refused: 'TypeError'
  })
  t.throws(() => createHoldfast({ baseUrl: url, random: () => new Uint8Array(8) }))
})
