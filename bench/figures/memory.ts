import { setTimeout as sleep } from 'node:timers/promises'
import { drive, type LoadRequest } from '../drive.js'
import { medianOf, type Family } from '../figure.js'
import type { BenchServer } from '../server.js'
import { makeSessions, type Ticket } from '../sessions.js'
import { gateway } from '../stage.js'

/**
 * Sessions that a server knows before the measurement, so that its code is compiled and its heap
 * has grown; and those that are added.
 */
const BEFORE = 10_000
const ADDED = 30_000
const SIZE = 500
const basic = `Basic ${Buffer.from(`${gateway.id}:${gateway.secret}`).toString('base64')}`

/** The memory of a cached session. */
export const memory: Family = {
  name: 'memory',
  long: true,
  rounds: 3,
  async prepare(stage) {
    const databaseUrl = await stage.database('memory')
    const tickets = await makeSessions(databaseUrl, BEFORE + ADDED)
    return {
      'cached session': async () => {
        const server = await stage.start('holdfast', databaseUrl, { CACHE_TTL_SECONDS: '600' }, [
          '--expose-gc'
        ])
        await know(server, tickets.slice(0, BEFORE))
        const before = await residentBytes(server)
        await know(server, tickets.slice(BEFORE))
        const bytes = ((await residentBytes(server)) - before) / ADDED
        await server.stop()
        return { bytes }
      }
    }
  },
  figures: [
    {
      name: 'resident memory per cached session',
      unit: ' bytes',
      bound: { atMost: 1_024 },
      value: (rounds) => medianOf(rounds, 'cached session', 'bytes')
    }
  ]
}

/** Makes a server read sessions, in batches, one after the other. */
async function know(server: BenchServer, tickets: readonly Ticket[]): Promise<void> {
  const requests: LoadRequest[] = []
  for (let start = 0; start < tickets.length; start += SIZE) {
    const tokens = tickets.slice(start, start + SIZE).map(({ bearer }) => bearer)
    requests.push({
      method: 'POST',
      path: '/sessions/check',
      headers: { authorization: basic, 'content-type': 'application/json' },
      body: JSON.stringify({ tokens })
    })
  }
  await drive({
    server,
    connections: 1,
    amount: requests.length,
    requests,
    isRight: (body) => body.split('"active":true').length === SIZE + 1
  })
}

/**
 * Resident memory after garbage collection. It collects more than once, because freed memory is
 * returned a little later.
 */
async function residentBytes(server: BenchServer): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await server.usage({ collect: true })
    await sleep(150)
  }
  return (await server.usage({ collect: true })).residentBytes
}
