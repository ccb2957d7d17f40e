import type { BetterAuthOptions, DBAdapter, Where } from 'better-auth'
import { prismaAdapter } from 'better-auth/adapters/prisma'
import type { Confirmation, Unconfirmed } from '../cache/confirmation.js'
import type { Change } from '../cache/outbox.js'
import type { PrismaClient, Queryable } from '../database/database.js'
import { afterCommit, currentTransaction, withTransaction } from '../database/transaction.js'
import { withoutTokens } from '../session/session-token.js'
import type { SessionReader } from '../session/reader.js'
import type { BulkRevocation } from '../session/revocation.js'
import type { Thinning } from '../session/thinning.js'
import { AccountWrites } from './account-writes.js'
import { checkInput, checkPage } from './input.js'
import type { Peppers } from './keys.js'
import { confirmBeforeAnswer, currentScope } from './scope.js'
import { SessionModel } from './session-model.js'

export interface AdapterOptions {
  prisma: PrismaClient
  reader: SessionReader
  peppers: Peppers
  confirmation: Confirmation
  thinning: Thinning
  idleTtlSeconds: number
  absoluteTtlSeconds: number
  maxSessions: number
  flushUses: () => Promise<void>
}

/** What better-auth calls, on one connection: Prisma's adapter for that client or transaction. */
export type Inner = DBAdapter

/**
 * better-auth's database adapter, wrapped. Sessions go through the session store (`SessionModel`): better-auth sees real tokens
 * only where it presented them, deletes mean revoke, lists show handles. Changes of users and credentials
 * (`AccountWrites`) lock the user, end or bump the sessions, and change, in one transaction. All else is Prisma's adapter.
 */
