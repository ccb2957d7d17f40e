import type { Queryable } from '../../database/database.js'

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
