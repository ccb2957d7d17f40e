import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Question, Usage } from './servers/child.js'

/** The program that serves: its file in `servers/`. */
export type Program = 'holdfast' | 'workers' | 'bare' | 'better-auth' | 'oidc-provider'

/** A server in a process of its own. */
export class BenchServer {
  readonly url: string
  readonly #child: ChildProcess
  readonly #answers = new Map<number, (usage: Usage) => void>()
  #asked = 0

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
    child.on('message', (usage: Usage) => {
      this.#answers.get(usage.id)?.(usage)
      this.#answers.delete(usage.id)
    })
  }

  /** Starts it with these settings as environment. Resolves when it listens. */
  static async start(
    program: Program,
    env: Record<string, string>,
    execArgv: readonly string[] = []
  ): Promise<BenchServer> {
    const child = fork(fileURLToPath(new URL(`servers/${program}.js`, import.meta.url)), [], {
      env: { PATH: process.env['PATH'] ?? '', NODE_ENV: 'production', ...env },
      // V8 compacts a process that was idle for some seconds. Afterwards even an empty route costs
      // a third more until the process ends. Here servers are idle while others take their turn,
      // which a server under load never is.
      execArgv: ['--enable-source-maps', '--no-memory-reducer', ...execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
    const url = await new Promise<string>((resolve, reject) => {
      child.once('message', (message: { url: string }) => resolve(message.url))
      child.once('exit', (code) =>
        reject(new Error(`${program} ended with ${code} before it listened`))
      )
    })
    return new BenchServer(child, url)
  }

  /** Its usage so far; after a garbage collection where it was started with `--expose-gc`. */
  usage({ collect = false } = {}): Promise<Usage> {
    const id = ++this.#asked
    return new Promise((resolve, reject) => {
      this.#answers.set(id, resolve)
      this.#child.send({ id, collect } satisfies Question, (error) => {
        if (error) reject(error)
      })
    })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.disconnect()
    await exited
  }
}
