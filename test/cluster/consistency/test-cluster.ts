import Fastify from 'fastify'
import type { Test } from 'tap'
import type { HoldfastOptions } from '../../../src/config.js'
import { freshStore } from '../../support/server.js'
import { until } from '../../support/poll.js'
import { startRedis, type PrivateRedis } from '../../support/redis.js'
import { ask, BASE_URL, call, finalAt, type Target } from './client.js'
import { History } from './history.js'
import { TcpProxy } from '../../support/tcp-proxy.js'
import { loadHoldfast } from '../../support/weakened-build.js'
import { People, type Ticket } from './fixtures.js'
import { command } from './redis-command.js'

/** A node in this process, with its own TCP proxy to each service. */
export interface TestNode extends Target {
  redis: TcpProxy
  postgres: TcpProxy
}

/** Where a cluster registers its clean-up, run in reverse order: a tap test, or the checker. */
export type Teardowns = Pick<Test, 'teardown'>

export interface TestClusterOptions {
  /** The store. By default one of the test's own. */
  store?: HoldfastOptions | undefined
  /** Protections to leave out. */
  leaveOut?: readonly string[]
  leaseMs?: number
  cacheTtlSeconds?: number
}

/**
 * A small test cluster for one interleaving: its own store and Redis, and nodes whose TCP proxies
 * the test controls.
 */
export class TestCluster {
  readonly history = new History()
  readonly primary: PrivateRedis
  readonly people: People
  readonly #t: Teardowns
  readonly #store: HoldfastOptions
  readonly #settings: HoldfastOptions
  readonly #leaveOut: readonly string[]
  #nodes = 0

  private constructor(
    t: Teardowns,
    primary: PrivateRedis,
    store: HoldfastOptions,
    settings: HoldfastOptions,
    leaveOut: readonly string[]
  ) {
    this.#t = t
    this.primary = primary
    this.#store = store
    this.#settings = settings
    this.#leaveOut = leaveOut
    this.people = new People(store.databaseUrl ?? '', store.authSecret ?? '')
  }

  static async open(
    t: Teardowns,
    { store, leaveOut = [], leaseMs = 600, cacheTtlSeconds = 60 }: TestClusterOptions = {}
  ): Promise<TestCluster> {
    const redis = await privateRedis(t)
    const cluster = new TestCluster(
      t,
      redis,
      store ?? (await freshStore(t)),
      {
        nodeLeaseMs: leaseMs,
        cacheTtlSeconds
      },
      leaveOut
    )
    t.teardown(() => cluster.people.close())
    return cluster
  }

  /**
   * Starts another node. It answers from its caches a moment later (`warm`).
   *
   * @param deaf it has read the outbox once, will not read it again, and reaches Redis only after
   *   its TCP proxy is mended
   */
  async node({ deaf = false } = {}): Promise<TestNode> {
    const name = `node ${++this.#nodes}`
    const databaseUrl = new URL(this.#store.databaseUrl ?? '')
    const redis = await TcpProxy.to(this.primary.port)
    const postgres = await TcpProxy.to(Number(databaseUrl.port || 5432))
    databaseUrl.port = String(postgres.port)
    if (deaf) redis.cut()
    const app = Fastify({ logger: false })
    await app.register(await loadHoldfast(this.#leaveOut), {
      ...this.#store,
      databaseUrl: databaseUrl.href,
      redisUrl: `redis://127.0.0.1:${redis.port}`,
      baseUrl: BASE_URL,
      rateLimit: false,
      logLevel: 'silent',
      roles: ['reader'],
      ...this.#settings
    })
    this.#t.teardown(async () => {
      redis.release()
      postgres.release()
      await app.close()
      await Promise.all([redis.close(), postgres.close()])
    })
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    if (deaf) this.silenceOutbox({ postgres })
    return { name, url, redis, postgres }
  }

  /** A session that no node has seen yet. */
  async session(): Promise<Ticket> {
    const {
      sessions: [ticket]
    } = await this.people.make(1)
    if (!ticket) throw new Error('no session was made')
    return ticket
  }

  async check(node: Target, ticket: Ticket): Promise<string> {
    const check = await ask(node, ticket, 'bearer')
    this.history.check(ticket.sessionId, ticket.userId, check)
    return check.says
  }

  /** Revokes a session at a node, with the session's own credential. */
  async revoke(node: Target, ticket: Ticket, way: 'delete' | 'sign-out' = 'delete'): Promise<void> {
    this.history.beginRevocation([ticket.sessionId])
    // a young lease table is waited for, and a cluster may have a long lease
    const timeoutMs = 15_000
    const answer =
      way === 'delete'
        ? await call(node, `/sessions/${ticket.sessionId}`, { method: 'DELETE', ticket, timeoutMs })
        : await call(node, '/api/auth/sign-out', {
            method: 'POST',
            ticket,
            as: 'cookie',
            body: {},
            timeoutMs
          })
    const final = finalAt(answer)
    if (final === null || final > answer.end)
      throw new Error(`the revocation was answered ${answer.status} ${JSON.stringify(answer.body)}`)
    this.history.acknowledge([ticket.sessionId], answer, final)
  }

  /**
   * Waits until a node answers for this session from its local cache: it holds its lease, and has a
   * copy.
   */
  async warm(node: TestNode, ticket: Ticket): Promise<void> {
    await until(`${node.name} to hold a lease and a copy`, async () => {
      let asked = false
      const listener = (text: string) => {
        asked ||= text.includes(ticket.sessionId)
      }
      const ends = [node.redis.listen(listener), node.postgres.listen(listener)]
      const says = await this.check(node, ticket)
      for (const end of ends) end()
      return says === 'active' && !asked
    })
  }

  /** Two nodes that hold their leases. */
  async pair(): Promise<[TestNode, TestNode]> {
    const nodes = await Promise.all([this.node(), this.node()])
    const other = await this.session()
    await Promise.all(nodes.map((node) => this.warm(node, other)))
    return nodes
  }

  /** Cuts the node off from the outbox, which would otherwise repair what Redis did not deliver. */
  silenceOutbox(node: Pick<TestNode, 'postgres'>): void {
    node.postgres.watch((text, direction, wire) => {
      if (direction === 'toServer') wire.marked ||= text.includes('pg_snapshot_xmin')
      return wire.marked ? 'hold' : 'pass'
    })
  }

  /** Starts a replica of the primary. `link` is the TCP proxy between them. */
  async replica(): Promise<{
    replica: PrivateRedis
    link: TcpProxy
    promote: () => Promise<void>
  }> {
    const replica = await privateRedis(this.#t)
    const link = await TcpProxy.to(this.primary.port)
    this.#t.teardown(() => link.close())
    await command(replica.port, 'REPLICAOF', '127.0.0.1', String(link.port))
    await until('the replica to follow', async () =>
      String(await command(replica.port, 'INFO', 'replication')).includes('master_link_status:up')
    )
    return {
      replica,
      link,
      promote: async () => {
        await command(replica.port, 'REPLICAOF', 'NO', 'ONE')
      }
    }
  }
}

async function privateRedis(t: Teardowns): Promise<PrivateRedis> {
  const redis = await startRedis(['--repl-diskless-sync-delay', '0'])
  if (!redis) throw new Error('redis-server is needed')
  t.teardown(() => redis.stop())
  return redis
}
