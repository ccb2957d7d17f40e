import { BASE_ERROR_CODES } from '@better-auth/core/error'
import type { BetterAuthOptions, DBAdapter, Where } from 'better-auth'
import { APIError } from 'better-auth/api'
import type { Confirmation } from '../revocation/confirmation.js'
import type { PrismaClient, Queryable } from '../database/database.js'
import { isDuplicate } from '../database/fault.js'
import { withoutTokens } from '../session/session-token.js'
import type { SessionChecker } from '../check/session-checker.js'
import type { Thinning } from '../revocation/thinning.js'
import { AccountWrites } from './account-writes.js'
import { checkInput, checkPage, checkUserFields, refuse } from './input.js'
import type { Peppers } from '../secrets/keys.js'
import { normalizeRole, wrongRole } from '../roles.js'
import { endpointPath, isMailedSignIn } from './reasons.js'
import { currentCall } from './call-context.js'
import { ChangeAnnouncer } from './change-announcer.js'
import { Connections } from './connections.js'
import type { Mailing } from './mailing.js'
import { SessionModel } from './session-model.js'

export interface AdapterOptions {
  prisma: PrismaClient
  reader: SessionChecker
  peppers: Peppers
  confirmation: Confirmation
  thinning: Thinning
  idleTtlSeconds: number
  absoluteTtlSeconds: number
  maxSessions: number
  flushUses: () => Promise<void>
  /** The roles beside user and admin. */
  roles: readonly string[]
  /** The keyed hash under which events keep a name. */
  hashName: (name: string) => string
  /** Writes mails. Null where mail is off. */
  mailing: Mailing | null
  /** Notes that a deleted user is to be erased. */
  requestErasure: (db: Queryable, userId: string) => Promise<void>
  /** A monotonic clock, in milliseconds. */
  now: () => number
}

/** What the adapter passes queries on to. */
interface Models {
  connections: Connections
  sessions: SessionModel
  accounts: AccountWrites
  /** The roles beside user and admin. */
  roles: readonly string[]
}

/**
 * better-auth's database adapter, wrapped. Sessions go through the session store (`SessionModel`):
 * better-auth sees real tokens only where it presented them, deletes revoke, and lists show
 * handles. Changes of users and credentials (`AccountWrites`) lock the user, end or bump the
 * sessions, and write, in one transaction. Everything else goes to Prisma's adapter.
 */
export function createAdapter(
  options: AdapterOptions
): (authOptions: BetterAuthOptions) => DBAdapter {
  return (authOptions) => {
    const connections = new Connections(options.prisma, authOptions)
    const announcer = new ChangeAnnouncer(options.confirmation, options.thinning)
    const models: Models = {
      connections,
      sessions: new SessionModel({ ...options, connections, announcer }),
      accounts: new AccountWrites({ ...options, connections, announcer }),
      roles: options.roles
    }
    const adapter: DBAdapter = {
      ...connections.adapterOn(options.prisma),
      ...reads(models),
      ...creations(models),
      ...updates(models),
      ...deletions(models),
      transaction: (work) => connections.inLazyTransaction(() => work(adapter))
    }
    return adapter
  }
}

function reads({
  connections,
  sessions
}: Models): Pick<DBAdapter, 'findOne' | 'findMany' | 'count'> {
  const inner = async () => connections.adapterOn(await connections.reading())
  return {
    async findOne(query) {
      checkWhere(query)
      if (query.model === 'session')
        return sessions.findOne(query.where, query.join !== undefined) as never
      return remember(query.model, await (await inner()).findOne(query))
    },
    async findMany(query) {
      checkWhere(query)
      checkPage(query)
      if (query.model === 'session')
        return sessions.findMany(query.where ?? [], query.join !== undefined) as never
      const rows = await (await inner()).findMany(query)
      return rows.map((row) => remember(query.model, row)) as never
    },
    async count(query) {
      checkWhere(query)
      if (query.model === 'session')
        return (await sessions.findMany(query.where ?? [], false)).length
      return (await inner()).count(query)
    }
  }
}

function creations({ connections, sessions, accounts, roles }: Models): Pick<DBAdapter, 'create'> {
  return {
    async create(query) {
      checkInput(query.model, query.data)
      if (query.model === 'session') return sessions.create(query.data) as never
      if (query.model === 'verification')
        return connections.inTransaction(async (db) => {
          await accounts.admitPendingFactor(db, query.data)
          const row = await connections
            .adapterOn(db)
            .create<{ id?: unknown }>({ ...query, data: withoutSessionTokens(query.data) })
          // The challenge of a second factor must know how the sign-in began.
          if (isMailedSignIn(endpointPath()))
            await db.$executeRaw`UPDATE "verification" SET "firstFactor" = 'otp' WHERE "id" = ${String(row.id)}`
          return row as never
        })
      const creation =
        query.model === 'user'
          ? { ...query, data: toStoredUser('create', query.data, roles) }
          : query
      await accounts.thinOutFor(creation)
      const created = accounts.guardsExistence(query.model)
        ? await orTaken(
            creation,
            connections.inTransaction((db) => accounts.create(db, creation))
          )
        : await connections.adapterOn(await connections.writing()).create(creation)
      return remember(query.model, created) as never
    }
  }
}

