import { Redis } from 'ioredis'

/** Sends one command to a Redis directly, past every TCP proxy. */
export async function command(
  port: number,
  name: string,
  ...args: (string | number | Buffer)[]
): Promise<unknown> {
  const redis = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: 1_000,
    commandTimeout: 5_000
  })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await redis
      .callBuffer(name, ...args)
      .then((reply) => (reply instanceof Buffer && name !== 'DUMP' ? reply.toString() : reply))
  } finally {
    redis.disconnect()
  }
}
