import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Breaker } from '../src/cache/breaker.js'
import { allProtections } from '../src/cache/protections.js'
import { connectRedis } from '../src/cache/redis.js'
import { SharedCache } from '../src/cache/shared-cache.js'
import { makeDevices } from './families.js'
import { build, sessionState, signIn, signUp, start, storage, type Running } from './helper.js'
import { counting } from './services/count.js'
import { until } from './services/poll.js'
import { accepts, freePort } from './services/ports.js'

const skip = storage === 'embedded' ? 'the embedded store has no shared cache' : spawnSync('redis-server', ['--version']).status === 0 ? false : 'redis-server is not on the PATH'

// Sentinel names the primary; a cluster spreads the keys. In both a revocation at one server is heard by the other.
t.test('behind Sentinel', { skip }, async (t) => {
  const primary = await redisServer(t)
  const sentinel = await redisServer(t, ['--sentinel'], `sentinel monitor mymaster 127.0.0.1 ${primary} 1\n`)
  await revocationIsHeard(t, `redis+sentinel://127.0.0.1:${sentinel}/mymaster`)
})

t.test('in a cluster', { skip }, async (t) => {
  const ports = [await redisServer(t, ['--cluster-enabled', 'yes']), await redisServer(t, ['--cluster-enabled', 'yes']), await redisServer(t, ['--cluster-enabled', 'yes'])]
  const nodes = ports.map((port) => `127.0.0.1:${port}`)
  const made = spawnSync('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-yes'], { encoding: 'utf8' })
  t.equal(made.status, 0, made.stderr)
  await until('the cluster to be whole', () => ports.every((port) => spawnSync('redis-cli', ['-p', String(port), 'cluster', 'info'], { encoding: 'utf8' }).stdout.includes('cluster_state:ok')))
  const redisUrl = `redis+cluster://${nodes.join(',')}`
  await revocationIsHeard(t, redisUrl)
  await batchIsAnswered(t, redisUrl)
  await shardsAnswerAlone(t, redisUrl, ports)
})

async function revocationIsHeard(t: Test, redisUrl: string): Promise<void> {
  const one = await build(t, { redisUrl })
  const two = await start(t, { ...one.options, port: undefined })
  const ada = await signUp(one.url)
  for (let round = 0; round < 5; round++) {
    const phone = await signIn(two.url, ada.email)
    for (const { url } of [one, two]) {
      const ask = async () => { await (await fetch(`${url}/session`, { headers: { authorization: `Bearer ${phone.bearer}` } })).text() }
      await until('the cache to answer', async () => { const { queries } = await counting(ask); return queries === 0 })
    }
    const ended = await ada.browser.delete(`/sessions/${phone.sessionId}`)
    t.equal(ended.status, 200, 'the revocation is confirmed')
    t.equal(await sessionState(phone.browser), '401 session_revoked')
  }
}

/** Sessions of one batch lie on several shards: what one node has read answers the other, and a revocation on any of them is heard. */
async function batchIsAnswered(t: Test, redisUrl: string): Promise<void> {
  const secret = 'a-secret-of-the-gateway-in-this-test'
  const one = await build(t, { redisUrl, gatewayClients: [`edge:${secret}`] })
  const two = await start(t, { ...one.options, port: undefined, localCache: false })
  const ada = await signUp(one.url)
  const devices = await makeDevices(one, ada.id, 12)
  const check = async ({ url }: Running): Promise<string[]> => {
    const response = await fetch(`${url}/sessions/check`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`, 'content-type': 'application/json' },
      body: JSON.stringify({ tokens: [ada.bearer, 'garbage', ...devices.map(({ bearer }) => bearer)] })
    })
    const { results } = await response.json() as { results: { active: boolean, cause?: string, sid?: string }[] }
    return results.map(({ active, cause = '', sid = '' }) => (active ? sid : cause))
  }
  const ids = devices.map(({ sessionId }) => sessionId)
  for (const node of [one, two]) t.strictSame(await check(node), [ada.sessionId, 'credential_malformed', ...ids])
  await until('the shards to answer for the store', async () => (await counting(() => check(two))).queries === 0)
  const known = await counting(async () => { t.strictSame(await check(two), [ada.sessionId, 'credential_malformed', ...ids]) })
  t.equal(known.queries, 0)
  t.ok(known.commands >= 1 + ids.length, 'each session was asked of its shard')

  t.equal((await ada.browser.delete('/sessions?except=current')).status, 200)
  for (const node of [two, one]) t.strictSame(await check(node), [ada.sessionId, 'credential_malformed', ...ids.map(() => 'session_revoked')])
}

/** Of a cluster one shard may not answer: what the others know they say all the same. */
async function shardsAnswerAlone(t: Test, redisUrl: string, [, sick = 0]: readonly number[]): Promise<void> {
  const redis = connectRedis(redisUrl)
  t.teardown(() => redis.disconnect())
  await until('the cluster to be reached', () => redis.status === 'ready')
  const cache = new SharedCache(redis, new Breaker(), allProtections)
  cache.namespace = randomUUID()
  const ids = Array.from({ length: 12 }, () => randomUUID())
  const fills = (await cache.readAll(ids, '')).flatMap((lease, i) => (lease.kind === 'lease' ? [{ sessionId: ids[i] ?? '', lease, version: 1, body: 'copy', ttlMs: 60_000 }] : []))
  t.ok((await cache.fillAll(fills)).every(Boolean))
  t.equal(spawnSync('redis-cli', ['-p', String(sick), 'client', 'pause', '1500', 'all']).status, 0)
  const kinds = (await cache.readAll(ids, '')).map(({ kind }) => kind)
  t.strictSame(new Set(kinds), new Set(['hit', 'none']), kinds.join(' '))
}

/** Starts a Redis of some kind on a free port. One of a cluster takes a second one, ten thousand above: where that is taken it ends, and another pair is tried. */
async function redisServer(t: Test, flags: string[] = [], configuration = ''): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (;;) {
    const port = await freePort()
    const file = join(folder, 'redis.conf')
    writeFileSync(file, `port ${port}\nbind 127.0.0.1\ndir ${folder}\n${flags.includes('--sentinel') ? '' : 'save ""\nappendonly no\n'}${configuration}`)
    const server: ChildProcess = spawn('redis-server', [file, ...flags], { stdio: 'ignore' })
    const exited = once(server, 'exit')
    const isUp = await until('Redis to start', async () => (server.exitCode !== null ? 'no' : await accepts('127.0.0.1', port) && 'yes'))
    if (isUp === 'no') continue
    t.teardown(async () => {
      server.kill('SIGKILL')
      await exited
    })
    return port
  }
}
