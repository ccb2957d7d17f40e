import { isCluster, type RedisConnection } from './redis.js'

/** Keys that Redis looks at in one step. */
const STEP = 1_000

/** What the keys of counts (budgets.ts) begin with, in a Redis that several stores may share. */
export function countsOf(storeId: string): string {
  return `holdfast:${storeId}:limit:`
}

/**
 * Forgets counts of guesses at an account, and at its user's password. Which networks and devices
 * they are counted for stands in their keys alone, so that Redis is looked through, in steps: an
 * erasure is rare, and what it misses ends within the hour.
 *
 * @throws Error when Redis does not answer
 */
export async function forgetCounts(
  redis: RedisConnection,
  storeId: string,
  { account, userId }: { account: string; userId: string }
): Promise<void> {
  const counts = countsOf(storeId)
  await redis.del(`${counts}${userId}:password-user`)
  await redis.del(`${counts}${userId}:password-user:late`)
  for (const node of isCluster(redis) ? redis.nodes('master') : [redis]) {
    let cursor = '0'
    do {
      const [next, keys] = await node.scan(cursor, 'MATCH', `${counts}${account}:*`, 'COUNT', STEP)
      for (const key of keys) await redis.del(key) // in a cluster each has a slot of its own
      cursor = next
    } while (cursor !== '0')
  }
}
