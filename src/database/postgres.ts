import { setTimeout as sleep } from 'node:timers/promises'
import { PrismaPg } from '@prisma/adapter-pg'
import type { SqlMigrationAwareDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import type { PoolClient } from 'pg'
import type { SessionRules } from './connection.js'
import {
  createPrisma,
  STATEMENT_TIMEOUT_MS,
  type Database,
  type MigrationSession
} from './database.js'
import { parseDatabaseUrl } from './database-url.js'
import { withDirectQueries } from './direct.js'
import { GrowingPool } from './pool.js'

export interface PostgresOptions {
  databaseUrl: string
  poolSize: number
  /**
   * Longest time to open a connection, in milliseconds. `connect_timeout` in the URL takes
   * precedence.
   */
  connectTimeoutMs: number
  /** Whether statements are prepared under names. `auto`: where there is no pooler. */
  preparedStatements: 'auto' | 'on' | 'off'
  /** Called with errors of idle connections, which belong to no request. */
  onError: (error: Error) => void
}

/**
 * How long a caller waits for a connection, in milliseconds: for its turn and for opening a new one
 * together.
 */
const CONNECTION_WAIT_MS = 900
/** Idle connections that stay open: with a distant server a request cannot wait for a new one. */
const KEPT_OPEN = 2

/**
 * Opens PostgreSQL. Connects lazily, so that a server may start, and wait, while the database is
 * down.
 */
export function openPostgres(options: PostgresOptions): Database {
  const { pool, rules } = openPool(options, options.poolSize, CONNECTION_WAIT_MS)
  pool.on('error', options.onError)
  const prisma = withDirectQueries(
    createPrisma(inSchema(new PrismaPg(pool), () => schemaFrom(pool, rules))),
    pool
  )
  return {
    kind: 'postgresql',
    prisma,
    migrating: (work) => migrating(options, work),
    // pg passes every statement through its queue. One for which a connection is free is not
    // waiting.
    pool: () => ({
      total: pool.totalCount,
      idle: pool.idleCount,
      waiting: Math.max(0, pool.waitingCount - pool.idleCount)
    }),
    async close() {
      await prisma.$disconnect()
      await pool.end()
    }
  }
}

function openPool(
  { databaseUrl, connectTimeoutMs, preparedStatements }: PostgresOptions,
  max: number,
  maxWaitMs: number,
  limits: Partial<SessionRules> = {}
): { pool: GrowingPool; rules: SessionRules } {
  const target = parseDatabaseUrl(databaseUrl)
  const rules: SessionRules = {
    // The server's limit is shorter than ours, so a statement that waited for a lock is known to be
    // cancelled.
    statementTimeoutMs: STATEMENT_TIMEOUT_MS - 200,
    // A node that is paused inside a transaction must not hold a user's lock for ever.
    idleInTransactionTimeoutMs: 10_000,
    needsWritable: target.needsWritable,
    pooled: target.pooled,
    preparedStatements,
    schema: target.schema ?? null,
    ...limits
  }
  const pool = new GrowingPool({
    places: target.places,
    user: target.user,
    ...(target.password === undefined ? {} : { password: target.password }),
    database: target.database,
    application_name: target.applicationName,
    ...(target.options === undefined ? {} : { options: target.options }),
    keepAlive: target.keepAlive,
    keepAliveInitialDelayMillis: target.keepAliveIdleMs,
    ...(target.needsChannelBinding
      ? { needsChannelBinding: true, enableChannelBinding: true }
      : {}),
    sslnegotiation: target.sslNegotiation,
    max,
    min: Math.min(KEPT_OPEN, max),
    maxWaitMs,
    connectionTimeoutMillis: target.connectTimeoutMs ?? connectTimeoutMs,
    query_timeout: STATEMENT_TIMEOUT_MS,
    prepare: (connection) => connection.prepare(rules)
  })
  return { pool, rules }
}

/** The schema of the tables: the URL's, or the one that the first connection found. */
async function schemaFrom(pool: GrowingPool, rules: SessionRules): Promise<string> {
  if (rules.schema === null) (await pool.take()).release()
  return rules.schema ?? 'public'
}

/** Prisma writes the schema's name before each table's, and would write `public`. */
function inSchema(
  factory: SqlMigrationAwareDriverAdapterFactory,
  schema: () => Promise<string>
): SqlMigrationAwareDriverAdapterFactory {
  const connect = factory.connect.bind(factory)
  factory.connect = async () => {
    const schemaName = await schema()
    const adapter = await connect()
    adapter.getConnectionInfo = () => ({ schemaName, supportsRelationJoins: true })
    return adapter
  }
  return factory
}

/**
 * The lock under which Prisma's own tools migrate, in any version, so that they and this program do
 * not migrate at once.
 */
const MIGRATION_LOCK = 72_707_369
/**
 * How long to wait for another node that is migrating, and how often to look whether it has
 * finished, in milliseconds.
 */
const MIGRATION_LOCK_WAIT_MS = 120_000
const MIGRATION_LOCK_POLL_MS = 250
/**
 * How long a migration waits for the lock of a table, in milliseconds. Other statements on the
 * table wait behind it.
 */
const TABLE_LOCK_WAIT_MS = 30_000
/** How long one migration may take, in milliseconds. */
const MIGRATION_LIMIT_MS = 24 * 3_600_000

/**
 * Uses two connections. One holds the lock in a transaction, so that the lock ends with it even
 * behind a pooler and however this process ends. On the other the migrations run, because some of
 * them must not be in a transaction.
 */
async function migrating<T>(
  options: PostgresOptions,
  work: (session: MigrationSession) => Promise<T>
): Promise<T> {
  const { pool, rules } = openPool(options, 2, options.connectTimeoutMs, {
    statementTimeoutMs: 0,
    idleInTransactionTimeoutMs: 0
  })
  pool.on('error', () => {}) // the statement that loses its connection reports it
  const taken: PoolClient[] = []
  try {
    const holder = await pool.take()
    taken.push(holder)
    await takeMigrationLock(holder)
    const worker = await pool.take()
    taken.push(worker)
    return await work(migrationOn(worker, rules))
  } finally {
    for (const client of taken) client.release(true)
    await pool.end()
  }
}

/**
 * Polls for the lock. A statement that waited for it would hold a snapshot, for which CREATE INDEX
 * CONCURRENTLY waits in turn.
 */
async function takeMigrationLock(holder: PoolClient): Promise<void> {
  const deadline = AbortSignal.timeout(MIGRATION_LOCK_WAIT_MS)
  for (;;) {
    await holder.query('BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0')
    const {
      rows: [row]
    } = await holder.query<{ taken: boolean }>(
      `SELECT pg_try_advisory_xact_lock(${MIGRATION_LOCK}) AS "taken"`
    )
    if (row?.taken) return
    await holder.query('ROLLBACK')
    if (deadline.aborted)
      throw new Error('another process has been migrating this database for two minutes')
    await sleep(MIGRATION_LOCK_POLL_MS)
  }
}

function migrationOn(client: PoolClient, { schema }: SessionRules): MigrationSession {
  const run = async (script: string) => {
    await client.query({ text: script, query_timeout: MIGRATION_LIMIT_MS } as { text: string })
  }
  return {
    statement: run,
    async transaction(work) {
      await run(
        `BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = ${TABLE_LOCK_WAIT_MS}`
      )
      try {
        if (schema !== null) {
          const { rows } = await client.query('SELECT 1 FROM pg_namespace WHERE nspname = $1', [
            schema
          ])
          if (rows.length === 0) await run(`CREATE SCHEMA ${client.escapeIdentifier(schema)}`)
          await run(`SET LOCAL search_path = ${client.escapeIdentifier(schema)}`)
        }
        const result = await work({
          run,
          query: async (text, values) => (await client.query(text, [...values])).rows as never
        })
        await run('COMMIT')
        return result
      } catch (error) {
        await run('ROLLBACK').catch(() => {}) // a lost connection has rolled back
        throw error
      }
    }
  }
}
