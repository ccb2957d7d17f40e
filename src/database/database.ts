import type { SqlDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { Prisma, PrismaClient } from '../../prisma/generated/client.js'
import { callStore } from './fault.js'

export { Prisma, type PrismaClient }

/** A client, or a client inside a transaction: whatever a query can run on. */
export type Queryable = Prisma.TransactionClient

/** The exclusive right to migrate a store. */
export interface MigrationSession {
  /** Runs `work` in one transaction. */
  transaction: <T>(work: (step: MigrationStep) => Promise<T>) => Promise<T>
  /** Runs one statement that must not be in a transaction. */
  statement: (text: string) => Promise<void>
}

/** What a migration can do inside a transaction. */
export interface MigrationStep {
  /** Runs a whole script of any number of statements. */
  run: (script: string) => Promise<void>
  query: <T>(text: string, values: readonly string[]) => Promise<T[]>
}

/** An open store: PostgreSQL or the embedded one, with the same schema and the same behaviour. */
export interface Database {
  readonly kind: 'postgresql' | 'embedded'
  readonly prisma: PrismaClient
  /**
   * Waits until no other process migrates this store, and keeps them out until `work` has ended.
   */
  migrating<T>(work: (session: MigrationSession) => Promise<T>): Promise<T>
  /**
   * Counts of the pool: all connections, idle connections, and callers that wait for one. Null
   * where there is no pool.
   */
  pool(): { total: number; idle: number; waiting: number } | null
  close(): Promise<void>
}

/**
 * Longest wait for one statement or one connection, in milliseconds: an outage must be reported
 * within 2 s.
 */
export const STATEMENT_TIMEOUT_MS = 1_500

/**
 * A Prisma client whose every operation goes through `callStore`, so that no caller can mistake an
 * outage for an answer.
 */
export function createPrisma(adapter: SqlDriverAdapterFactory): PrismaClient {
  const client = new PrismaClient({
    adapter,
    errorFormat: 'minimal',
    transactionOptions: { maxWait: STATEMENT_TIMEOUT_MS, timeout: 5_000 }
  })
  const guarded = client.$extends({
    query: { $allOperations: ({ args, query }) => callStore(() => query(args)) }
  })
  return guarded as unknown as PrismaClient
}
