import { Client } from 'pg'
import { drive } from '../drive.js'
import { ratioOf, ROUNDS, usingUp, type Family, type Side } from '../figure.js'
import { bearersOf, makeSessions, verifying, type Ticket } from '../sessions.js'
import type { Stage } from '../stage.js'

/** One at a time: this measures the time of an answer, without queueing. */
const CONNECTIONS = 1
const FIRST = 1_000
const PER_ROUND = 300

/** Whether a check stays as fast with a hundred times the sessions. */
export const scale: Family = {
  name: 'sessions in the store',
  long: true,
  async prepare(stage) {
    const few = await filled(stage, 'few', 10_000)
    const many = await filled(stage, 'many', 1_000_000)
    return { few, many }
  },
  figures: [
    {
      name: 'median /verify cold at 1,000,000 sessions ÷ at 10,000',
      bound: { atMost: 1.2 },
      value: (rounds) => ratioOf(rounds, 'medianMs', 'many', 'few')
    }
  ]
}

async function filled(stage: Stage, name: string, sessions: number): Promise<Side> {
  const databaseUrl = await stage.database(name)
  const tickets = await fill(databaseUrl, sessions, FIRST + PER_ROUND * ROUNDS)
  const server = await stage.start('holdfast', databaseUrl)
  return usingUp(tickets, { first: FIRST, perRound: PER_ROUND }, (mine) =>
    drive({
      server,
      connections: CONNECTIONS,
      amount: mine.length,
      requests: verifying(bearersOf(mine)),
      isRight: (body) => body === ''
    })
  )
}

/**
 * Inserts sessions of other users between the checked ones, which are then far apart and checked in
 * random order.
 */
async function fill(databaseUrl: string, sessions: number, asked: number): Promise<Ticket[]> {
  const steps = 100
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows: indexes } = await client.query<{ name: string; definition: string }>(
      `SELECT indexname AS "name", indexdef AS "definition" FROM pg_indexes WHERE tablename = 'session' AND indexname NOT LIKE '%pkey'`
    )
    for (const { name } of indexes) await client.query(`DROP INDEX "${name}"`)
    const tickets: Ticket[] = []
    for (let step = 0; step < steps; step++) {
      await client.query(
        `WITH people AS (
          INSERT INTO "user" ("id", "name", "email", "emailVerified", "role")
          SELECT id, 'Ada Lovelace', id || '@example.com', true, 'user' FROM (SELECT gen_random_uuid()::text AS id FROM generate_series(1, $1)) AS made RETURNING "id"
        )
        INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt", "amr", "ipAddress", "userAgent")
        SELECT holdfast_uuid_v7(), 'h1_' || md5("id" || n), "id", now() + interval '7 days', now() + interval '90 days', '{pwd}', '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
        FROM people, generate_series(1, 4) AS n`,
        [sessions / steps / 4]
      )
      tickets.push(...(await makeSessions(databaseUrl, asked / steps)))
    }
    for (const { definition } of indexes) await client.query(definition)
    await client.query('VACUUM ANALYZE')
    await client.query('CHECKPOINT')
    return shuffled(tickets)
  } finally {
    await client.end()
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item)
}
