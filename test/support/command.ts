import { spawn, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { HoldfastOptions } from '../../src/config.js'
import { storage } from './server.js'

const cli = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

/** For tests that need a terminal, which util-linux's `script` provides. */
export const hasTerminal = {
  skip:
    spawnSync('script', ['--version']).status === 0
      ? false
      : 'script, which makes a terminal, is not on the PATH'
}

/** How a command ended. */
export interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  /** Standard input; none by default. */
  input?: string | Buffer
  /** Whether it has a terminal. Then all its output is in `stdout`. */
  terminal?: boolean
  /** On a terminal: the text to type as soon as each prompt has appeared. */
  typed?: [prompt: string, text: string][]
  env?: Record<string, string>
}

/**
 * Runs a command of `holdfast` on the store of a server, with its settings, in a process of its
 * own.
 */
export function command(
  options: HoldfastOptions,
  words: readonly string[],
  { input, terminal = false, typed = [], env = {} }: CommandOptions = {}
): Promise<Ended> {
  const { dataDir, databaseUrl, redisUrl, authSecret, sessionRetentionSeconds = 3_600 } = options
  const store: Record<string, string | undefined> =
    storage === 'embedded'
      ? { DATA_DIR: dataDir }
      : { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, BASE_URL: 'http://localhost:3000' }
  const settings = {
    PATH: process.env['PATH'],
    AUTH_SECRET: authSecret,
    SESSION_RETENTION_SECONDS: String(sessionRetentionSeconds),
    ROLES: 'auditor',
    ...store,
    ...env
  }
  const [program, ...args] = terminal
    ? ['script', '-qec', [process.execPath, cli, ...words].join(' '), '/dev/null']
    : [process.execPath, cli, ...words]
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: settings,
      stdio: [input === undefined && !terminal ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      cwd: tmpdir()
    })
    const waiting = [...typed]
    let [stdout, stderr, seen] = ['', '', 0]
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      const [prompt = '', text = ''] = waiting[0] ?? []
      const at = waiting.length === 0 ? -1 : stdout.indexOf(prompt, seen)
      if (at < 0) return
      seen = at + prompt.length
      waiting.shift()
      child.stdin?.write(text)
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    child.stdin?.on('error', () => {}) // it may end before it has read everything
    if (input !== undefined) child.stdin?.end(input)
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, stdout, stderr }))
  })
}