export function createAdapter(options: AdapterOptions): (authOptions: BetterAuthOptions) => DBAdapter {
  return (authOptions) => {
    const inners = new WeakMap<object, Inner>()
    const innerOn = (db: Queryable): Inner => {
      let inner = inners.get(db)
      if (!inner) {
        inner = prismaAdapter(db, { provider: 'postgresql', transaction: false })(authOptions)
        inners.set(db, inner)
      }
      return inner
    }
    const reading = async () => currentTransaction()?.forRead() ?? options.prisma
    const writing = async () => currentTransaction()?.forWrite() ?? options.prisma
    const inTransaction = <T>(work: (db: Queryable) => Promise<T>) =>
      withTransaction(options.prisma, async (transaction) => work(await transaction.forWrite()))
    const announce = (unconfirmed: Unconfirmed) => afterCommit(() => confirmBeforeAnswer(options.confirmation, unconfirmed))
    const changed = async (changes: readonly Change[]) => { if (changes.length > 0) await announce({ changes }) }
    const settle = (sessionIds: readonly string[]) => announce({ sessionIds })
    const ended = (userId: string, changes: readonly Change[]) => announce({ changes, userIds: [userId] })
    const thinOut = async (bulk: Pick<BulkRevocation, 'userId' | 'reason'>) => {
      // In a transaction that holds locks already, the statements that end the sessions go on in batches instead.
      if (currentTransaction()?.isOpen) return
      const { authorisedBy } = currentScope()
      const spared = authorisedBy ? [authorisedBy.id] : []
      const { unconfirmed } = await options.thinning.thinOut({ bulk, spared, authorityId: authorisedBy?.id ?? null })
      if (unconfirmed.length > 0) await settle(unconfirmed)
    }
    const sessions = new SessionModel({ ...options, reading, writing, inTransaction, changed, settle, ended, thinOut })
    const accounts = new AccountWrites({ innerOn, reading, changed, ended, thinOut, prisma: options.prisma })

    const deleteUsers = async (where: Where[]) => {
      await accounts.thinOut({ model: 'user', where, update: null })
      return inTransaction((db) => accounts.deleteUser(db, where))
    }

    const adapter: DBAdapter = {
      ...innerOn(options.prisma),
      async create(query) {
        checkInput(query.model, query.data)
        if (query.model === 'session') return sessions.create(query.data) as never
        if (query.model === 'verification') return inTransaction(async (db) => {
          await accounts.admitPendingFactor(db, query.data)
          return innerOn(db).create({ ...query, data: withoutSessionTokens(query.data) })
        })
        if (query.model === 'twoFactor') return inTransaction(async (db) => {
          await accounts.changeFactors(db, String((query.data as { userId?: unknown }).userId))
          return innerOn(db).create(query)
        })
        return remember(query.model, await innerOn(await writing()).create(query))
      },
      async findOne(query) {
        checkWhere(query)
        if (query.model === 'session') return sessions.findOne(query.where, query.join !== undefined) as never
        return remember(query.model, await innerOn(await reading()).findOne(query))
      },
      async findMany(query) {
        checkWhere(query)
        checkPage(query)
        if (query.model === 'session') return sessions.findMany(query.where ?? [], query.join !== undefined) as never
        const rows = await innerOn(await reading()).findMany(query)
        return rows.map((row) => remember(query.model, row)) as never
      },
      async count(query) {
        checkWhere(query)
        if (query.model === 'session') return (await sessions.findMany(query.where ?? [], false)).length
        return innerOn(await reading()).count(query)
      },
      async update(query) {
        checkWhere(query)
        checkInput(query.model, query.update)
        if (query.model === 'session') return sessions.update(query.where, query.update) as never
        if (accounts.guards(query.model, query.update)) {
          await accounts.thinOut(query)
          return inTransaction((db) => accounts.update(db, query)) as never
        }
        return innerOn(await writing()).update(query)
      },
      async updateMany(query) {
        checkWhere(query)
        checkInput(query.model, query.update)
        if (query.model === 'session') return await sessions.update(query.where, query.update) ? 1 : 0
        if (accounts.guards(query.model, query.update)) {
          await accounts.thinOut(query)
          return inTransaction((db) => accounts.updateMany(db, query))
        }
        return innerOn(await writing()).updateMany(query)
      },
      async delete(query) {
        checkWhere(query)
        if (query.model === 'session') await sessions.revoke(query.where)
        else if (query.model === 'user') await deleteUsers(query.where)
        else if (query.model === 'twoFactor') await inTransaction((db) => accounts.deleteFactors(db, query.where))
        else await innerOn(await writing()).delete(query)
      },
      async deleteMany(query) {
        checkWhere(query)
        if (query.model === 'session') return sessions.revoke(query.where)
        if (query.model === 'user') return deleteUsers(query.where)
        if (query.model === 'twoFactor') return inTransaction((db) => accounts.deleteFactors(db, query.where))
        return innerOn(await writing()).deleteMany(query)
      },
      async consumeOne(query) {
        checkWhere(query)
        return innerOn(await writing()).consumeOne(query)
      },
      async incrementOne(query) {
        checkWhere(query)
        return innerOn(await writing()).incrementOne(query)
      },
      // Opened by the first write: see LazyTransaction.
      transaction: (work) => withTransaction(options.prisma, () => work(adapter))
    }
    return adapter
  }
}

/** Keeps the epoch of every user that is read before a credential is verified. */
function remember<T>(model: string, row: T): T {
  if (model === 'user' && row) {
    const { id, credentialEpoch } = row as { id?: unknown, credentialEpoch?: unknown }
    const { epochs } = currentScope()
    if (typeof id === 'string' && typeof credentialEpoch === 'number' && !epochs.has(id)) epochs.set(id, credentialEpoch)
  }
  return row
}

/** A verification row must hold nothing that authenticates: a session token in it becomes its handle. */
function withoutSessionTokens<T extends Record<string, unknown>>(data: T): T {
  return typeof data['value'] === 'string' ? { ...data, value: withoutTokens(data['value']) } : data
}

function checkWhere({ where }: { where?: Where[] | undefined }): void {
  for (const { field, value } of where ?? []) checkInput('where', { [field]: value })
}
