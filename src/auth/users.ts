import type { Erasures } from '../account/erasure.js'
import type { PrismaClient } from '../database/database.js'
import { isDuplicate, isOrphan } from '../database/fault.js'
import { withTransaction } from '../database/transaction.js'
import type { Confirmation } from '../revocation/confirmation.js'
import { AppError } from '../errors.js'
import { requestForDeleted } from './erase-endpoint.js'
import { isEmailAddress, findInputFault } from './input.js'
import { findPasswordFault } from './new-password.js'
import { hashPassword } from './password.js'
import { normalizeRole, wrongRole } from '../roles.js'
import { confirmNow, currentCall, runOutsideRequest } from './call-context.js'

/** better-auth's writes with its hooks, which go through our adapter. */
export interface UserWriter {
  createUser(user: Record<string, unknown>): Promise<{ id: string }>
  createAccount(account: {
    userId: string
    providerId: string
    accountId: string
    password: string
  }): Promise<unknown>
  updateUser(userId: string, update: Record<string, unknown>): Promise<unknown>
  /** @returns how many rows were changed */
  updatePassword(userId: string, hash: string): Promise<number>
  /** @returns how many users were deleted */
  deleteUser(userId: string): Promise<number>
}

export interface NewUser {
  email: string
  name: string
  /** Roles separated by commas. */
  role: string
  password: string
}

export interface UsersOptions {
  prisma: PrismaClient
  confirmation: Confirmation
  erasures: Erasures
  writer: () => Promise<UserWriter>
  appName: string
  /** The roles beside user and admin. */
  roles: readonly string[]
}

/**
 * Changes users outside of a request, for the operator: the same checks, locks, ends of sessions
 * and events as over HTTP. Each returns when every cache has applied it.
 *
 * Those that may end sessions return null then; else the time by which every copy of an ended one
 * has ended.
 */
export class Users {
  readonly #options: UsersOptions

  constructor(options: UsersOptions) {
    this.#options = options
  }

  /**
   * Creates a user with a password, in one transaction: both or neither.
   *
   * @throws AppError for an invalid address, name, role or password
   * @throws Error when the address is taken
   */
  async create({ email, name, role, password }: NewUser): Promise<{ id: string; email: string }> {
    const { prisma } = this.#options
    const address = email.toLowerCase()
    if (!isEmailAddress(address)) throw new AppError('invalid_email')
    this.#checkFields({ name, role })
    if (await prisma.user.findUnique({ where: { email: address }, select: { id: true } }))
      throw taken(address)
    const hash = await this.#hash(password, address)
    return this.#change(async (writer) => {
      try {
        // One transaction, unlike sign-up: a user without a way to sign in would look like one who
        // has lost it.
        return await withTransaction(prisma, async () => {
          const { id } = await writer.createUser({
            email: address,
            name,
            role: normalizeRole(role),
            emailVerified: false
          })
          await writer.createAccount({
            userId: id,
            providerId: 'credential',
            accountId: id,
            password: hash
          })
          return { id, email: address }
        })
      } catch (error) {
        if (isDuplicate(error)) throw taken(address) // another call was faster
        throw error
      }
    }).then(({ result }) => result)
  }

  /**
   * Changes fields of a user. A ban ends all sessions. Other changes show in them.
   *
   * @throws AppError for an invalid value
   */
  async update(userId: string, update: Record<string, unknown>): Promise<Date | null> {
    this.#checkFields(update)
    const { effectiveBy } = await this.#change((writer) => writer.updateUser(userId, update))
    return effectiveBy
  }

  /**
   * Sets a password, the first one or another, and ends all sessions.
   *
   * @throws AppError for a password that must not be set, and where there is no such user
   */
  async setPassword(userId: string, password: string): Promise<Date | null> {
    const user = await this.#options.prisma.user.findUnique({
      where: { id: userId },
      select: { email: true }
    })
    if (!user) throw new AppError('not_found', `there is no user ${userId}`)
    const hash = await this.#hash(password, user.email)
    const { effectiveBy } = await this.#change(async (writer) => {
      try {
        if ((await writer.updatePassword(userId, hash)) > 0) return
        await writer.createAccount({
          userId,
          providerId: 'credential',
          accountId: userId,
          password: hash
        })
      } catch (error) {
        if (isOrphan(error)) throw new AppError('not_found', `there is no user ${userId}`)
        if (!isDuplicate(error)) throw error
        await writer.updatePassword(userId, hash) // another call has just set a first one
      }
    })
    return effectiveBy
  }

  /**
   * Deletes a user with all ways to sign in, and ends all sessions.
   *
   * @returns null when there is no such user
   */
  async delete(userId: string): Promise<{ effectiveBy: Date | null } | null> {
    const { result, effectiveBy } = await this.#change((writer) => writer.deleteUser(userId))
    return result > 0 ? { effectiveBy } : null
  }

  /**
   * Erases a user, deleting the account where there is one. It may be repeated, and then continues.
   *
   * @returns null when nothing is kept under the id; `erased`: whether all of it is done, or the
   *   server's job does the rest
   */
  async erase(
    userId: string,
    onProgress: (done: number, total: number) => void
  ): Promise<{ erased: boolean; effectiveBy: Date | null } | null> {
    const { prisma, erasures } = this.#options
    const { result: isKnown, effectiveBy } = await this.#change(async (writer) => {
      currentCall().erasing = true
      if ((await writer.deleteUser(userId)) > 0) return true
      if (!(await erasures.isKnown(userId))) return false
      await requestForDeleted(prisma, erasures, userId)
      return true
    })
    return isKnown ? { erased: await erasures.finish(userId, { onProgress }), effectiveBy } : null
  }

  /**
   * Runs work as one call of better-auth: what it has committed is made known to every cache, all
   * at once, before it returns.
   */
  async #change<T>(
    work: (writer: UserWriter) => Promise<T>
  ): Promise<{ result: T; effectiveBy: Date | null }> {
    const { writer, confirmation } = this.#options
    return runOutsideRequest(async () => {
      const result = await work(await writer())
      await confirmNow(confirmation)
      return { result, effectiveBy: currentCall().pendingUntil }
    })
  }

  async #hash(password: string, email: string): Promise<string> {
    const fault = await findPasswordFault(password, { email, appName: this.#options.appName })
    if (fault !== null) throw new AppError(fault)
    return hashPassword(password)
  }

  #checkFields(fields: Record<string, unknown>): void {
    const { role } = fields
    const fault =
      findInputFault('user', fields) ??
      (typeof role === 'string' ? wrongRole(role, this.#options.roles) : null)
    if (fault !== null) throw new AppError('invalid_input', fault)
  }
}

function taken(email: string): Error {
  return new Error(`there is a user ${email} already: \`holdfast user show ${email}\``)
}
