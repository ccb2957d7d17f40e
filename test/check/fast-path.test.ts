import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { FastPath } from '../../plugins/fast-path/fast-path.js'
import holdfast from '../../plugins/holdfast.js'
import type { HoldfastOptions } from '../../src/config.js'
import { StoreUnavailable } from '../../src/errors.js'
import { accessTokenOf } from '../support/refresh-fixtures.js'
import { build, freshStore, signUp, type Person } from '../support/server.js'
import { until } from '../support/poll.js'
import { freePort } from '../support/ports.js'

interface Watched {
  app: FastifyInstance
  url: string
  fastPath: FastPath
  /** The paths of requests that Fastify has seen. */
  seen: string[]
}

/** A server with the fast path, and a hook that sees the requests that reach Fastify. */
async function watched(t: Test, options: HoldfastOptions = {}): Promise<Watched> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const app = Fastify({ pluginTimeout: 60_000 })
  const fastPath = new FastPath()
  fastPath.install(app.server)
  const seen: string[] = []
  app.addHook('onRequest', async (request) => {
    seen.push(request.url)
  })
  await app.register(holdfast, {
    ...(await freshStore(t)),
    baseUrl: url,
    port,
    rateLimit: false,
    fastPath,
    ...options
  })
  t.teardown(() => app.close())
  await app.listen({ host: '127.0.0.1', port })
  return { app, url, fastPath, seen }
}

async function verify(
  { url, seen }: Watched,
  bearer: string,
  path = '/verify'
): Promise<{ status: number; sessionId: string | null; byFastify: boolean }> {
  seen.length = 0
  const { status, headers } = await fetch(url + path, {
    headers: { authorization: `Bearer ${bearer}` }
  })
  return { status, sessionId: headers.get('x-session-id'), byFastify: seen.includes(path) }
}

