import { request } from 'node:http'
import Fastify from 'fastify'
import t from 'tap'
import holdfast from '../../plugins/holdfast.js'
import { AddressRanges, parseAddress } from '../../src/address.js'
import { limits } from '../../src/limits.js'
import { Browser, build, freshStore, password, signUp } from '../support/server.js'
import { freePort } from '../support/ports.js'
import { SeededRandom } from '../support/random.js'

t.test('S19: an address has one form, however a proxy writes it', async (t) => {
  for (const [written, address] of [
    ['203.0.113.7', '203.0.113.7'],
    ['203.0.113.7:51234', '203.0.113.7'],
    [' 203.0.113.7 ', '203.0.113.7'],
    ['"203.0.113.7:80"', '203.0.113.7'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['"[2001:db8::1]:443"', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%25eth0]:443', 'fe80::1'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['[::ffff:cb00:7107]:1', '203.0.113.7'],
    ['::1', '::1']
  ] as const)
    t.equal(parseAddress(written), address, written)
  for (const none of [
    '',
    ' ',
    'unknown',
    '_hidden',
    '203.0.113',
    '203.0.113.256',
    '0300.1.1.1',
    '203.0.113.7:',
    '203.0.113.7:x',
    '203.0.113.7:123456',
    '[203.0.113.7',
    '2001:db8::1]:443',
    '[]:443',
    'localhost',
    '203.0.113.7, 1.1.1.1',
    '"',
    '%eth0',
    '::g',
    '203.0.113.7/8'
  ]) {
    t.equal(parseAddress(none), null, none)
  }
})

const from = (address: string) => ({ 'x-forwarded-for': address })

t.test('ranges hold IPv4 in both of its forms', async (t) => {
  const ranges = new AddressRanges([
    '10.0.0.0/8',
    '192.0.2.1',
    '2001:db8::/32',
    '::ffff:198.51.100.0/120'
  ])
  for (const inside of ['10.1.2.3', '192.0.2.1', '2001:db8::7', '198.51.100.9'])
    t.ok(ranges.includes(inside), inside)
  for (const outside of ['11.0.0.1', '192.0.2.2', '2001:db9::1', '198.51.101.1', '::1'])
    t.notOk(ranges.includes(outside), outside)
})

t.test('S19: limits, log, session and events know a client by its address alone', async (t) => {
  const server = await build(t, {
    rateLimit: true,
    trustedProxies: ['127.0.0.1', '10.0.0.0/8'],
    logLevel: 'info'
  })
  const { email } = await signUp(server.url)
  // For the limit of a route, and for a budget.
  const headers = {
    'content-type': 'application/json',
    authorization: `Basic ${Buffer.from('edge:wrong').toString('base64')}`
  }
  const ask = async (path: string, address: string) =>
    (
      await fetch(server.url + path, {
        method: 'POST',
        headers: { ...from(address), ...headers },
        body: '{}'
      })
    ).status
  for (const [path, { max }] of [
    ['/api/auth/reset-password', limits.resetByAddress],
    ['/sessions/check', limits.gatewayByAddress]
  ] as const) {
    const statuses: number[] = []
    for (let n = 0; n <= max; n++) statuses.push(await ask(path, `203.0.113.7:${50_000 + n}`))
    t.equal(
      statuses.filter((status) => status !== 429).length,
      max,
      'ports do not have budgets of their own'
    )
    t.equal(await ask(path, '::ffff:203.0.113.7'), 429)
    t.not(await ask(path, '203.0.113.8'), 429)
    statuses.length = 0
    for (let n = 0; n <= max; n++)
      statuses.push(await ask(path, `[2001:DB8:7:7::${n}%eth${n}]:${n + 1}`))
    t.equal(
      statuses.filter((status) => status !== 429).length,
      max,
      'an IPv6 /64 has one budget, whatever the port and zone'
    )
  }

  for (const [header, address] of [
    ['198.51.100.9:4711', '198.51.100.9'],
    ['192.0.2.1, "[2001:db8:9::1]:443"', '2001:db8:9::1'],
    ['198.51.100.10:1, 10.0.0.7:80', '198.51.100.10']
  ] as const) {
    const browser = new Browser(server.url)
    t.equal(
      (await browser.post('/api/auth/sign-in/email', { email, password }, from(header))).status,
      200
    )
    t.match(
      await (await browser.get('/session')).json(),
      { session: { ipAddress: address } },
      header
    )
    t.ok(
      server.log.some((line) => line.includes(`"remoteAddress":"${address}"`)),
      'the log has the same address'
    )
  }
  for (const none of [
    'unknown',
    '_hidden, 10.0.0.1',
    'not-an-address:80',
    '198.51.100.10, ',
    ','
  ]) {
    const browser = new Browser(server.url)
    await browser.post('/api/auth/sign-in/email', { email, password }, from(none))
    const { session } = (await (await browser.get('/session')).json()) as {
      session: { ipAddress: string }
    }
    t.equal(
      session.ipAddress,
      none.startsWith('198') ? '198.51.100.10' : '127.0.0.1',
      `${none}: the peer's address counts where the header has none`
    )
  }
})

t.test(
  'H4: inside an application, the plugin works the address out by its own trustedProxies',
  async (t) => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const app = Fastify({ pluginTimeout: 60_000 }) // which trusts no proxy
    await app.register(holdfast, {
      ...(await freshStore(t)),
      prefix: '/identity',
      baseUrl: url,
      port,
      rateLimit: true,
      trustedProxies: ['127.0.0.1']
    })
    t.teardown(() => app.close())
    await app.listen({ host: '127.0.0.1', port })
    const browser = new Browser(url)
    const signedUp = await browser.post(
      '/identity/api/auth/sign-up/email',
      { name: 'Ada', email: 'proxied@example.com', password },
      { 'x-forwarded-for': '203.0.113.7:51234' }
    )
    t.equal(signedUp.status, 200)
    t.match(await (await browser.get('/identity/session')).json(), {
      session: { ipAddress: '203.0.113.7' }
    })
  }
)

t.test('no chain of made-up entries makes an address of what is none, or takes long', async (t) => {
  const server = await build(t, { trustedProxies: ['127.0.0.1', '10.0.0.0/8'], logLevel: 'info' })
  const random = new SeededRandom(20_261_127)
  const pick = (list: readonly string[]) => list[random.below(list.length)] ?? ''
  const entry = () =>
    pick([
      '10.0.0.1',
      '10.0.0.1:80',
      '203.0.113.7',
      '[2001:db8::1]:443',
      'unknown',
      '',
      '"',
      '::ffff:10.0.0.1',
      '1.2.3.4.5',
      '[::',
      'for=1.2.3.4',
      '9'.repeat(40),
      '0x7f.1',
      'fe80::1%1'
    ])
  for (let round = 0; round < 100; round++) {
    const chain = Array.from({ length: random.below(60) }, entry).join(pick([',', ', ', ' , ']))
    await new Promise<void>((resolve, reject) => {
      request(
        `${server.url}/health/live`,
        { headers: { 'x-forwarded-for': chain } },
        (response) => {
          response.resume().on('end', resolve)
        }
      )
        .on('error', reject)
        .end()
    })
  }
  const logged = server.log
    .map((line) => JSON.parse(line) as { req?: { remoteAddress: string } })
    .flatMap(({ req }) => req?.remoteAddress ?? [])
  t.ok(logged.length >= 100)
  t.strictSame(
    [...new Set(logged)].filter(
      (address) =>
        !['127.0.0.1', '10.0.0.1', '203.0.113.7', '2001:db8::1', 'fe80::1'].includes(address)
    ),
    []
  )
})
