import type { Queryable } from '../../database/database.js'
import { currentCall } from '../call-context.js'
import { sentMailHandleHash } from '../mail-handle.js'
import type { ProvenAccount } from './shared.js'

/** What these endpoints use of better-auth's internal adapter: it runs its hooks, and our adapter. */
export interface UserWrites {
  createUser: (user: Record<string, unknown>, context?: { method: string }) => Promise<WrittenUser>
  createAccount: (account: Record<string, unknown>) => Promise<unknown>
  updateUser: (userId: string, update: Record<string, unknown>) => Promise<unknown>
  updatePassword: (userId: string, hash: string) => Promise<unknown>
  findUserById: (userId: string) => Promise<WrittenUser | null>
  deleteUserSessions: (userId: string) => Promise<unknown>
  createSession: (userId: string) => Promise<{ token: string } & Record<string, unknown>>
}

export type WrittenUser = Record<string, unknown> & { id: string; email: string }

/** These writes, in an endpoint of better-auth. */
export function writesFrom({ context }: { context: { internalAdapter: unknown } }): UserWrites {
  return context.internalAdapter as UserWrites
}

/**
 * Notes that an account's address is proven by a mail. The client that signed up is recognised by
 * its handle; the first proof by any other ends what is older (`AccountWrites`).
 */
export async function proveByMail(writes: UserWrites, account: ProvenAccount): Promise<void> {
  if (holdsSignUp(account)) currentCall().ownsSignUp = account.id
  if (!account.emailVerified) await writes.updateUser(account.id, { emailVerified: true })
}

/** Whether the client holds the handle of the sign-up of an account. */
export function holdsSignUp({ signUpHandle }: ProvenAccount): boolean {
  return signUpHandle !== null && signUpHandle === sentMailHandleHash()
}

/**
 * Sets a password, the first one or another, in the caller's transaction. All sessions of the user
 * end.
 */
export async function setPassword(
  db: Queryable,
  writes: UserWrites,
  userId: string,
  hash: string
): Promise<void> {
  const known = await db.account.findFirst({
    where: { userId, providerId: 'credential' },
    select: { id: true }
  })
  if (known) await writes.updatePassword(userId, hash)
  else
    await writes.createAccount({
      userId,
      providerId: 'credential',
      accountId: userId,
      password: hash
    })
}