t.test(
  'a yes to a question that was read before does not enter Fastify, and nothing else stays outside',
  async (t) => {
    const server = await watched(t)
    const ada = await signUp(server.url)
    const cookie = [...ada.browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const yes = { status: 200, sessionId: ada.sessionId }
    for (const path of [
      '/verify',
      '/verify?role=user',
      '/verify/for/user',
      '/verify/for/user/orders/7?page=2'
    ]) {
      t.match(await verify(server, ada.bearer, path), { ...yes, byFastify: true }, path)
      t.match(await verify(server, ada.bearer, path), { ...yes, byFastify: false }, path)
    }
    t.match(
      await verify(server, ada.bearer, '/verify/for/user/another/path'),
      { ...yes, byFastify: false },
      'the rest of the path is ignored'
    )
    t.match(
      await verify(server, ada.bearer, '/verify/for/user/%zz'),
      { ...yes, byFastify: false },
      'an invalid rest is ignored as well'
    )
    t.match(await verify(server, await accessTokenOf(server, ada.sessionId)), {
      ...yes,
      byFastify: false
    })
    server.seen.length = 0
    t.equal(
      (await fetch(`${server.url}/verify`, { headers: { cookie } })).headers.get('x-session-id'),
      ada.sessionId
    )
    t.strictSame(server.seen, [])

    t.match(await verify(server, 'hst1_nonsense'), { status: 401, byFastify: true })
    t.match(await verify(server, ada.bearer, '/verify?role=admin'), {
      status: 403,
      byFastify: true
    })
    t.match(await verify(server, ada.bearer, '/verify?role=admin'), {
      status: 403,
      byFastify: true
    })
    t.match(await verify(server, ada.bearer, '/verify/for/admin'), { status: 403, byFastify: true })
    t.match(await verify(server, ada.bearer, '/verify?rol=user'), { status: 400, byFastify: true })
    t.match(await verify(server, ada.bearer, '/verify?rol=user'), { status: 400, byFastify: true })

    await ada.browser.post('/api/auth/sign-out')
    t.match(await verify(server, ada.bearer), { status: 401, byFastify: true })
  }
)

t.test('many at once are answered each with its own', async (t) => {
  const server = await watched(t)
  const people: Person[] = []
  for (let i = 0; i < 12; i++) people.push(await signUp(server.url))
  await verify(server, people[0]?.bearer ?? '')
  const asked = Array.from(
    { length: 300 },
    (_one, index) => people[index % (people.length + 1)] ?? null
  )
  const answers = await Promise.all(
    asked.map(async (person) => {
      const { status, headers } = await fetch(`${server.url}/verify`, {
        headers: { authorization: `Bearer ${person?.bearer ?? 'hst1_nonsense'}` }
      })
      return { status, sessionId: headers.get('x-session-id') }
    })
  )
  t.strictSame(
    answers,
    asked.map((person) =>
      person ? { status: 200, sessionId: person.sessionId } : { status: 401, sessionId: null }
    )
  )
})

t.test(
  'a gateway that is known is told ahead of Fastify, and every other request is answered by its route',
  async (t) => {
    const secret = 'a-secret-of-the-gateway-in-this-test'
    const server = await watched(t, { gatewayClients: [`edge:${secret}`] })
    const ada = await signUp(server.url)
    const token = encodeURIComponent(decodeURIComponent(ada.bearer))
    const ask = async (
      body: string,
      {
        by = `edge:${secret}`,
        headers = {}
      }: { by?: string; headers?: Record<string, string> } = {}
    ) => {
      server.seen.length = 0
      const response = await fetch(`${server.url}/oauth2/introspect`, {
        method: 'POST',
        body,
        headers: {
          authorization: `Basic ${Buffer.from(by).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded',
          ...headers
        }
      })
      return {
        status: response.status,
        type: response.headers.get('content-type'),
        caching: response.headers.get('cache-control'),
        body: await response.text(),
        byFastify: server.seen.length > 0
      }
    }
    const { byFastify, ...first } = await ask(`token=${token}`)
    t.equal(byFastify, true)
    t.match(first, { status: 200, caching: 'no-store', body: /^{"active":true,/ })
    for (const body of [
      `token=${token}`,
      `token=${ada.bearer.replaceAll('+', '%2B')}`,
      `token=${await accessTokenOf(server, ada.sessionId)}`,
      'token=nonsense',
      `token=${token}&token_type_hint=access_token`
    ]) {
      t.match(
        await ask(body),
        { ...first, body: /^{"active":(true|false)/, byFastify: false },
        body
      )
    }
    t.strictSame(await ask(`token=${token}`), { ...first, byFastify: false })
    t.match(
      await ask(`token=${token}`, { headers: { accept: 'application/token-introspection+jwt' } }),
      { status: 200, type: 'application/token-introspection+jwt' }
    )
    // The fast path read the body before it was clear that the route needs it. The route gets it
    // all the same.
    for (const [body, status, how] of [
      [`token_type_hint=x&token=${token}`, 200, {}],
      [`token=${token}&token=${token}`, 400, {}],
      ['', 400, {}],
      ['token=', 400, {}],
      ['token=%zz', 200, {}],
      [`token=${token}&client_id=other`, 400, {}],
      [`token=${token}`, 401, { by: `edge:${secret}x` }],
      [`token=${token}`, 401, { by: 'nobody:x' }],
      [`token=${'x'.repeat(17_000)}`, 413, {}],
      ['{}', 415, { headers: { 'content-type': 'application/json' } }]
    ] as const)
      t.match(await ask(body, how), { status, byFastify: true }, body.slice(0, 100))
    const inPieces = new ReadableStream({
      start(stream) {
        for (const piece of [`token=${token.slice(0, 40)}`, token.slice(40)])
          stream.enqueue(new TextEncoder().encode(piece))
        stream.close()
      }
    })
    const chunked = await fetch(`${server.url}/oauth2/introspect`, {
      method: 'POST',
      body: inPieces,
      duplex: 'half',
      headers: {
        authorization: `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`,
        'content-type': 'application/x-www-form-urlencoded'
      }
    } as RequestInit)
    t.match(await chunked.json(), { active: true })

    await ada.browser.post('/api/auth/sign-out')
    t.match(await ask(`token=${token}`), {
      status: 200,
      body: '{"active":false}',
      byFastify: false
    })
    await server.app.holdfast.prisma.$executeRaw`UPDATE "gateway_client" SET "disabledAt" = now()`
    await until(
      'the disabled gateway to be refused',
      async () => (await ask(`token=${token}`)).status === 401
    )
  }
)

t.test(
  'a batch of a known gateway is answered ahead of Fastify, and every other by its route',
  async (t) => {
    const secret = 'a-secret-of-the-gateway-in-this-test'
    const server = await watched(t, { gatewayClients: [`edge:${secret}`] })
    const [ada, bob] = [await signUp(server.url), await signUp(server.url)]
    const tokens = [
      ada.bearer,
      'nonsense',
      await accessTokenOf(server, ada.sessionId),
      bob.bearer,
      ada.bearer
    ]
    const ask = async (
      body: string,
      { by = `edge:${secret}`, type = 'application/json', query = '' } = {}
    ) => {
      server.seen.length = 0
      const response = await fetch(`${server.url}/sessions/check${query}`, {
        method: 'POST',
        body,
        headers: {
          authorization: `Basic ${Buffer.from(by).toString('base64')}`,
          'content-type': type
        }
      })
      const text = (await response.text()).replace(/"(checked_at|age_ms)":("[^"]*"|\d+)/g, '"$1":0')
      return {
        status: response.status,
        type: response.headers.get('content-type'),
        caching: response.headers.get('cache-control'),
        text,
        byFastify: server.seen.length > 0
      }
    }
    const batch = JSON.stringify({ tokens })
    const { byFastify, ...first } = await ask(batch)
    t.equal(byFastify, true)
    t.match(first, {
      status: 200,
      caching: 'no-store',
      type: 'application/json; charset=utf-8',
      text: '{"consistency":"bounded","checked_at":0,"results":[{"active":true,'
    })
    for (const type of [
      'application/json',
      'application/json; charset=utf-8',
      'APPLICATION/JSON;charset=UTF-8'
    ])
      t.strictSame(await ask(batch, { type }), { ...first, byFastify: false })
    t.match(await ask('{"tokens":[]}'), { status: 200, text: /"results":\[\]}$/, byFastify: false })
    t.match(await ask(batch, { query: '?consistency=strict' }), {
      status: 200,
      text: first.text.replace('bounded', 'strict'),
      byFastify: true
    })
    t.match(
      await ask(JSON.stringify({ tokens: Array.from({ length: 900 }, () => ada.bearer) })),
      { status: 200, byFastify: true },
      'Fastify answers a long body'
    )
    for (const [body, status, how] of [
      ['', 400, {}],
      ['{', 400, {}],
      ['[]', 400, {}],
      ['null', 400, {}],
      ['{}', 400, {}],
      ['{"tokens":"x"}', 400, {}],
      ['{"tokens":[1]}', 400, {}],
      ['{"tokens":[],"max_age_ms":0}', 400, {}],
      ['{"tokens":[],"__proto__":{}}', 400, {}],
      [JSON.stringify({ tokens: Array.from({ length: 1_001 }, () => 'x') }), 400, {}],
      [JSON.stringify({ tokens: ['x'.repeat(8_193)] }), 400, {}],
      [batch, 401, { by: `edge:${secret}x` }],
      [batch, 401, { by: 'nobody:x' }],
      [batch, 415, { type: 'application/xml' }]
    ] as const)
      t.match(await ask(body, how), { status, byFastify: true }, body.slice(0, 100))

    const stranger = connect(Number(new URL(server.url).port), '127.0.0.1')
    stranger.write(
      `POST /sessions/check HTTP/1.1\r\nhost: x\r\nauthorization: Basic ${Buffer.from('edge:wrong').toString('base64')}\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n`
    )
    const [refusal] = (await once(stranger, 'data')) as [Buffer]
    stranger.destroy()
    t.match(refusal.toString(), /^HTTP\/1.1 401 /, 'the refusal does not wait for the body')

    await ada.browser.post('/api/auth/sign-out')
    const after = await ask(batch)
    t.match(after, { status: 200, byFastify: false })
    t.strictSame(
      (JSON.parse(after.text) as { results: { active: boolean }[] }).results.map(
        ({ active }) => active
      ),
      [false, false, false, true, false]
    )
    await server.app.holdfast.prisma.$executeRaw`UPDATE "gateway_client" SET "disabledAt" = now()`
    await until('the disabled gateway to be refused', async () => (await ask(batch)).status === 401)
  }
)

t.test('a check that needs I/O is made once', async (t) => {
  const server = await watched(t, { localCache: false })
  const [ada, bob] = [await signUp(server.url), await signUp(server.url)]
  await verify(server, ada.bearer)
  await bob.browser.post('/api/auth/sign-out')
  const { checks } = server.app.holdfast.counters
  const asked = () =>
    [checks.shared, checks.store]
      .flatMap((layer) => Object.values(layer))
      .reduce((sum, count) => sum + count, 0)
  for (const [person, answer] of [
    [ada, { status: 200, byFastify: false }],
    [bob, { status: 401, byFastify: true }]
  ] as const) {
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
  const ask = () =>
    fetch(`${stopping.url}/verify`, { headers: { authorization: `Bearer ${bob.bearer}` } })
  for (let i = 0; i < 2; i++) t.equal((await ask()).headers.get('connection'), 'keep-alive')
  stopping.app.holdfast.drain()
  t.equal((await ask()).headers.get('connection'), 'close')
})

t.test(
  'what was begun before the way out is answered, and told to use another connection',
  async (t) => {
    const secret = 'a-secret-of-the-gateway-in-this-test'
    const { app, url } = await watched(t, { gatewayClients: [`edge:${secret}`] })
    const ada = await signUp(url)
    const body = `token=${encodeURIComponent(decodeURIComponent(ada.bearer))}`
    const authorization = `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`
    const head = `POST /oauth2/introspect HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n`
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let answers = ''
    socket.on('data', (chunk) => {
      answers += chunk.toString()
    })
    for (let i = 1; i <= 2; i++) {
      socket.write(head + body)
      await until('an answer', async () => answers.split('HTTP/1.1 200 OK').length > i)
    }
    t.match(answers, /connection: keep-alive/i)
    answers = ''
    socket.write(head + body.slice(0, 20))
    await fetch(`${url}/health/live`) // by then the first half has arrived
    app.holdfast.drain()
    const closing = app.close()
    socket.write(body.slice(20))
    await once(socket, 'close')
    t.match(answers, /^HTTP\/1\.1 200 OK\r\n[^]*connection: close\r\n[^]*{"active":true/i)
    await closing
  }
)

t.test(
  'metrics count what does not enter Fastify, and how long it waited before it did',
  async (t) => {
    const running = await build(t)
    const ada = await signUp(running.url)
    for (let i = 0; i < 5; i++)
      await fetch(`${running.url}/verify`, { headers: { authorization: `Bearer ${ada.bearer}` } })
    const metrics = await (await fetch(`${running.url}/metrics`)).text()
    t.match(
      metrics,
      /holdfast_http_request_duration_seconds_count\{method="GET",route="\/verify",status="200"\} 5\n/
    )

    // A store that answers late, and a request that cannot be answered: the time passes in the fast
    // path.
    const { reader } = running.app.holdfast
    reader.checkCached = () => null
    reader.check = async () => {
      await sleep(120)
      throw new StoreUnavailable(new Error('away'))
    }
    t.equal(
      (await fetch(`${running.url}/verify`, { headers: { authorization: `Bearer ${ada.bearer}` } }))
        .status,
      503
    )
    const seconds =
      /holdfast_http_request_duration_seconds_sum\{method="GET",route="\/verify",status="503"\} (\S+)/.exec(
        await (await fetch(`${running.url}/metrics`)).text()
      )?.[1]
    t.ok(Number(seconds) >= 0.1, `${seconds} s`)
  }
)
