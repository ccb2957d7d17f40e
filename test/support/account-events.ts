import type { Running } from './server.js'

/** Rows of `account_event`, oldest first, as stored. */
export async function findAccountEvents(
  { app }: Running,
  where: { userId?: string | null; kind?: string } = {}
): Promise<Record<string, unknown>[]> {
  return app.holdfast.prisma.accountEvent.findMany({ where, orderBy: { id: 'asc' } })
}
