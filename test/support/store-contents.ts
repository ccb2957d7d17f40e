import type { PrismaClient } from '../../src/database/database.js'

/** Every row of every table, as a thief of the store would see it. */
export async function readStore(
  prisma: PrismaClient
): Promise<Map<string, Record<string, unknown>[]>> {
  const tables = await prisma.$queryRaw<{ name: string }[]>`
    SELECT table_name::text AS "name" FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name`
  const contents = new Map<string, Record<string, unknown>[]>()
  for (const { name } of tables) {
    const rows = await prisma.$queryRawUnsafe<{ row: Record<string, unknown> }[]>(
      `SELECT to_jsonb(t) AS "row" FROM "${name}" t ORDER BY t::text`
    )
    contents.set(
      name,
      rows.map(({ row }) => row)
    )
  }
  return contents
}

/**
 * The rows that a refused request must not change. Notes of use are left out, because any check may
 * move them.
 */
export async function readCredentials(prisma: PrismaClient): Promise<string> {
  const contents = await readStore(prisma)
  const rows = ['user', 'account', 'session', 'verification', 'two_factor'].map((name) => [
    name,
    contents.get(name)?.map(({ lastSeenAt: _lastSeenAt, ...row }) => row)
  ])
  return JSON.stringify(rows)
}
