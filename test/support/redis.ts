import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { Redis } from 'ioredis'
import { accepts, freePort } from './ports.js'
import { until } from './poll.js'

/** A private Redis server. */
export interface PrivateRedis {
  readonly url: string
  readonly port: number
  /** Starts it again, empty. */
  start(): Promise<void>
  stop(): Promise<void>
  flush(): Promise<void>
}

/**
 * Starts redis-server on a free port, with further settings, and without persistence. Null where it
 * is not on the PATH.
 */
export async function startRedis(settings: string[] = []): Promise<PrivateRedis | null> {
  if (spawnSync('redis-server', ['--version']).status !== 0) return null
  const port = await freePort()
  let server: ChildProcess | null = null
  const redis: PrivateRedis = {
    url: `redis://127.0.0.1:${port}`,
    port,
    async start() {
      server = spawn(
        'redis-server',
        [
          '--port',
          String(port),
          '--bind',
          '127.0.0.1',
          '--save',
          '',
          '--appendonly',
          'no',
          '--repl-diskless-load',
          'swapdb',
          ...settings
        ],
        { stdio: 'ignore', cwd: tmpdir() }
      )
      await until('Redis to start', () => accepts('127.0.0.1', port))
    },
    async stop() {
      if (!server) return
      const exited = once(server, 'exit')
      server.kill('SIGKILL')
      await exited
      server = null
    },
    async flush() {
      const client = new Redis(redis.url)
      await client.flushall()
      client.disconnect()
    }
  }
  await redis.start()
  return redis
}
