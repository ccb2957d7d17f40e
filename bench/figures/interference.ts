import { hashPassword } from '../../src/auth/password.js'
import { drive } from '../drive.js'
import { ratioOf, type Family } from '../figure.js'
import { bearersOf, makePerson, makeSessions, verifying } from '../sessions.js'

const SESSIONS = 1_000
const CONNECTIONS = 8
/** Checks per second: what leaves the cores room, so that it is the sign-ins that are noticed. */
const RATE = 400
const password = 'correct horse battery staple'
const email = 'ada@example.com'

/** Whether sign-ins, each of which hashes a password for as long as many thousand checks take, hold checks up. */
export const interference: Family = {
  name: 'verify, beside sign-ins',
  long: true,
  rounds: 3,
  async prepare(stage) {
    const databaseUrl = await stage.database('interference')
    const tickets = await makeSessions(databaseUrl, SESSIONS)
    await makePerson(databaseUrl, email, password)
    const server = await stage.start('holdfast', databaseUrl)
    const checks = { server, connections: CONNECTIONS, requests: verifying(bearersOf(tickets)), isRight: (body: string) => body === '' }
    await drive({ ...checks, amount: CONNECTIONS * SESSIONS })
    const forMs = 2_500
    const rate = Math.max(1, Math.floor(await hashesPerSecond()))
    const signIns = {
      server, connections: Math.min(rate, 8), rate, forMs, isRight: (body: string) => body.startsWith('{"redirect":false,"token":"'),
      requests: [{ method: 'POST' as const, path: '/api/auth/sign-in/email', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email, password }) }]
    }
    return {
      idle: () => drive({ ...checks, rate: RATE, forMs }),
      [`beside sign-ins`]: async () => (await Promise.all([drive({ ...checks, rate: RATE, forMs }), drive(signIns)]))[0]
    }
  },
  figures: [{
    name: 'p99 of /verify while sign-ins run at what one core can hash ÷ p99 idle', bound: { atMost: 3 },
    value: (rounds) => ratioOf(rounds, 'p99Ms', 'beside sign-ins', 'idle')
  }]
}

async function hashesPerSecond(): Promise<number> {
  const start = performance.now()
  const hashes = 8
  for (let i = 0; i < hashes; i++) await hashPassword(password)
  return hashes / ((performance.now() - start) / 1_000)
}
