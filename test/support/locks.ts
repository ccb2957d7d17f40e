import type { PrismaClient, Queryable } from '../../src/database/database.js'
import { until } from './poll.js'

/**
 * Sends two requests that both wait for one session's row, in this order, and then releases the
 * row. PostgreSQL only: the embedded store has one connection.
 */
export function inTurn(
  prisma: PrismaClient,
  sessionId: string,
  first: () => Promise<Response>,
  second: () => Promise<Response>
): Promise<Response[]> {
  return sendInTurn(
    prisma,
    (transaction) =>
      transaction.$queryRaw`SELECT 1 FROM "session" WHERE "id" = ${sessionId} FOR UPDATE`,
    first,
    second
  )
}

/** As `inTurn`, for requests that wait for a user's row. */
export function inTurnAtUser(
  prisma: PrismaClient,
  userId: string,
  first: () => Promise<Response>,
  second: () => Promise<Response>
): Promise<Response[]> {
  return sendInTurn(
    prisma,
    (transaction) => transaction.$queryRaw`SELECT 1 FROM "user" WHERE "id" = ${userId} FOR UPDATE`,
    first,
    second
  )
}

async function sendInTurn(
  prisma: PrismaClient,
  lock: (transaction: Queryable) => Promise<unknown>,
  first: () => Promise<Response>,
  second: () => Promise<Response>
): Promise<Response[]> {
  const both = await prisma.$transaction(async (transaction) => {
    await lock(transaction)
    const sent = [first()]
    await waitForLocks(prisma, 1)
    sent.push(second())
    await waitForLocks(prisma, 2)
    return sent
  })
  return Promise.all(both)
}

/** Waits until this many statements wait for a lock. */
async function waitForLocks(prisma: PrismaClient, wanted: number): Promise<void> {
  await until(`${wanted} to wait for a lock`, async () => {
    const [row] = await prisma.$queryRaw<{ count: number }[]>`
      SELECT count(*)::int AS "count" FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
    return row?.count === wanted
  })
}
