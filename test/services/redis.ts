import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accepts, freePort } from './ports.js'
import { until } from './poll.js'

/** A Redis server of one's own. */
export interface PrivateRedis {
  readonly url: string
  stop(): Promise<void>
}

/** Starts redis-server on a free port, keeping nothing on disk; null where there is none on the PATH. */
export async function startRedis(): Promise<PrivateRedis | null> {
  if (spawnSync('redis-server', ['--version']).status !== 0) return null
  const port = await freePort()
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' })
  await until('Redis to start', () => accepts('127.0.0.1', port))
  return {
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      const exited = once(server, 'exit')
      server.kill('SIGKILL')
      await exited
    }
  }
}
