import t from 'tap'
import { HashQueue, type HashClient } from '../../src/auth/hash-queue.js'
import { toNetworks } from '../../src/network.js'

const settled = async () => {
  for (let n = 0; n < 5; n++) await Promise.resolve()
}
/** As text. */
const networks = (address: string) => {
  const { wide, narrow } = toNetworks(address)
  return `${wide} ${narrow}`
}

/** A queue whose hashes take the time that the test says. */
function newQueue({ atOnce = 1, maxWaitMs = 1_000 } = {}) {
  let now = 0
  const begun: { name: string; end: () => void }[] = []
  const outcomes: string[] = []
  const queue = new HashQueue({
    atOnce,
    maxWaitMs,
    now: () => now,
    refused: (why) => new Error(why)
  })
  return {
    queue,
    begun: () => begun.map(({ name }) => name),
    outcomes,
    add: (name: string, address: string, gone: AbortSignal | null = null) => {
      const client: HashClient = { networks: toNetworks(address), gone }
      queue
        .run(client, () => new Promise<void>((end) => begun.push({ name, end })))
        .then(
          () => outcomes.push(`${name} done`),
          (error: Error) => outcomes.push(`${name} ${error.message}`)
        )
    },
    /** Ends the running hash after this time. */
    end: async (ms = 50) => {
      now += ms
      begun.at(-1)?.end()
      await settled()
    }
  }
}

t.test('networks take turns, and so do the addresses within one', async (t) => {
  const { add, begun, end, queue } = newQueue()
  for (const name of ['a1', 'a2', 'a3']) add(name, '192.0.2.1')
  for (const name of ['b1', 'b2']) add(name, '192.0.2.2')
  add('c1', '198.51.100.1')
  add('d1', '2001:db8::1')
  add('e1', '2001:db8:0:1::1')
  for (let n = 0; n < 8; n++) await end()
  t.strictSame(begun(), ['a1', 'a2', 'c1', 'd1', 'b1', 'e1', 'a3', 'b2'])
  t.equal(queue.waiting, 0)
})

t.test('a full queue refuses the network that fills it, and makes room for others', async (t) => {
  const { add, begun, end, outcomes, queue } = newQueue()
  const { capacity } = queue
  t.equal(capacity, 20, 'the capacity is what can be computed in time')
  for (let n = 0; n <= capacity + 5; n++) add(`flood ${n}`, '192.0.2.1')
  await settled()
  t.strictSame(
    outcomes,
    [21, 22, 23, 24, 25].map((n) => `flood ${n} full`)
  )
  add('honest', '192.0.2.7')
  await settled()
  t.equal(outcomes.at(-1), 'flood 20 full', 'the last request of the flood is dropped')
  t.equal(queue.waiting, capacity)
  await end()
  await end()
  t.strictSame(
    begun().slice(0, 3),
    ['flood 0', 'flood 1', 'honest'],
    'it follows one request of the other address'
  )
})

t.test(
  'S6: of 1,200 guesses from six addresses most are refused, and the one from a seventh is the seventh to be computed',
  async (t) => {
    const { add, begun, end, outcomes, queue } = newQueue({ maxWaitMs: 2_000 })
    for (let n = 0; n < 1_200; n++) add(`guess ${n}`, `203.0.113.${(n % 6) + 1}`)
    add('honest', '203.0.113.7')
    await settled()
    t.equal(queue.waiting, 40)
    t.equal(outcomes.length, 1_200 - 40)
    for (let n = 0; n < 7; n++) await end()
    t.ok(begun().indexOf('honest') <= 7, begun().join())
  }
)

t.test('where every network has its share, the newcomer is refused', async (t) => {
  const { add, outcomes, queue } = newQueue()
  for (let n = 0; n <= queue.capacity; n++) add(`${n}`, `192.0.${n}.1`)
  add('one more', '203.0.113.1')
  await settled()
  t.strictSame(outcomes, ['one more full'])
})

t.test('what a hash takes decides how many may wait, and some always may', async (t) => {
  const { add, end, queue } = newQueue()
  for (let n = 0; n < 200; n++) {
    add(`${n}`, '192.0.2.1')
    await end(10)
  }
  t.ok(queue.capacity >= 95 && queue.capacity <= 100, `${queue.capacity} at 10 ms each`)
  for (let n = 0; n < 200; n++) {
    add(`${n}`, '192.0.2.1')
    await end(5_000)
  }
  t.equal(queue.capacity, 8)
})

t.test('a hash whose client went away is not computed, and keeps no place', async (t) => {
  const { add, begun, end, outcomes, queue } = newQueue()
  const [early, late, running] = [
    new AbortController(),
    new AbortController(),
    new AbortController()
  ]
  add('running', '192.0.2.1', running.signal)
  add('waiting', '192.0.2.1', late.signal)
  add('next', '192.0.2.1')
  early.abort()
  add('gone before', '192.0.2.1', early.signal)
  late.abort()
  running.abort()
  await settled()
  t.strictSame(outcomes, ['gone before gone', 'waiting gone'])
  t.equal(queue.waiting, 1)
  await end()
  await end()
  t.strictSame(begun(), ['running', 'next'])
  t.strictSame(
    outcomes.slice(2),
    ['running done', 'next done'],
    'hashes in progress are finished, because they may have to be counted'
  )
})

t.test('a hash that fails gives its turn on', async (t) => {
  const queue = new HashQueue({
    atOnce: 1,
    maxWaitMs: 1_000,
    now: () => 0,
    refused: (why) => new Error(why)
  })
  const client: HashClient = { networks: toNetworks('192.0.2.1'), gone: null }
  const failing = queue.run(client, () => Promise.reject(new Error('no hash')))
  t.equal(await queue.run(client, () => Promise.resolve('the next')), 'the next')
  await t.rejects(failing, { message: 'no hash' })
})

t.test('the networks of an address', async (t) => {
  t.equal(networks('192.0.2.17'), '192.0.2.0/24 192.0.2.17')
  t.equal(networks('::ffff:192.0.2.17'), '192.0.2.0/24 192.0.2.17')
  t.equal(networks('2001:DB8:0:9::1'), '2001:db8:0::/48 2001:db8:0:9::/64')
  t.equal(networks('2001:0db8:0000:0009:aaaa:bbbb:cccc:dddd'), '2001:db8:0::/48 2001:db8:0:9::/64')
  t.equal(networks('fe80::1%eth0'), 'fe80:0:0::/48 fe80:0:0:0::/64')
  t.equal(networks('::1'), '0:0:0::/48 0:0:0:0::/64')
  t.equal(networks('64:ff9b::192.0.2.1'), '64:ff9b:0::/48 64:ff9b:0:0::/64')
  t.equal(networks('no address'), 'no address no address')
})
