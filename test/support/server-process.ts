import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { tmpdir } from 'node:os'
import type { Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import { until } from './poll.js'
import { freePort } from './ports.js'

const cli = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

/** A process of the command line, with what it has written so far. */
export interface CliProcess {
  readonly pid: number
  stdout: string
  stderr: string
  /** The exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>
  /** Sends a signal and waits for the end. */
  kill(signal?: 'SIGINT' | 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

/** A server in a process of its own. */
export interface ServerProcess extends CliProcess {
  readonly url: string
}

/**
 * Runs `holdfast <args>` in a directory without `.env`. Its environment has the settings and `env`,
 * and nothing else of this process's environment. It ends with the test.
 */
export function runCli(
  t: Test,
  args: string[],
  options: HoldfastOptions,
  { env = {}, cwd = tmpdir() }: { env?: Record<string, string>; cwd?: string } = {}
): CliProcess {
  const child = spawn(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd,
    env: { PATH: process.env['PATH'], ...environmentOf(options), ...env }
  })
  const exited = once(child, 'close').then(([code]) => code as number | null)
  const running: CliProcess = {
    pid: child.pid ?? 0,
    stdout: '',
    stderr: '',
    exited,
    kill(signal = 'SIGKILL') {
      child.kill(signal)
      return exited
    }
  }
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    running.stdout += chunk
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    running.stderr += chunk
  })
  t.teardown(() => running.kill())
  return running
}

/** Runs `holdfast start`, and waits until it is alive. Its store need not answer yet. */
export async function startServer(t: Test, options: HoldfastOptions): Promise<ServerProcess> {
  const port = options.port ?? (await freePort())
  const url = `http://127.0.0.1:${port}`
  const server = runCli(t, ['start'], {
    baseUrl: url,
    rateLimit: false,
    logLevel: 'warn',
    ...options,
    port
  })
  const alive = until(
    'the server to start',
    async () => (await fetch(`${url}/health/live`)).ok,
    60_000
  )
  const ended = server.exited.then(() => {
    throw new Error(`the server ended: ${server.stderr}`)
  })
  ended.catch(() => {}) // it ends some time after it was alive
  await Promise.race([alive, ended])
  return Object.assign(server, { url })
}

/** `databaseUrl` is DATABASE_URL, `rateLimit: false` is RATE_LIMIT=off, and so on. */
function environmentOf(options: HoldfastOptions): Record<string, string> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
      typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value)
    ])
  )
}
