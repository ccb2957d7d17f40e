import { median, quantile } from '../drive.js'
import { medianOf, ROUNDS, usingUp, type Family } from '../figure.js'
import type { BenchServer } from '../server.js'
import { makeSessions, type Ticket } from '../sessions.js'

const NODES = 3

/** The time of a sign-out that every node confirms before it is answered. */
export const revocation: Family = {
  name: 'revocation',
  async prepare(stage) {
    const databaseUrl = await stage.database('revocation')
    const perRound = stage.quick ? 8 : 30
    const tickets = await makeSessions(databaseUrl, perRound * (ROUNDS + 1))
    const nodes = await Promise.all(
      Array.from({ length: NODES }, () => stage.start('holdfast', databaseUrl))
    )
    const revoking = await usingUp(tickets, { first: perRound, perRound }, async (mine) => {
      const times: number[] = []
      for (const ticket of mine) times.push(await revoke(nodes, ticket))
      const sorted = times.toSorted((a, b) => a - b)
      return { medianMs: median(sorted), p99Ms: quantile(sorted, 0.99) }
    })
    return { 'three nodes': revoking }
  },
  figures: [
    {
      name: 'revocation acknowledged on three nodes, median',
      unit: ' ms',
      bound: { atMost: 20 },
      value: (rounds) => medianOf(rounds, 'three nodes', 'medianMs')
    }
  ]
}

/**
 * Ends a session that every node has in its cache, and returns how long that took. Afterwards no
 * node may answer that it is active.
 */
async function revoke(
  nodes: readonly BenchServer[],
  { sessionId, bearer }: Ticket
): Promise<number> {
  const headers = { authorization: `Bearer ${bearer}` }
  await expectAll(nodes, headers, 200)
  await expectAll(nodes, headers, 200)
  const start = performance.now()
  const response = await fetch(`${nodes[0]?.url}/sessions/${sessionId}`, {
    method: 'DELETE',
    headers
  })
  const body = await response.text()
  const took = performance.now() - start
  if (response.status !== 200 || body !== '{"revoked":1}')
    throw new Error(`a revocation was answered ${response.status} ${body}`)
  await expectAll(nodes, headers, 401)
  return took
}

async function expectAll(
  nodes: readonly BenchServer[],
  headers: Record<string, string>,
  status: number
): Promise<void> {
  for (const { url } of nodes) {
    const response = await fetch(`${url}/verify`, { headers })
    await response.text()
    if (response.status !== status)
      throw new Error(`${url}/verify answered ${response.status} instead of ${status}`)
  }
}
