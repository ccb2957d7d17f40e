import { spawnSync } from 'node:child_process'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import {
  build,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Running
} from '../support/server.js'
import { until } from '../support/poll.js'
import { startProxy } from '../support/proxy.js'
import { startRedis, type PrivateRedis } from '../support/redis.js'

const skip =
  storage === 'embedded'
    ? 'the embedded store has no shared cache'
    : spawnSync('redis-server', ['--version']).status === 0
      ? false
      : 'redis-server is not on the PATH'

/** A managed service's bound: a node has recovered this many milliseconds after a failover. */
const WELL_AGAIN_MS = 10_000

t.test(
  'R1: a node leaves a server that was demoted, and finds the new primary without a restart',
  { skip },
  async (t) => {
    const [old, next] = [await privateRedis(t), await privateRedis(t)]
    await admin(next.url, (redis) => redis.call('REPLICAOF', '127.0.0.1', String(old.port)))
    await until('the replica to follow', () =>
      admin(next.url, async (redis) =>
        (await redis.info('replication')).includes('master_link_status:up')
      )
    )
    const proxy = await startProxy(old.port)
    t.teardown(() => proxy.close())
    const one = await build(t, { redisUrl: `redis://127.0.0.1:${proxy.port}` })
    const two = await start(t, { ...one.options, port: undefined })
    const ada = await signUp(one.url)
    const phone = await signIn(two.url, ada.email)
    for (const node of [one, two]) await wellAgain(node)

    // Open connections stay with the old server, as behind a Service of Kubernetes.
    await admin(next.url, (redis) => redis.call('REPLICAOF', 'NO', 'ONE'))
    await admin(old.url, (redis) => redis.call('REPLICAOF', '127.0.0.1', String(next.port)))
    proxy.leadTo(next.port)
    const ended = await ada.browser.delete(`/sessions/${phone.sessionId}`)
    t.ok([200, 202].includes(ended.status), `the revocation is answered: ${ended.status}`)
    if (ended.status === 200) {
      for (const { url } of [one, two])
        t.equal(
          await stateAt(url, phone.bearer),
          401,
          'no node says active after the revocation was answered'
        )
    }
    for (const node of [one, two]) {
      await wellAgain(node)
      const warnings = node.log.filter((line) => line.includes('READONLY'))
      t.equal(warnings.length, 1, `one warning has the answer of Redis: ${warnings.join('')}`)
    }
    const laptop = await signIn(one.url, ada.email)
    t.equal((await ada.browser.delete(`/sessions/${laptop.sessionId}`)).status, 200)
    t.equal(await stateAt(two.url, laptop.bearer), 401)
    t.equal(await sessionState(ada.browser), 'valid', 'other sessions stay valid')
  }
)

t.test(
  'R1: a server that has lost its primary is left until it answers again',
  { skip },
  async (t) => {
    const redis = await privateRedis(t)
    const node = await build(t, { redisUrl: redis.url })
    const ada = await signUp(node.url)
    await wellAgain(node)
    await admin(redis.url, async (client) => {
      await client.call('CONFIG', 'SET', 'replica-serve-stale-data', 'no')
      await client.call('REPLICAOF', '127.0.0.1', '1')
    })
    await until('the lease to lapse', () => node.app.holdfast.stats().leaseHeld === false)
    t.equal(await sessionState(ada.browser), 'valid', 'checks read the store')
    await until('the warning', () => node.log.some((line) => /MASTERDOWN|READONLY/.test(line)))
    await admin(redis.url, (client) => client.call('REPLICAOF', 'NO', 'ONE'))
    await wellAgain(node)
    t.ok(node.log.some((line) => line.includes('Redis grants this node its lease again')))
  }
)

t.test('R4: Redis that refuses the lease is named once, in its own words', { skip }, async (t) => {
  const redis = await privateRedis(t)
  // The user of docs/redis.md, without its channels at first.
  const rights = [
    'resetkeys',
    '~holdfast:*',
    'resetchannels',
    '+@all',
    '-@dangerous',
    '-@admin',
    '+info'
  ]
  await admin(redis.url, (client) =>
    client.call('ACL', 'SETUSER', 'app', 'on', '>secret-of-this-test', ...rights)
  )
  const node = await build(t, {
    redisUrl: `redis://app:secret-of-this-test@127.0.0.1:${redis.port}`
  })
  const ada = await signUp(node.url)
  await until('the warning', () => refusals(node).length > 0)
  t.equal(await sessionState(ada.browser), 'valid')
  // Some renewals later there is still only one warning.
  const asked = await commandsOf(redis)
  await until('more renewals', async () => (await commandsOf(redis)) > asked + 8)
  t.equal(refusals(node).length, 1, refusals(node).join(''))
  t.match(refusals(node)[0], /NOPERM|channel/)
  t.notOk(node.log.some((line) => line.includes('secret-of-this-test')))

  await admin(redis.url, (client) => client.call('ACL', 'SETUSER', 'app', '&holdfast:*'))
  await wellAgain(node)
})

t.test(
  'R5: a database that Redis does not have is no other one in silence',
  { skip },
  async (t) => {
    const redis = await privateRedis(t)
    const node = await build(t, { redisUrl: `${redis.url}/99` })
    const ada = await signUp(node.url)
    t.equal(await sessionState(ada.browser), 'valid')
    await until('the warning', () =>
      node.log.some((line) => line.includes('DB index is out of range'))
    )
    t.equal(node.app.holdfast.stats().leaseHeld, false)
    t.equal(await admin(redis.url, (client) => client.dbsize()), 0, 'database 0 is empty')
  }
)

async function privateRedis(t: Test): Promise<PrivateRedis> {
  const redis = await startRedis(['--repl-diskless-sync-delay', '0'])
  if (!redis) throw new Error('redis-server is not on the PATH')
  t.teardown(() => redis.stop())
  return redis
}

async function wellAgain({ app }: Running): Promise<void> {
  await until(
    'the node to hold its lease',
    () => app.holdfast.stats().leaseHeld === true,
    WELL_AGAIN_MS
  )
}

async function stateAt(url: string, bearer: string): Promise<number> {
  return (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${bearer}` } })).status
}

function refusals({ log }: Running): string[] {
  return log.filter((line) => line.includes('Redis refuses what this node asks'))
}

async function commandsOf({ url }: PrivateRedis): Promise<number> {
  return admin(url, async (client) =>
    Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1])
  )
}

async function admin<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url)
  try {
    return await work(client)
  } finally {
    client.disconnect()
  }
}
