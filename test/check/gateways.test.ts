import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { build, freshStore, start, storage, type Running } from '../support/server.js'
import type { HoldfastOptions } from '../../src/config.js'
import type { Gateway } from '../../src/gateway/gateway.js'
import { runCommand } from '../../src/operator/commands.js'
import { hashToken } from '../../src/session/session-token.js'
import { counting } from '../support/count.js'
import { until } from '../support/poll.js'
import { openGate } from '../support/gate.js'
import { runCli } from '../support/server-process.js'

const configured = 'a-secret-of-the-configuration-1234'
const changed = 'another-secret-of-the-configuration'
const id = 'conf-1_a'
const running = await build(t, {
  gatewayClients: [`conf:${configured}`, `conf:${changed}`, `${id}:${configured}`]
})

function basic(id: string, secret: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` }
}

async function check(
  { url }: { url: string },
  headers: Record<string, string>,
  tokens: string[] = []
): Promise<number> {
  const response = await fetch(`${url}/sessions/check`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ tokens })
  })
  await response.text()
  return response.status
}

t.test('the command line creates a gateway, and shows its secret once', async (t) => {
  const { dataDir, databaseUrl, redisUrl, authSecret } = running.options
  const options: HoldfastOptions =
    storage === 'embedded'
      ? { dataDir, authSecret }
      : { databaseUrl, redisUrl, authSecret, baseUrl: running.url }
  const gateway = async (...words: string[]) => {
    const run = runCli(t, ['gateway', ...words], options)
    return { status: await run.exited, stderr: run.stderr, stdout: run.stdout }
  }
  const created = await gateway('create', 'edge-1', '--name', 'The edge')
  const { id: shown, name, secret } = JSON.parse(created.stdout) as Record<string, string>
  t.match(
    { shown, name, secret },
    { shown: 'edge-1', name: 'The edge', secret: /^hgs1_[\w-]{43}$/ }
  )
  t.equal(
    await check(running, basic('edge-1', secret ?? '')),
    200,
    'the new gateway is known at once'
  )
  const [listed, refused] = await Promise.all([gateway('list'), gateway('create', 'edge 2')])
  t.match(
    (JSON.parse(listed.stdout) as Gateway[]).find((gateway) => gateway.id === 'edge-1'),
    { name: 'The edge', secrets: 1, disabledAt: null }
  )
  t.notMatch(listed.stdout, /hgs1_|h1_/)
  t.match(refused, { stdout: '', stderr: /the id of a gateway/ })
})

t.test(
  'secrets are changed with both of them live, and a disabled gateway is out within seconds',
  async (t) => {
    const { holdfast } = running.app
    const run = async (operation: string, ...args: string[]) =>
      (await runCommand(holdfast, { operation: `gateway ${operation}`, args })) as Record<
        string,
        string
      >
    const first = basic('edge', (await run('create', 'edge'))['secret'] ?? '')
    t.equal(await check(running, first), 200)
    const rotated = await run('rotate', 'edge')
    const second = basic('edge', rotated['secret'] ?? '')
    t.match(rotated, { id: 'edge', secrets: 2 })
    t.equal(await check(running, first), 200)
    t.equal(await check(running, second), 200)
    t.match(await run('rotate', 'edge', '--finish'), { secrets: 1 })
    await until('the first secret to end', async () => (await check(running, first)) === 401, 4_000)
    t.equal(await check(running, second), 200)

    await until(
      'the last use to be recorded',
      async () =>
        ((await run('list')) as unknown as Gateway[]).find((gateway) => gateway.id === 'edge')
          ?.lastUsedAt
    )
    const row = await holdfast.prisma.gatewayClient.findUniqueOrThrow({ where: { id: 'edge' } })
    t.match(row.secretHashes, [/^h1_[\w-]{43}$/], 'the store has only hashes')
    await run('disable', 'edge')
    await until(
      'the gateway to be refused',
      async () => (await check(running, second)) === 401,
      4_000
    )

    const refused: [words: string[], message: RegExp][] = [
      [['create', 'edge'], /there is a gateway edge already/],
      [['create', 'edge 2'], /the id of a gateway/],
      [['create'], /usage/],
      [['create', 'a', 'b'], /usage/],
      [['create', 'a', '--nam', 'x'], /usage/],
      [['list', 'x'], /usage/],
      [['disable', 'nobody'], /there is no gateway nobody/],
      [['rotate', 'nobody'], /there is no gateway nobody/],
      [['rotate', 'edge'], /that is enabled/]
    ]
    for (const [[operation = '', ...args], message] of refused)
      await t.rejects(run(operation, ...args), { message })
  }
)

t.test('a known gateway costs no query, and guessing few', async (t) => {
  t.equal(await check(running, basic('conf', configured)), 200)
  const known = await counting(async () => {
    for (let i = 0; i < 50; i++)
      await running.app.holdfast.gateways.authenticate('conf', hashToken(configured))
  })
  t.strictSame(known, { queries: 0, commands: 0 })
  const guesses = await counting(() =>
    Promise.all(
      Array.from({ length: 500 }, async (_, i) => {
        if (
          await running.app.holdfast.gateways.authenticate(
            i % 2 ? 'conf' : `unknown-${i}`,
            hashToken(`${configured}${i}`)
          )
        )
          t.fail('a wrong secret was accepted')
      })
    )
  )
  t.ok(guesses.queries <= 3, `${guesses.queries} queries`)
})

t.test('credentials come in one way, form-decoded, and everything else is refused', async (t) => {
  const encoded = `Basic ${Buffer.from(`${id.replaceAll('-', '%2D')}:${configured.replaceAll('-', '%2d')}`).toString('base64')}`
  t.equal(await check(running, { authorization: encoded }), 200)
  t.equal(
    await check(running, {
      authorization: basic(id, configured)['authorization']?.replace('Basic', 'bAsIc') ?? ''
    }),
    200
  )
  for (const authorization of [
    'Basic',
    'Basic !!!',
    'Basic YQ==',
    `Bearer ${configured}`,
    basic(id, '')['authorization'] ?? '',
    basic('', configured)['authorization'] ?? '',
    basic(id, '%zz')['authorization'] ?? '',
    basic(id, `${configured}%00`)['authorization'] ?? ''
  ]) {
    t.equal(await check(running, { authorization }), 401, authorization)
  }
  t.equal(await check(running, {}), 401)
  const introspect = async (headers: Record<string, string>, form: Record<string, string>) => {
    const response = await fetch(`${running.url}/oauth2/introspect`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ token: 'x', ...form })
    })
    return {
      status: response.status,
      challenge: response.headers.get('www-authenticate'),
      body: (await response.json()) as { error?: string }
    }
  }
  t.match(await introspect({}, { client_id: id, client_secret: configured }), {
    status: 200,
    body: { active: false }
  })
  t.match(
    await introspect(basic(id, configured), { client_id: id }),
    { status: 200 },
    'an id in the body is not a second method of authentication'
  )
  const second: Record<string, string>[] = [
    { client_secret: configured },
    { client_id: id, client_secret: configured },
    { client_id: 'other' }
  ]
  for (const form of second) {
    t.match(await introspect(basic(id, configured), form), {
      status: 400,
      body: { error: 'invalid_request' }
    })
  }
  for (const answer of [
    await introspect({}, {}),
    await introspect({}, { client_id: id }),
    await introspect({}, { client_id: id, client_secret: 'wrong' }),
    await introspect(basic('nobody', configured), {})
  ]) {
    t.match(answer, { status: 401, challenge: /^Basic realm=/, body: { error: 'invalid_client' } })
  }
})

t.test(
  'a disabled gateway is refused before its body is read, also where it was known',
  async (t) => {
    const own = await build(t, { gatewayClients: [`${id}:${configured}`] })
    const run = (operation: string, ...args: string[]) =>
      runCommand(own.app.holdfast, { operation: `gateway ${operation}`, args })
    const { secret } = (await run('create', 'soon-gone')) as { secret: string }
    const headers = basic('soon-gone', secret)
    t.equal(await check(own, headers), 200)
    await run('disable', 'soon-gone')
    await until('the gateway to be refused', async () => (await check(own, headers)) === 401)
    const { port } = new URL(own.url)
    const socket = connect(Number(port), '127.0.0.1')
    t.teardown(() => socket.destroy())
    const head = `authorization: ${headers['authorization']}\r\ncontent-type: application/json`
    socket.write(
      `POST /sessions/check HTTP/1.1\r\nhost: a\r\n${head}\r\ncontent-length: 60000\r\n\r\n{`
    )
    const [answer] = (await once(socket, 'data')) as [Buffer]
    t.match(answer.toString(), /^HTTP\/1\.1 401 /)
  }
)

t.test('GATEWAY_CLIENTS names gateways, which can be disabled as well', async (t) => {
  for (const secret of [configured, changed])
    t.equal(await check(running, basic('conf', secret)), 200)
  t.equal(await check(running, basic('conf', `${configured}x`)), 401)
  const { prisma } = running.app.holdfast
  await until(
    'its use to be recorded',
    async () => (await prisma.gatewayClient.findUnique({ where: { id: 'conf' } }))?.lastUsedAt
  )
  await prisma.gatewayClient.update({ where: { id: 'conf' }, data: { disabledAt: new Date() } })
  await until(
    'it to be refused',
    async () => (await check(running, basic('conf', configured))) === 401,
    4_000
  )
})

t.test(
  'while the store is down a known gateway is answered, and an unknown one gets a 503',
  { skip: storage === 'embedded' && 'the embedded store is in this process' },
  async (t) => {
    const options = await freshStore(t)
    const address = new URL(options.databaseUrl ?? '')
    const gate = await openGate(address.hostname, Number(address.port || 5432))
    t.teardown(() => gate.close())
    address.port = String(gate.port)
    address.hostname = '127.0.0.1'
    const away: Running = await start(t, {
      rateLimit: false,
      ...options,
      databaseUrl: address.href,
      gatewayClients: [`conf:${configured}`]
    })
    t.equal(await check(away, basic('conf', configured)), 200)
    gate.shut()
    const answers = [
      await check(away, basic('conf', configured)),
      await check(away, basic('conf', `${configured}x`)),
      await check(away, basic('nobody', configured))
    ]
    t.strictSame(answers, [200, 503, 503])
    // Longer than a copy answers alone, which is two seconds.
    const deadline = performance.now() + 2_400
    while (performance.now() < deadline)
      if ((await check(away, basic('conf', configured))) !== 200)
        t.fail('a known gateway was refused')
    gate.open()
    await until(
      'the store to answer again',
      async () => (await check(away, basic('nobody', configured))) === 401
    )
  }
)
