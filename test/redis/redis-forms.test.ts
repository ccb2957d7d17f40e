import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.js'
import { deriveKeys } from '../../src/secrets/keys.js'
import { Breaker } from '../../src/redis/breaker.js'
import { CopyMac } from '../../src/cache/copy-mac.js'
import { connectRedis } from '../../src/redis/redis.js'
import { SharedCache } from '../../src/cache/shared-cache.js'
import { makeCertificate } from '../support/certificate.js'
import { makeDevices } from '../support/refresh-fixtures.js'
import {
  build,
  sessionState,
  signIn,
  signUp,
  start,
  storage,
  type Running
} from '../support/server.js'
import { counting } from '../support/count.js'
import { until } from '../support/poll.js'
import { accepts, freePort } from '../support/ports.js'

const skip =
  storage === 'embedded'
    ? 'the embedded store has no shared cache'
    : spawnSync('redis-server', ['--version']).status === 0
      ? false
      : 'redis-server is not on the PATH'

// Sentinel names the primary; a cluster spreads the keys. In both a revocation at one server
// reaches the other.
t.test('R2: behind Sentinel, with the same password or one of its own', { skip }, async (t) => {
  const primary = await redisServer(t, [], 'requirepass one\n')
  const monitor = `sentinel monitor mymaster 127.0.0.1 ${primary} 1\nsentinel auth-pass mymaster one\n`
  const same = await redisServer(t, ['--sentinel'], `requirepass one\n${monitor}`)
  const own = await redisServer(t, ['--sentinel'], `requirepass two\n${monitor}`)
  const open = await redisServer(t, ['--sentinel'], monitor)
  await revocationIsHeard(t, `redis+sentinel://:one@127.0.0.1:${same}/mymaster`)
  await reachesRedis(t, `redis+sentinel://:one@127.0.0.1:${own}/mymaster?sentinel_password=two`)
  await reachesRedis(t, `redis+sentinel://:one@127.0.0.1:${open}?sentinel_password=&db=2`)
})

t.test("R3: over TLS, by a certificate of an authority of one's own", { skip }, async (t) => {
  const { caFile, settings } = certificates(t)
  const port = await redisServer(t, ['--tls-port', '{port}', '--port', '0'], settings)
  await reachesRedis(t, `rediss://127.0.0.1:${port}`, caFile)
  const sentinel = await redisServer(
    t,
    ['--sentinel', '--tls-port', '{port}', '--port', '0'],
    `${settings}tls-replication yes\nsentinel monitor mymaster 127.0.0.1 ${port} 1\n`
  )
  await reachesRedis(t, `rediss+sentinel://127.0.0.1:${sentinel}/mymaster`, caFile)
  const cluster = await redisServer(
    t,
    ['--cluster-enabled', 'yes', '--tls-cluster', 'yes', '--tls-port', '{port}', '--port', '0'],
    `${settings}cluster-announce-ip 127.0.0.1\n`
  )
  const slots = spawnSync(
    'redis-cli',
    ['--tls', '--cacert', caFile, '-p', String(cluster), 'cluster', 'addslotsrange', '0', '16383'],
    { encoding: 'utf8' }
  )
  t.equal(slots.stdout.trim(), 'OK', slots.stderr)
  await reachesRedis(t, `rediss+cluster://127.0.0.1:${cluster}`, caFile)

  const { app, log } = await build(t, { redisUrl: `rediss://127.0.0.1:${port}` })
  await until('the refusal of a certificate that nobody knows', () =>
    log.some((line) => /self-signed certificate|unable to verify/.test(line))
  )
  t.equal(app.holdfast.stats().leaseHeld, false)
})

t.test('in a cluster', { skip }, async (t) => {
  const ports = [
    await redisServer(t, ['--cluster-enabled', 'yes']),
    await redisServer(t, ['--cluster-enabled', 'yes']),
    await redisServer(t, ['--cluster-enabled', 'yes'])
  ]
  const nodes = ports.map((port) => `127.0.0.1:${port}`)
  const made = spawnSync('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-yes'], {
    encoding: 'utf8'
  })
  t.equal(made.status, 0, made.stderr)
  await until('the cluster to be whole', () =>
    ports.every((port) =>
      spawnSync('redis-cli', ['-p', String(port), 'cluster', 'info'], {
        encoding: 'utf8'
      }).stdout.includes('cluster_state:ok')
    )
  )
  const redisUrl = `redis+cluster://${nodes.join(',')}`
  await revocationIsHeard(t, redisUrl)
  await batchIsAnswered(t, redisUrl)
  await singleNodeIsNamed(t, ports)
  await shardsAnswerAlone(t, redisUrl, ports)
})

/** R4: a plain URL to one node of a cluster is answered "MOVED" for ever. */
async function singleNodeIsNamed(t: Test, ports: readonly number[]): Promise<void> {
  const nodes = await Promise.all(
    ports.map((port) => build(t, { redisUrl: `redis://127.0.0.1:${port}` }))
  )
  await until('the warning', () =>
    nodes.some(({ log }) => log.some((line) => /MOVED.*redis\+cluster:\/\/ is needed/.test(line)))
  )
}

async function reachesRedis(t: Test, redisUrl: string, redisCaFile?: string): Promise<void> {
  const { app } = await build(t, { redisUrl, redisCaFile })
  await until(`the lease by ${redisUrl}`, () => app.holdfast.stats().leaseHeld === true)
  t.pass(`the lease was granted by ${redisUrl.split('@').at(-1) ?? ''}`)
}

