import type { SqlDriverAdapterFactory, SqlMigrationAwareDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { Prisma, PrismaClient } from '../../prisma/generated/client.js'
import { callStore } from './fault.js'

export { Prisma, type PrismaClient }

/** A client inside a transaction, or the client itself: what a query needs. */
export type Queryable = Prisma.TransactionClient

/** The sole right to migrate, until it is closed. */
export interface MigrationSession {
  readonly adapter: SqlMigrationAwareDriverAdapterFactory
  close(): Promise<void>
}

/** An open store: PostgreSQL or the embedded one, with the same schema and the same behaviour. */
export interface Database {
  readonly kind: 'postgresql' | 'embedded'
  readonly prisma: PrismaClient
  /** Waits until no other process migrates this store, and hands out what the schema engine works on. */
  openMigration(): Promise<MigrationSession>
  /** Connections: how many there are, how many of them wait for work, and how much work waits for one. Null where there is no pool. */
  pool(): { total: number, idle: number, waiting: number } | null
  close(): Promise<void>
}

/** Longest wait for one statement or one connection, in milliseconds: an outage must be told within 2 s. */
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

/**
 * Lets the schema engine run a migration's script whole, and waits for it. Of the adapters' own ways one cuts the script at every
 * semicolon, those inside a function too, and the other starts it and goes on.
 */
export function withWholeScripts(factory: SqlMigrationAwareDriverAdapterFactory, run: (script: string) => Promise<unknown>): SqlMigrationAwareDriverAdapterFactory {
  const connect = factory.connect.bind(factory)
  factory.connect = async () => {
    const adapter = await connect()
    adapter.executeScript = async (script) => { await run(script) }
    return adapter
  }
  return factory
}
