import type { BetterAuthOptions, DBAdapter } from 'better-auth'
import { prismaAdapter } from 'better-auth/adapters/prisma'
import type { PrismaClient, Queryable } from '../database/database.js'
import { currentTransaction, withTransaction } from '../database/transaction.js'

/**
 * Where better-auth's statements go: to the transaction of the running call, or to the client where
 * there is none.
 */
export class Connections {
  readonly #prisma: PrismaClient
  readonly #authOptions: BetterAuthOptions
  readonly #adapters = new WeakMap<object, DBAdapter>()

  constructor(prisma: PrismaClient, authOptions: BetterAuthOptions) {
    this.#prisma = prisma
    this.#authOptions = authOptions
  }

  /** The connection for a read. */
  async reading(): Promise<Queryable> {
    return currentTransaction()?.forRead() ?? this.#prisma
  }

  /** The connection for a single write. */
  async writing(): Promise<Queryable> {
    return currentTransaction()?.forWrite() ?? this.#prisma
  }

  /** Runs several writes in one transaction: the caller's, or one of their own. */
  inTransaction<T>(work: (db: Queryable) => Promise<T>): Promise<T> {
    return withTransaction(this.#prisma, async (transaction) => work(await transaction.forWrite()))
  }

  /** Runs better-auth's work in a transaction, which the first write opens: see LazyTransaction. */
  inLazyTransaction<T>(work: () => Promise<T>): Promise<T> {
    return withTransaction(this.#prisma, work)
  }

  /** Prisma's own adapter on a connection. */
  adapterOn(db: Queryable): DBAdapter {
    let adapter = this.#adapters.get(db)
    if (!adapter) {
      adapter = prismaAdapter(db, { provider: 'postgresql', transaction: false })(this.#authOptions)
      this.#adapters.set(db, adapter)
    }
    return adapter
  }
}