/** A CA, and Redis' settings for a certificate that it has signed for this machine. */
function certificates(t: Test): { caFile: string; settings: string } {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const authority = makeCertificate(['authority-of-a-test'])
  const redis = makeCertificate(['localhost', '127.0.0.1'], authority)
  const file = (name: string) => join(folder, name)
  writeFileSync(file('ca.pem'), authority.cert)
  writeFileSync(file('redis.pem'), redis.cert)
  writeFileSync(file('redis.key'), redis.key)
  return {
    caFile: file('ca.pem'),
    settings: `tls-cert-file ${file('redis.pem')}\ntls-key-file ${file('redis.key')}\ntls-ca-cert-file ${file('ca.pem')}\ntls-auth-clients no\n`
  }
}

async function revocationIsHeard(t: Test, redisUrl: string): Promise<void> {
  const one = await build(t, { redisUrl })
  const two = await start(t, { ...one.options, port: undefined })
  const ada = await signUp(one.url)
  for (let round = 0; round < 5; round++) {
    const phone = await signIn(two.url, ada.email)
    for (const { url } of [one, two]) {
      const ask = async () => {
        await (
          await fetch(`${url}/session`, { headers: { authorization: `Bearer ${phone.bearer}` } })
        ).text()
      }
      await until('the cache to answer', async () => {
        const { queries } = await counting(ask)
        return queries === 0
      })
    }
    const ended = await ada.browser.delete(`/sessions/${phone.sessionId}`)
    t.equal(ended.status, 200, 'the revocation is confirmed')
    t.equal(await sessionState(phone.browser), '401 session_revoked')
  }
}

/**
 * Sessions of one batch are on several shards. One node's reads fill the cache for the other, and a
 * revocation of any of them reaches both.
 */
async function batchIsAnswered(t: Test, redisUrl: string): Promise<void> {
  const secret = 'a-secret-of-the-gateway-in-this-test'
  const one = await build(t, { redisUrl, gatewayClients: [`edge:${secret}`] })
  const two = await start(t, { ...one.options, port: undefined, localCache: false })
  const ada = await signUp(one.url)
  const devices = await makeDevices(one, ada.id, 12)
  const check = async ({ url }: Running): Promise<string[]> => {
    const response = await fetch(`${url}/sessions/check`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`edge:${secret}`).toString('base64')}`,
        'content-type': 'application/json'
      },
      body: JSON.stringify({
        tokens: [ada.bearer, 'garbage', ...devices.map(({ bearer }) => bearer)]
      })
    })
    const { results } = (await response.json()) as {
      results: { active: boolean; cause?: string; sid?: string }[]
    }
    return results.map(({ active, cause = '', sid = '' }) => (active ? sid : cause))
  }
  const ids = devices.map(({ sessionId }) => sessionId)
  for (const node of [one, two])
    t.strictSame(await check(node), [ada.sessionId, 'credential_malformed', ...ids])
  await until(
    'the shards to answer for the store',
    async () => (await counting(() => check(two))).queries === 0
  )
  const known = await counting(async () => {
    t.strictSame(await check(two), [ada.sessionId, 'credential_malformed', ...ids])
  })
  t.equal(known.queries, 0)
  t.ok(known.commands >= 1 + ids.length, 'each session was read from its shard')

  t.equal((await ada.browser.delete('/sessions?except=current')).status, 200)
  for (const node of [two, one])
    t.strictSame(await check(node), [
      ada.sessionId,
      'credential_malformed',
      ...ids.map(() => 'session_revoked')
    ])
}

/** If one shard of a cluster does not answer, the others still do. */
async function shardsAnswerAlone(
  t: Test,
  redisUrl: string,
  [, sick = 0]: readonly number[]
): Promise<void> {
  const redis = connectRedis(redisUrl)
  t.teardown(() => redis.disconnect())
  await until('the cluster to be reached', () => redis.status === 'ready')
  const cache = new SharedCache(
    redis,
    new Breaker(systemClock.monotonic),
    new CopyMac(deriveKeys(randomUUID()).all)
  )
  cache.namespace = randomUUID()
  const ids = Array.from({ length: 12 }, () => randomUUID())
  const fills = (await cache.readAll(ids, '')).flatMap((lease, i) =>
    lease.kind === 'lease'
      ? [{ sessionId: ids[i] ?? '', lease, version: 1, text: 'copy', ttlMs: 60_000 }]
      : []
  )
  t.ok((await cache.fillAll(fills)).every(Boolean))
  t.equal(spawnSync('redis-cli', ['-p', String(sick), 'client', 'pause', '1500', 'all']).status, 0)
  const kinds = (await cache.readAll(ids, '')).map(({ kind }) => kind)
  t.strictSame(new Set(kinds), new Set(['hit', 'none']), kinds.join(' '))
}

/**
 * Starts a Redis of some kind on a free port. One of a cluster also takes the port ten thousand
 * above: where that is taken, Redis exits, and another pair is tried.
 */
async function redisServer(t: Test, flags: string[] = [], configuration = ''): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (;;) {
    const port = await freePort()
    const file = join(folder, 'redis.conf')
    writeFileSync(
      file,
      `port ${port}\nbind 127.0.0.1\ndir ${folder}\n${flags.includes('--sentinel') ? '' : 'save ""\nappendonly no\n'}${configuration}`
    )
    const server: ChildProcess = spawn(
      'redis-server',
      [file, ...flags.map((flag) => flag.replace('{port}', String(port)))],
      { stdio: 'ignore' }
    )
    const exited = once(server, 'exit')
    const isUp = await until('Redis to start', async () =>
      server.exitCode !== null ? 'no' : (await accepts('127.0.0.1', port)) && 'yes'
    )
    if (isUp === 'no') continue
    t.teardown(async () => {
      server.kill('SIGKILL')
      await exited
    })
    return port
  }
}
