import { randomUUID } from 'node:crypto'
import t from 'tap'
import { Breaker } from '../src/cache/breaker.js'
import { allProtections } from '../src/cache/protections.js'
import { connectRedis } from '../src/cache/redis.js'
import { SharedCache } from '../src/cache/shared-cache.js'
import { redisUrl, storage } from './helper.js'

// Found by the model: the lease of the old primary was still held, the copy that outlived its tombstone carried the same stamp.
t.test('a copy from another history is no hit, whatever the lease says', { skip: storage === 'embedded' && 'needs Redis' }, async (t) => {
  const redis = connectRedis(redisUrl, { enableOfflineQueue: true })
  t.teardown(() => redis.disconnect())
  const [namespace, id] = [randomUUID(), randomUUID()]
  const cache = new SharedCache(redis, new Breaker(), allProtections)
  cache.namespace = namespace
  const lease = await cache.read(id, '')
  if (lease.kind !== 'lease') throw new Error(lease.kind)
  t.equal(await cache.fill(id, lease, 1, 'copy', 60_000), true)
  t.match(await cache.read(id, lease.stamp), { kind: 'hit', body: 'copy' })
  t.notMatch(await cache.read(id, 'old'), { kind: 'hit' }, 'the lease stands on another history')
  await redis.hset(`holdfast:${namespace}:{${id}}:session`, 'stamp', 'old')
  t.notMatch(await cache.read(id, 'old'), { kind: 'hit' }, 'lease and copy agree, the server does not')
})
