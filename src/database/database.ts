import type { SqlDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { Prisma, PrismaClient } from '../../prisma/generated/client.js'
import { callStore } from './fault.js'

export { Prisma, type PrismaClient }

/** A client inside a transaction, or the client itself: what a query needs. */
export type Queryable = Prisma.TransactionClient

/** The sole right to migrate a store. */
export interface MigrationSession {
  /** Runs `work` in one transaction, of which all is kept or nothing. */
  transaction: <T>(work: (step: MigrationStep) => Promise<T>) => Promise<T>
  /** Runs one statement that must not be in a transaction. */
  statement: (text: string) => Promise<void>
}

/** What a migration works with inside a transaction. */
export interface MigrationStep {
  /** Runs a script of any number of statements, whole. */
  run: (script: string) => Promise<void>
  query: <T>(text: string, values: readonly string[]) => Promise<T[]>
}

/** An open store: PostgreSQL or the embedded one, with the same schema and the same behaviour. */
export interface Database {
  readonly kind: 'postgresql' | 'embedded'
  readonly prisma: PrismaClient
  /**
   * Waits until no other process migrates this store, and keeps them from it until `work` has
   * ended.
   */
  migrating<T>(work: (session: MigrationSession) => Promise<T>): Promise<T>
  /**
   * Connections: how many there are, how many of them wait for work, and how much work waits for
   * one. Null where there is no pool.
   */
  pool(): { total: number; idle: number; waiting: number } | null
  close(): Promise<void>
}

/**
 * Longest wait for one statement or one connection, in milliseconds: an outage must be told within
 * 2 s.
 */
export const STATEMENT_TIMEOUT_MS = 1_500

/**
 * A Prisma client whose every operation, whoever calls it, goes through `callStore`,
 * so that no caller can mistake an outage for an answer.
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
