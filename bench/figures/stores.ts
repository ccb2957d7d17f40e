import { Redis } from 'ioredis'
import { drive, type LoadRequest } from '../drive.js'
import { loading, ROUNDS, share, usingUp, type Family, type Side } from '../figure.js'
import type { BenchServer } from '../server.js'
import { bearersOf, makeSessions, parts, verifying, type Ticket } from '../sessions.js'

const SESSIONS = 1_000
const CONNECTIONS = 16
const isEmpty = (body: string) => body === ''
const byId = (path: string, tickets: readonly Ticket[]): LoadRequest[] =>
  tickets.map(({ sessionId }) => ({ method: 'GET', path: `/${path}/${sessionId}` }))

/** The cost of a check that reads Redis, compared with a route with one GET. */
export const shared: Family = {
  name: 'verify, from Redis',
  async prepare(stage) {
    const databaseUrl = await stage.database('shared')
    const tickets = await makeSessions(databaseUrl, SESSIONS)
    const server = await stage.start('holdfast', databaseUrl, { LOCAL_CACHE: 'off' })
    const first = tickets[0]?.bearer ?? ''
    const bare = await stage.bare(databaseUrl, server, first)
    const ours = {
      server,
      connections: CONNECTIONS,
      requests: parts(verifying(bearersOf(tickets)), CONNECTIONS),
      isRight: isEmpty
    }
    const theirs = { ...ours, server: bare, requests: parts(byId('redis', tickets), CONNECTIONS) }
    await copyTo(stage.redisUrl, tickets)
    return {
      'bare Redis route': await loading(stage, theirs),
      L2: await loading(stage, ours)
    }
  },
  figures: [
    {
      name: '/verify, LOCAL_CACHE=off, warm L2 ÷ bare Redis route',
      bound: { atLeast: 0.9 },
      value: share('L2', 'bare Redis route')
    }
  ]
}

/** The cost of the first check of a session, compared with a route with one SELECT. */
export const cold: Family = {
  name: 'verify, from PostgreSQL',
  async prepare(stage) {
    const databaseUrl = await stage.database('cold')
    const [first, perRound] = stage.quick ? [1_600, 400] : [10_000, 1_600]
    const tickets = await makeSessions(databaseUrl, first + perRound * ROUNDS)
    // A session of its own, because those of the rounds must be unknown.
    const [{ bearer } = { bearer: '' }] = await makeSessions(databaseUrl, 1)
    const server = await stage.start('holdfast', databaseUrl)
    const bare = await stage.bare(databaseUrl, server, bearer)
    const once = (
      target: BenchServer,
      requestsOf: (tickets: readonly Ticket[]) => LoadRequest[]
    ): Promise<Side> =>
      usingUp(tickets, { first, perRound }, (mine) =>
        drive({
          server: target,
          connections: CONNECTIONS,
          amount: mine.length,
          requests: parts(requestsOf(mine), CONNECTIONS),
          isRight: isEmpty
        })
      )
    return {
      'bare pg route': await once(bare, (mine) => byId('select', mine)),
      cold: await once(server, (mine) => verifying(bearersOf(mine)))
    }
  },
  figures: [
    {
      name: '/verify, cold (each session once, from PostgreSQL) ÷ bare pg route',
      bound: { atLeast: 0.7 },
      value: share('cold', 'bare pg route')
    }
  ]
}

/** Puts a value of a copy's size under each id, for the bare route to read. */
async function copyTo(redisUrl: string, tickets: readonly Ticket[]): Promise<void> {
  const redis = new Redis(redisUrl)
  await Promise.all(tickets.map(({ sessionId }) => redis.set(sessionId, 'x'.repeat(900))))
  redis.disconnect()
}
