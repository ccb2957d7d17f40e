import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { resolveConfig } from '../../../src/config.js'
import { migrate } from '../../../src/database/migrate.js'
import { openDatabase } from '../../../src/holdfast/open-store.js'
import { until } from '../../support/poll.js'
import { freePort } from '../../support/ports.js'
import type { PrivatePostgres } from '../../support/postgres.js'
import { startRedis, type PrivateRedis } from '../../support/redis.js'
import { BASE_URL, type Target } from './client.js'
import { TcpProxy } from '../../support/tcp-proxy.js'
import type { Order, OrderDone } from './node.js'
import { command } from './redis-command.js'

const entry = fileURLToPath(new URL('./node.js', import.meta.url))
const NODES = 3
export const LEASE_MS = 1_000
export const CACHE_TTL_SECONDS = 10

/** The roles that a run gives users one after the other, so that each value is new. */
const readers = Array.from({ length: 2_000 }, (_, value) => `reader-${value}`)

/** A server process with its own TCP proxy to Redis. */
export class ServerNode implements Target {
  readonly name: string
  readonly url: string
  readonly line: TcpProxy
  readonly #env: Record<string, string>
  readonly #orders = new Map<
    number,
    { resolve: (done: OrderDone) => void; reject: (error: Error) => void }
  >()
  #child: ChildProcess | null = null
  #ordered = 0
  /** The process's stderr, for an unexpected end. */
  #stderr = ''

  constructor(name: string, port: number, line: TcpProxy, env: Record<string, string>) {
    this.name = name
    this.url = `http://127.0.0.1:${port}`
    this.line = line
    this.#env = { ...env, PORT: String(port), REDIS_URL: `redis://127.0.0.1:${line.port}` }
  }

  /** Starts the process; resolves when it listens. */
  async start(): Promise<void> {
    const child = fork(entry, [], {
      env: { PATH: process.env['PATH'] ?? '', ...this.#env },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: ['--enable-source-maps']
    })
    this.#child = child
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-4_000)
    })
    const ready = new Promise<void>((resolve, reject) => {
      child.on(
        'message',
        (message: { ready?: true; id?: number; done?: OrderDone; error?: string }) => {
          if (message.ready) resolve()
          const order = this.#orders.get(message.id ?? 0)
          this.#orders.delete(message.id ?? 0)
          if (message.done) order?.resolve(message.done)
          else order?.reject(new Error(message.error))
        }
      )
      child.once('exit', () => {
        reject(new Error(`${this.name} ended: ${this.#stderr}`))
        for (const order of this.#orders.values()) order.reject(new Error(`${this.name} ended`))
        this.#orders.clear()
      })
    })
    await ready
  }

  /** Makes the process do something outside of HTTP, as the command line would. */
  order(order: Order): Promise<OrderDone> {
    const id = ++this.#ordered
    return new Promise((resolve, reject) => {
      if (!this.#child?.connected) {
        reject(new Error(`${this.name} does not run`))
        return
      }
      this.#orders.set(id, { resolve, reject })
      this.#child.send({ id, order }, (error) => {
        if (error) reject(error)
      })
    })
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal)
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    this.#child = null
  }
}

export interface DeploymentOptions {
  /** Protections to leave out. */
  leaveOut: readonly string[]
  /** A running server. */
  postgres: PrivatePostgres
}

/** Three servers on one PostgreSQL and a private Redis with a replica. */
export class Deployment {
  readonly authSecret = 'a secret for the checker only: 8c1b5e0f7d2a9463'
  readonly postgres: PrivatePostgres
  readonly nodes: ServerNode[] = []
  primary: PrivateRedis
  replica: PrivateRedis
  #link: TcpProxy

  private constructor(
    postgres: PrivatePostgres,
    primary: PrivateRedis,
    replica: PrivateRedis,
    link: TcpProxy
  ) {
    this.postgres = postgres
    this.primary = primary
    this.replica = replica
    this.#link = link
  }

  /** Starts everything on that PostgreSQL; null where redis-server is missing. */
  static async start({ leaveOut, postgres }: DeploymentOptions): Promise<Deployment | null> {
    const settings = [
      '--enable-debug-command',
      'yes',
      '--repl-diskless-sync-delay',
      '0',
      '--maxmemory-policy',
      'allkeys-lru'
    ]
    const primary = await startRedis(settings)
    const replica = await startRedis(settings)
    if (!primary || !replica) return null
    const deployment = new Deployment(postgres, primary, replica, await TcpProxy.to(primary.port))
    try {
      const settingsOfNodes = {
        databaseUrl: postgres.url,
        baseUrl: BASE_URL,
        authSecret: deployment.authSecret
      }
      const database = await openDatabase(resolveConfig(settingsOfNodes), { onWarning: () => {} })
      await migrate(database)
      await database.close()
      await deployment.follow()
      const env = {
        DATABASE_URL: postgres.url,
        BASE_URL,
        AUTH_SECRET: deployment.authSecret,
        RATE_LIMIT: 'off',
        DATABASE_POOL_SIZE: '8',
        ROLES: readers.join(),
        NODE_LEASE_MS: String(LEASE_MS),
        CACHE_TTL_SECONDS: String(CACHE_TTL_SECONDS),
        HOLDFAST_TEST_LEAVE_OUT: leaveOut.join()
      }
      for (let i = 0; i < NODES; i++)
        deployment.nodes.push(
          new ServerNode(`node ${i + 1}`, await freePort(), await TcpProxy.to(primary.port), env)
        )
      await Promise.all(deployment.nodes.map((node) => node.start()))
      return deployment
    } catch (error) {
      await deployment.stop()
      throw error
    }
  }

  /** Makes the replica follow the primary. */
  async follow(): Promise<void> {
    this.#link.leadTo(this.primary.port)
    this.#link.mend()
    await command(this.replica.port, 'REPLICAOF', '127.0.0.1', String(this.#link.port))
    await until('the replica to follow', async () =>
      String(await command(this.replica.port, 'INFO', 'replication')).includes(
        'master_link_status:up'
      )
    )
  }

  /** Cuts replication: later writes to the primary do not reach the replica. */
  isolate(): void {
    this.#link.cut()
  }

  /**
   * Promotes the replica, and connects every node to it at once. The old primary stays up, without
   * nodes.
   */
  async failOver(): Promise<PrivateRedis> {
    this.isolate()
    await command(this.replica.port, 'REPLICAOF', 'NO', 'ONE')
    for (const { line } of this.nodes) line.leadTo(this.replica.port)
    const old = this.primary
    this.primary = this.replica
    this.replica = old
    return old
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()))
    await Promise.all([this.#link.close(), ...this.nodes.map(({ line }) => line.close())])
    await Promise.all([this.primary.stop(), this.replica.stop()])
  }
}
