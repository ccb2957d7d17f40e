import { AsyncLocalStorage } from 'node:async_hooks'
import { StoreUnavailable } from '../errors.js'
import { disableWhenIdle } from '../async-local-storage-node20.js'
import type { PrismaClient, Queryable } from './database.js'
import { callStore, watchStatements, type StatementWatch } from './fault.js'

const transactions = disableWhenIdle(new AsyncLocalStorage<LazyTransaction>())
const rolledBack = new Error('rolled back')

/** The transaction of the running code. Null outside one. */
export function currentTransaction(): LazyTransaction | null {
  const transaction = transactions.getStore()
  return transaction && !transaction.closed ? transaction : null
}

/** Runs `step` after the caller's transaction is committed; at once where there is none. */
export async function afterCommit(step: () => Promise<void>): Promise<void> {
  const transaction = currentTransaction()
  if (transaction) transaction.steps.push(step)
  else await step()
}

/**
 * Runs `work` in the caller's transaction, or in one of its own. It is committed when `work`
 * returns. It is rolled back when `work` throws, or when a statement in it failed and the error was
 * swallowed. Work deferred with `afterCommit` runs before it returns, and its errors reach the
 * caller.
 *
 * @throws StoreUnavailable when it is not known whether the transaction was committed
 */
export async function withTransaction<T>(
  prisma: PrismaClient,
  work: (transaction: LazyTransaction) => Promise<T>
): Promise<T> {
  const outer = currentTransaction()
  if (outer) return work(outer)
  const transaction = new LazyTransaction(prisma)
  const watch: StatementWatch = { failure: null }
  try {
    const result = await transactions.run(transaction, () =>
      watchStatements(watch, () => work(transaction))
    )
    if (watch.failure)
      throw watch.failure instanceof StoreUnavailable
        ? watch.failure
        : new StoreUnavailable(watch.failure)
    await transaction.commit()
    for (const step of transaction.steps) await step()
    return result
  } catch (error) {
    await transaction.rollback()
    throw error
  }
}

/**
 * A transaction that opens with the first write. better-auth hashes passwords inside its
 * transactions: opened at once, each would hold a connection (in embedded mode, the whole store)
 * for that long. Reads before the first write see committed data, as every statement does at
 * PostgreSQL's default isolation.
 */
export class LazyTransaction {
  readonly #prisma: PrismaClient
  #opening: Promise<Queryable> | null = null
  #ended: Promise<void> = Promise.resolve()
  #end: (commit: boolean) => void = () => {}
  closed = false
  /** Run by the owner after the commit, before it returns. */
  readonly steps: (() => Promise<void>)[] = []

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  /**
   * Whether a write has opened it. From then on, do not wait for work on other connections: that
   * work may wait for this transaction's locks.
   */
  get isOpen(): boolean {
    return this.#opening !== null
  }

  /** Where a read goes: to the transaction if it is open. */
  async forRead(): Promise<Queryable> {
    return this.#opening ?? this.#prisma
  }

  /** Where a write goes. Opens the transaction. */
  forWrite(): Promise<Queryable> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  async commit(): Promise<void> {
    this.closed = true
    this.#end(true)
    await this.#ended
  }

  async rollback(): Promise<void> {
    this.closed = true
    this.#end(false)
    await this.#ended.catch(() => {})
  }

  #open(): Promise<Queryable> {
    return new Promise((resolve, reject) => {
      const outcome = new Promise<boolean>((settle) => {
        this.#end = settle
      })
      this.#ended = callStore(async () => {
        try {
          await this.#prisma.$transaction(async (transaction) => {
            resolve(transaction)
            if (!(await outcome)) throw rolledBack
          })
        } catch (error) {
          if (error !== rolledBack) throw error
        }
      })
      this.#ended.catch(reject)
    })
  }
}