function updates({
  connections,
  sessions,
  accounts,
  roles
}: Models): Pick<DBAdapter, 'update' | 'updateMany' | 'consumeOne' | 'incrementOne'> {
  const inner = async () => connections.adapterOn(await connections.writing())
  const toStored = <Q extends { model: string; update: Record<string, unknown> }>(query: Q): Q =>
    query.model === 'user'
      ? { ...query, update: toStoredUser('update', query.update, roles) }
      : query
  return {
    async update(query) {
      checkWhere(query)
      checkInput(query.model, query.update)
      if (query.model === 'session') return sessions.update(query.where, query.update) as never
      const change = toStored(query)
      if (!accounts.guards(query.model, query.update)) return (await inner()).update(change)
      await accounts.thinOut(change)
      return remember(
        query.model,
        await orTaken(
          change,
          connections.inTransaction((db) => accounts.update<never>(db, change))
        )
      )
    },
    async updateMany(query) {
      checkWhere(query)
      checkInput(query.model, query.update)
      if (query.model === 'session')
        return (await sessions.update(query.where, query.update)) ? 1 : 0
      const change = toStored(query)
      if (!accounts.guards(query.model, query.update)) return (await inner()).updateMany(change)
      await accounts.thinOut(change)
      return connections.inTransaction((db) => accounts.updateMany(db, change))
    },
    async consumeOne(query) {
      checkWhere(query)
      return (await inner()).consumeOne(query)
    },
    async incrementOne(query) {
      checkWhere(query)
      if (query.model === 'twoFactor' && 'backupCodes' in (query.set ?? {}))
        return connections.inTransaction((db) => accounts.useBackupCode<never>(db, query))
      return (await inner()).incrementOne(query)
    }
  }
}

function deletions({
  connections,
  sessions,
  accounts
}: Models): Pick<DBAdapter, 'delete' | 'deleteMany'> {
  const deleteMany: DBAdapter['deleteMany'] = async (query) => {
    checkWhere(query)
    if (goesWithUser(query)) return 0
    if (query.model === 'session') return sessions.revoke(query.where)
    if (query.model === 'user' || accounts.guardsExistence(query.model)) {
      await accounts.thinOut({ ...query, update: null })
      return connections.inTransaction((db) => accounts.delete(db, query.model, query.where))
    }
    return connections.adapterOn(await connections.writing()).deleteMany(query)
  }
  return {
    deleteMany,
    async delete(query) {
      await deleteMany(query)
    }
  }
}

/** The endpoints that make a first password of a user. */
const settingPassword: readonly string[] = [
  '/admin/set-user-password',
  '/reset-password',
  '/email-otp/reset-password'
]

const credentialExists = {
  code: 'CREDENTIAL_EXISTS',
  message:
    'Somebody else has just set this credential. Look at the user again before you set another one.'
}

/**
 * Turns a duplicate into an answer. better-auth checks that an address or credential is free, and
 * writes later. The slower of two calls gets the error.
 *
 * @throws APIError for an address 422 at sign-up, else 400; for a credential 409
 */
async function orTaken<T>({ model }: { model: string }, write: Promise<T>): Promise<T> {
  try {
    return await write
  } catch (error) {
    const { call } = currentCall()
    if (call === null || !isDuplicate(error)) throw error
    if (model === 'account' && settingPassword.includes(call.path))
      throw new APIError('CONFLICT', credentialExists)
    if (model !== 'user') throw error
    throw new APIError(
      call.path.startsWith('/sign-up/') ? 'UNPROCESSABLE_ENTITY' : 'BAD_REQUEST',
      BASE_ERROR_CODES.USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL
    )
  }
}

/**
 * The fields of a user as stored.
 *
 * @throws APIError 400 for invalid fields and unknown roles
 */
function toStoredUser<T extends Record<string, unknown>>(
  use: 'create' | 'update',
  fields: T,
  roles: readonly string[]
): T {
  checkUserFields(use, Object.keys(fields))
  const { role } = fields
  if (typeof role !== 'string') return fields
  const wrong = wrongRole(role, roles)
  if (wrong !== null) refuse(wrong)
  return { ...fields, role: normalizeRole(role) }
}

/** The endpoints that delete a user. */
const deleting: readonly string[] = ['/delete-user', '/delete-user/callback', '/admin/remove-user']

/**
 * Whether the rows are deleted with their user, in one transaction, by the next call of
 * better-auth.
 */
function goesWithUser({ model, where }: { model: string; where: Where[] }): boolean {
  return (
    deleting.includes(currentCall().call?.path ?? '') &&
    (model === 'session' || model === 'account') &&
    where.some(({ field }) => field === 'userId')
  )
}

/**
 * Keeps the epoch of every user that is read before a credential is verified. Old rows have roles
 * with spaces.
 */
function remember<T>(model: string, row: T): T {
  if (model === 'user' && row) {
    const { id, email, credentialEpoch, role } = row as Record<string, unknown>
    const { epochs, userIds } = currentCall()
    if (typeof id === 'string' && typeof email === 'string') userIds.set(email, id)
    if (typeof id === 'string' && typeof credentialEpoch === 'number' && !epochs.has(id))
      epochs.set(id, credentialEpoch)
    if (typeof role === 'string') return { ...row, role: normalizeRole(role) }
  }
  return row
}

/**
 * A verification row must not hold anything that authenticates: a session token in it is replaced
 * by its handle.
 */
function withoutSessionTokens<T extends Record<string, unknown>>(data: T): T {
  return typeof data['value'] === 'string' ? { ...data, value: withoutTokens(data['value']) } : data
}

function checkWhere({
  model,
  where,
  sortBy
}: {
  model: string
  where?: Where[] | undefined
  sortBy?: { field: string } | undefined
}): void {
  if (model === 'user')
    checkUserFields('find', [
      ...(where ?? []).map(({ field }) => field),
      ...(sortBy ? [sortBy.field] : [])
    ])
  for (const { field, value } of where ?? []) checkInput('where', { [field]: value })
}
