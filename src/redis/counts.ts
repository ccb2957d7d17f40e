import { isCluster, type RedisConnection } from './redis.js'

/** Keys that Redis scans in one step. */
const STEP = 1_000

/** The prefix of the counters' keys (budgets.ts), in a Redis that several stores may share. */
export function countsPrefix(storeId: string): string {
  return `holdfast:${storeId}:limit:`
}

/**
 * Deletes the counters of guesses at an account and at its user's password, and of mails to its
 * address. The networks and devices are only in the keys, so Redis is scanned in steps. An erasure is
 * rare, and counters that the scan misses expire within a day.
 *
 * @throws Error when Redis does not answer
 */
export async function forgetCounts(
  redis: RedisConnection,
  storeId: string,
  { account, userId }: { account: string; userId: string }
): Promise<void> {
  const counts = countsPrefix(storeId)
  await redis.del(`${counts}${userId}:password-user`)
  await redis.del(`${counts}${userId}:password-user:late`)
  for (const node of isCluster(redis) ? redis.nodes('master') : [redis]) {
    let cursor = '0'
    do {
      const [next, keys] = await node.scan(cursor, 'MATCH', `${counts}${account}:*`, 'COUNT', STEP)
      for (const key of keys) await redis.del(key) // in a cluster each key has its own slot
      cursor = next
    } while (cursor !== '0')
  }
}
