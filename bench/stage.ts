import { resolveConfig } from '../src/config.js'
import { migrate } from '../src/database/migrate.js'
import { openDatabase } from '../src/holdfast/open-store.js'
import {
  execute,
  createPostgres,
  findPostgresPrograms,
  type PrivatePostgres
} from '../test/support/postgres.js'
import { startRedis, type PrivateRedis } from '../test/support/redis.js'
import { BenchServer, type Program } from './server.js'

export const authSecret = 'a secret for the bench only: 5d2c8e0a9b7f4163'
/** The gateway that checks tokens. */
export const gateway = { id: 'bench', secret: 'a-gateway-secret-of-the-bench-0123456789' }
const BASE_URL = 'http://localhost:3000'

/** The stores, private to a run, and the servers on them. */
export class Stage {
  readonly #postgres: PrivatePostgres
  readonly #redis: PrivateRedis
  readonly #servers: BenchServer[] = []
  readonly #execArgv: readonly string[]
  /** Whether the whole run must end within a minute. */
  readonly quick: boolean

  private constructor(
    postgres: PrivatePostgres,
    redis: PrivateRedis,
    quick: boolean,
    execArgv: readonly string[]
  ) {
    this.#postgres = postgres
    this.#redis = redis
    this.quick = quick
    this.#execArgv = execArgv
  }

  /** @param execArgv options of node for the Holdfast servers, such as `--cpu-prof` */
  static async open({
    quick,
    execArgv
  }: {
    quick: boolean
    execArgv: readonly string[]
  }): Promise<Stage> {
    const programs = findPostgresPrograms()
    const redis = await startRedis()
    if (!programs || !redis) {
      await redis?.stop()
      throw new Error(
        'the bench needs the programs of PostgreSQL and redis-server on this machine, for stores of its own'
      )
    }
    const postgres = await createPostgres(programs)
    await postgres.start()
    return new Stage(postgres, redis, quick, execArgv)
  }

  get redisUrl(): string {
    return this.#redis.url
  }

  /** Creates a database with the schema. Returns its URL. */
  async database(name: string): Promise<string> {
    const databaseUrl = await this.emptyDatabase(name)
    const database = await openDatabase(
      resolveConfig({ databaseUrl, baseUrl: BASE_URL, authSecret }),
      { onWarning: () => {} }
    )
    await migrate(database)
    await database.close()
    return databaseUrl
  }

  async emptyDatabase(name: string): Promise<string> {
    await execute(this.#postgres.url, `CREATE DATABASE ${name}`)
    const url = new URL(this.#postgres.url)
    url.pathname = `/${name}`
    return url.href
  }

  /**
   * Starts a server, which ends with its family. On Holdfast's it calls an endpoint of better-auth,
   * so that better-auth's code has run and its storages were in use, as on any server where users
   * sign in.
   */
  async start(
    program: Program,
    databaseUrl: string,
    env: Record<string, string> = {},
    execArgv: readonly string[] = []
  ): Promise<BenchServer> {
    const server = await this.startUntouched(program, databaseUrl, env, execArgv)
    if (program === 'holdfast' && (await fetch(`${server.url}/api/auth/ok`)).status !== 200)
      throw new Error('better-auth does not answer')
    return server
  }

  /** As `start`, without that call: a node that only gateways use. */
  async startUntouched(
    program: Program,
    databaseUrl: string,
    env: Record<string, string> = {},
    execArgv: readonly string[] = []
  ): Promise<BenchServer> {
    const server = await BenchServer.start(
      program,
      {
        DATABASE_URL: databaseUrl,
        REDIS_URL: this.#redis.url,
        BASE_URL,
        AUTH_SECRET: authSecret,
        DATABASE_POOL_SIZE: '10',
        RATE_LIMIT: 'off',
        LOG_LEVEL: 'warn',
        GATEWAY_CLIENTS: `${gateway.id}:${gateway.secret}`,
        ...env
      },
      [...(program === 'holdfast' ? this.#execArgv : []), ...execArgv]
    )
    this.#servers.push(server)
    return server
  }

  /**
   * Starts the bare peer. Its answers, with their headers, are those that `server` has just given
   * about a session.
   */
  async bare(databaseUrl: string, server: BenchServer, bearer: string): Promise<BenchServer> {
    const basic = Buffer.from(`${gateway.id}:${gateway.secret}`).toString('base64')
    const verified = await fetch(`${server.url}/verify`, {
      headers: { authorization: `Bearer ${bearer}` }
    })
    const introspected = await fetch(`${server.url}/oauth2/introspect`, {
      method: 'POST',
      headers: { authorization: `Basic ${basic}` },
      body: new URLSearchParams({ token: bearer })
    })
    if (verified.status !== 200 || introspected.status !== 200)
      throw new Error(
        `a check was answered ${verified.status}, an introspection ${introspected.status}`
      )
    return this.start('bare', databaseUrl, {
      BENCH_IDENTITY: JSON.stringify(headersOf(verified)),
      BENCH_INTROSPECTION: JSON.stringify([headersOf(introspected), await introspected.json()])
    })
  }

  /** Ends the servers. */
  async clear(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.stop()))
  }

  async close(): Promise<void> {
    await this.clear()
    await this.#redis.stop()
    await this.#postgres.remove()
  }
}

/** The headers that a route sets, without those of the connection and those that Node adds. */
function headersOf({ headers }: Response): Record<string, string> {
  const added = new Set(['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding'])
  return Object.fromEntries([...headers].filter(([name]) => !added.has(name)))
}
