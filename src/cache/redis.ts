import { Cluster, Redis, type RedisOptions } from 'ioredis'

/** A connection to Redis, standalone, behind Sentinel or a cluster. */
export type RedisConnection = Redis | Cluster

/**
 * Settings that fail fast and never send a write twice: a command that timed out here and is sent again after a flush would
 * bring back what was revoked. The cache is an optimisation; waiting for it is not.
 */
const failFast = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  commandTimeout: 250,
  connectTimeout: 1_000,
  // A connection that was given up may never say so itself.
  disconnectTimeout: 250,
  keepAlive: 1_000,
  retryStrategy: (attempt: number) => Math.min(25 * attempt, 500)
} satisfies RedisOptions

/**
 * Connects to the Redis that a URL names: `redis://` and `rediss://` for one server, `redis+sentinel://host:port,host:port/master` for
 * Sentinel, `redis+cluster://host:port,host:port` for a cluster.
 */
export function connectRedis(url: string, overrides: RedisOptions = {}): RedisConnection {
  const options = { ...failFast, ...overrides }
  const [, scheme = '', credentials = '', hosts = '', path = ''] = /^([a-z+]+):\/\/(?:([^@/]*)@)?([^/]+)\/?(.*)$/.exec(url) ?? []
  if (scheme !== 'redis+sentinel' && scheme !== 'redis+cluster') return new Redis(url, options)
  const [username = '', password = ''] = credentials.split(':').map(decodeURIComponent)
  const login = password ? { username: username || 'default', password } : {}
  const nodes = hosts.split(',').map((host) => {
    const at = host.lastIndexOf(':')
    return { host: at < 0 ? host : host.slice(0, at), port: at < 0 ? (scheme === 'redis+sentinel' ? 26_379 : 6379) : Number(host.slice(at + 1)) }
  })
  if (scheme === 'redis+sentinel') return new Redis({ ...options, ...login, sentinels: nodes, name: path || 'mymaster', sentinelRetryStrategy: failFast.retryStrategy })
  return new Cluster(nodes, {
    enableOfflineQueue: false,
    shardedSubscribers: true,
    clusterRetryStrategy: failFast.retryStrategy,
    redisOptions: { ...options, ...login }
  })
}

/** Whether commands and channels must follow a cluster's slots. */
export function isCluster(redis: RedisConnection): redis is Cluster {
  return redis instanceof Cluster
}
