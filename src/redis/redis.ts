import { readFileSync } from 'node:fs'
import { Cluster, Redis, ReplyError, type RedisOptions } from 'ioredis'
import { StandaloneConnector } from 'ioredis/built/connectors/index.js'
import { parseRedisUrl, type RedisNode, type RedisTarget } from './redis-url.js'

/** A connection to Redis, standalone, behind Sentinel or a cluster. */
export type RedisConnection = Redis | Cluster

/** ioredis' options, and ours. */
export interface ConnectOptions extends RedisOptions {
  /** A file of CA certificates (PEM) that replace the system's. */
  caFile?: string | undefined
  /** Called with the reason for leaving a server: see `LEAVING`. */
  onLeave?: (error: Error) => void
}

/**
 * Errors of a server that can no longer serve, though another one behind the same name may: it was
 * demoted (READONLY), has lost its primary or replicas, loads its data, or has forgotten this
 * client. The connection is closed and opened again.
 */
const LEAVING = /\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|NOAUTH)\b/

/**
 * ioredis listens for one error of a socket only. TLS may report a second one, such as the peer's
 * alert to an aborted handshake, which would end the process.
 */
class Connector extends StandaloneConnector {
  constructor(options: unknown) {
    super(options as ConstructorParameters<typeof StandaloneConnector>[0])
  }

  override async connect(
    ...args: Parameters<StandaloneConnector['connect']>
  ): ReturnType<StandaloneConnector['connect']> {
    const stream = await super.connect(...args)
    stream.on('error', () => {})
    return stream
  }
}

/**
 * Settings that fail fast and never send a write twice. A command that timed out here and is sent
 * again after a flush would bring back a revoked session. The cache is an optimisation, so waiting
 * for it makes no sense.
 */
const failFast = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  commandTimeout: 250,
  connectTimeout: 1_000,
  // A connection that was given up may never report that itself.
  disconnectTimeout: 250,
  keepAlive: 1_000,
  retryStrategy: (attempt: number) => Math.min(25 * attempt, 500)
} satisfies RedisOptions

/**
 * Connects to the Redis that a URL names (`parseRedisUrl`).
 *
 * @throws RedisUrlError for a URL that cannot be parsed
 * @throws when the file of CA certificates cannot be read
 */
export function connectRedis(
  url: string,
  { caFile, onLeave, ...overrides }: ConnectOptions = {}
): RedisConnection {
  const { kind, tls, nodes, login, database, family, sentinel } = parseRedisUrl(url)
  const encrypted: Pick<RedisOptions, 'tls'> = tls
    ? { tls: caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') } }
    : {}
  const reconnectOnError = (error: Error): boolean => {
    const isLeft = LEAVING.test(error.message)
    if (isLeft) onLeave?.(error)
    return isLeft
  }
  const options: RedisOptions = {
    ...failFast,
    reconnectOnError,
    ...encrypted,
    ...login,
    db: database,
    family,
    ...overrides
  }
  if (kind === 'cluster') {
    return new Cluster(nodes, {
      enableOfflineQueue: false,
      shardedSubscribers: true,
      clusterRetryStrategy: failFast.retryStrategy,
      // With TLS a node is addressed by the name in its certificate.
      ...(tls ? { dnsLookup: (address, callback) => callback(null, address) } : {}),
      redisOptions: { ...options, Connector }
    })
  }
  const route: RedisOptions = sentinel
    ? throughSentinels(nodes, sentinel, encrypted)
    : { ...nodes[0], Connector }
  const redis = new Redis({ ...options, ...route })
  redis.on('error', (error: Error) => {
    if (isAboutDatabase(error)) redis.disconnect(true)
  })
  return redis
}

function throughSentinels(
  sentinels: RedisNode[],
  { primary, login }: NonNullable<RedisTarget['sentinel']>,
  { tls }: Pick<RedisOptions, 'tls'>
): RedisOptions {
  return {
    sentinels,
    name: primary,
    sentinelRetryStrategy: failFast.retryStrategy,
    ...(login ? { sentinelUsername: login.username, sentinelPassword: login.password } : {}),
    ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls } : {})
  }
}

/** Whether commands and channels must follow a cluster's slots. */
export function isCluster(redis: RedisConnection): redis is Cluster {
  return redis instanceof Cluster
}

/** The error text that Redis itself sent. Null for an error that it did not write. */
export function describeRedisRefusal(error: unknown): string | null {
  if (!(error instanceof Error) || !(error instanceof ReplyError)) return null
  const [words = ''] = error.message.split(/[\r\n]| script: /, 1)
  const hint = /^MOVED\b/.test(words)
    ? ' (REDIS_URL names one node of a cluster: redis+cluster:// is needed)'
    : ''
  return words.slice(0, 200) + hint
}

/** ioredis goes on in database 0 where the requested one does not exist. */
function isAboutDatabase(error: Error & { command?: { name?: string } }): boolean {
  return error instanceof ReplyError && error.command?.name === 'select'
}
