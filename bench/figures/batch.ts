import type { LoadRequest } from '../drive.js'
import { loading, ratioOf, type Family } from '../figure.js'
import { bearersOf, makeSessions, parts, verifying } from '../sessions.js'
import { gateway } from '../stage.js'

const SESSIONS = 1_000
const SIZE = 100
const CONNECTIONS = 16

const basic = `Basic ${Buffer.from(`${gateway.id}:${gateway.secret}`).toString('base64')}`
/** Counts active sessions: a batch with an inactive one is a wrong answer. */
const isAllActive = (body: string) => body.split('"active":true').length === SIZE + 1

/** The saving for a gateway that checks many tokens at once. */
export const batch: Family = {
  name: 'batches',
  async prepare(stage) {
    const databaseUrl = await stage.database('batches')
    const tickets = await makeSessions(databaseUrl, SESSIONS)
    const server = await stage.start('holdfast', databaseUrl)
    const single = {
      server,
      connections: CONNECTIONS,
      requests: parts(verifying(bearersOf(tickets)), CONNECTIONS),
      isRight: (body: string) => body === ''
    }
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
    return {
      '/verify': await loading(stage, single),
      'batches of 100': await loading(stage, {
        server,
        connections: CONNECTIONS,
        requests,
        isRight: isAllActive
      })
    }
  },
  figures: [
    {
      name: 'checks per second in /sessions/check batches of 100, warm ÷ single /verify calls per second',
      bound: { atLeast: 10 },
      value: (rounds) => SIZE * ratioOf(rounds, 'perSecond', 'batches of 100', '/verify')
    }
  ]
}
