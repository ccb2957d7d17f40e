import { hashPassword } from '../../src/auth/password.js'
import { drive, type Load } from '../drive.js'
import { ratioOf, type Family } from '../figure.js'
import { bearersOf, makePerson, makeSessions, verifying } from '../sessions.js'

const SESSIONS = 1_000
const CONNECTIONS = 8
/** Checks per second. They leave the cores idle enough that only sign-ins can disturb them. */
const RATE = 400
const password = 'correct horse battery staple'
const email = 'ada@example.com'

/**
 * Whether sign-ins delay checks. Each sign-in hashes a password, which takes as long as many
 * thousand checks. The peer shows whether this server or the machine is the limit.
 */
export const interference: Family = {
  name: 'verify, beside sign-ins',
  long: true,
  rounds: 3,
  async prepare(stage) {
    const databaseUrl = await stage.database('interference')
    const tickets = await makeSessions(databaseUrl, SESSIONS)
    await makePerson(databaseUrl, email, password)
    const server = await stage.start('holdfast', databaseUrl)
    const elsewhere = await stage.start('holdfast', databaseUrl)
    const checks = {
      server,
      connections: CONNECTIONS,
      requests: verifying(bearersOf(tickets)),
      isRight: (body: string) => body === ''
    }
    await drive({ ...checks, amount: 4 * SESSIONS })
    const forMs = 2_000
    const rate = Math.max(1, Math.floor(await hashesPerSecond()))
    const signIns = {
      server,
      connections: Math.min(rate, 8),
      rate,
      forMs,
      isRight: (body: string) => body.startsWith('{"redirect":false,"token":"'),
      requests: [
        {
          method: 'POST' as const,
          path: '/api/auth/sign-in/email',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ email, password })
        }
      ]
    }
    for (const each of [server, elsewhere]) await drive({ ...signIns, server: each, forMs: 1_500 })
    const idle = () => drive({ ...checks, rate: RATE, forMs })
    const beside = (load: Load) => async () => (await Promise.all([idle(), drive(load)]))[0]
    return {
      idle,
      'beside sign-ins': beside(signIns),
      'beside sign-ins elsewhere': beside({ ...signIns, server: elsewhere })
    }
  },
  figures: [
    {
      name: 'p99 of /verify while sign-ins run at what one core can hash ÷ p99 idle',
      bound: { atMost: 3 },
      value: (rounds) => ratioOf(rounds, 'p99Ms', 'beside sign-ins', 'idle')
    },
    // The delay that the machine's cores alone cause, which no server can avoid.
    {
      name: 'p99 of /verify while another process on this machine takes these sign-ins ÷ p99 idle',
      bound: null,
      value: (rounds) => ratioOf(rounds, 'p99Ms', 'beside sign-ins elsewhere', 'idle')
    }
  ]
}

async function hashesPerSecond(): Promise<number> {
  const start = performance.now()
  const hashes = 8
  for (let i = 0; i < hashes; i++) await hashPassword(password)
  return hashes / ((performance.now() - start) / 1_000)
}
