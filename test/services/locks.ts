import type { PrismaClient } from '../../src/database/database.js'
import { until } from './poll.js'

/** Sends two requests that both wait for one session's row, in this order, and lets them have it. On PostgreSQL alone: the embedded store has one connection. */
export async function inTurn(prisma: PrismaClient, sessionId: string, first: () => Promise<Response>, second: () => Promise<Response>): Promise<Response[]> {
  const both = await prisma.$transaction(async (transaction) => {
    await transaction.$queryRaw`SELECT 1 FROM "session" WHERE "id" = ${sessionId} FOR UPDATE`
    const sent = [first()]
    await waitForLocks(prisma, 1)
    sent.push(second())
    await waitForLocks(prisma, 2)
    return sent
  })
  return Promise.all(both)
}

/** Until so many statements wait for a lock. */
async function waitForLocks(prisma: PrismaClient, wanted: number): Promise<void> {
  await until(`${wanted} to wait for a lock`, async () => {
    const [row] = await prisma.$queryRaw<{ count: number }[]>`
      SELECT count(*)::int AS "count" FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
    return row?.count === wanted
  })
}
