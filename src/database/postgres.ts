import { setTimeout as sleep } from 'node:timers/promises'
import { PrismaPg } from '@prisma/adapter-pg'
import { Client, Pool } from 'pg'
import { createPrisma, STATEMENT_TIMEOUT_MS, withWholeScripts, type Database, type MigrationSession } from './database.js'
import { withDirectQueries } from './direct.js'
import { GrowingPool } from './pool.js'

export interface PostgresOptions {
  databaseUrl: string
  poolSize: number
  /** Told of errors of idle connections, which belong to no request. */
  onError: (error: Error) => void
}

/** Longest wait for a connection, in milliseconds: for a turn and for the opening of a new one together. */
const CONNECTION_TIMEOUT_MS = 900

/** Opens PostgreSQL. Connects lazily: a server may start, and wait, while the database is down. */
export function openPostgres({ databaseUrl, poolSize, onError }: PostgresOptions): Database {
  const pool = new GrowingPool({
    connectionString: databaseUrl,
    max: poolSize,
    connectionTimeoutMillis: CONNECTION_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS,
    // The server gives up first: a statement that waited for a lock is then known not to have happened.
    statement_timeout: STATEMENT_TIMEOUT_MS - 200,
    // A node that was paused inside a transaction must not hold a user's lock for ever.
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
    application_name: 'holdfast'
  })
  pool.on('error', onError)
  const prisma = withDirectQueries(createPrisma(new PrismaPg(pool)), pool)
  return {
    kind: 'postgresql',
    prisma,
    openMigration: () => openMigration(databaseUrl),
    // pg lets every statement pass through its queue: one for which a connection is free is not waiting.
    pool: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: Math.max(0, pool.waitingCount - pool.idleCount) }),
    async close() {
      await prisma.$disconnect()
      await pool.end()
    }
  }
}

// "holdfast" in ASCII, cut to the 63 bits of an advisory lock's key.
const MIGRATION_LOCK = 0x686f6c6466617374n

/** How long to wait for another node that is migrating, and how often to look whether it has finished, in milliseconds. */
const MIGRATION_LOCK_WAIT_MS = 120_000
const MIGRATION_LOCK_POLL_MS = 250

/**
 * Several nodes that migrate at once do it once: the first takes the lock, the others wait for it. The schema engine has a lock
 * of its own, which lives as long as its connection does: hence a pool of one, ended with the session.
 */
async function openMigration(databaseUrl: string): Promise<MigrationSession> {
  const holder = new Client({ connectionString: databaseUrl, connectionTimeoutMillis: STATEMENT_TIMEOUT_MS, query_timeout: STATEMENT_TIMEOUT_MS })
  holder.on('error', () => {}) // the statement that misses its connection says so
  await holder.connect()
  try {
    await takeMigrationLock(holder)
  } catch (error) {
    await holder.end()
    throw error
  }
  const pool = new Pool({ connectionString: databaseUrl, max: 1, connectionTimeoutMillis: STATEMENT_TIMEOUT_MS })
  pool.on('error', () => {})
  return {
    adapter: withWholeScripts(new PrismaPg(pool), (script) => pool.query(script)),
    async close() {
      await pool.end()
      await holder.end()
    }
  }
}

/** Asks again and again. A statement that waited for the lock would hold a snapshot, for which CREATE INDEX CONCURRENTLY waits in turn. */
async function takeMigrationLock(holder: Client): Promise<void> {
  const deadline = performance.now() + MIGRATION_LOCK_WAIT_MS
  for (;;) {
    const { rows: [row] } = await holder.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1) AS "taken"', [MIGRATION_LOCK])
    if (row?.taken) return
    if (performance.now() > deadline) throw new Error('another process has been migrating this database for two minutes')
    await sleep(MIGRATION_LOCK_POLL_MS)
  }
}
