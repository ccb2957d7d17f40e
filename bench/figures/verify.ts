import type { Load } from '../drive.js'
import { loading, share, type Family, type Side } from '../figure.js'
import { accessTokensOf, bearersOf, makeSessions, parts, verifying } from '../sessions.js'
import type { Stage } from '../stage.js'
import { signUpElsewhere } from '../peers.js'

/** Sessions in use at once, and connections that a proxy holds. */
const SESSIONS = 1_000
const CONNECTIONS = 16
const modes = ['database', 'secondary', 'cookie'] as const

const isEmpty = (body: string) => body === ''
const isSession = (body: string) =>
  body.startsWith('{"session":{') && body.includes('ada@example.com')

/**
 * Short and many rounds for the cheapest routes, because the speed of a shared machine changes from
 * second to second.
 */
const SHORT_ROUNDS = 15
const SHORT_MS = 200

/** The cost of a check from the local cache, compared with a route that checks nothing. */
export const verify: Family = {
  name: 'verify, warm',
  rounds: SHORT_ROUNDS,
  async prepare(stage) {
    const databaseUrl = await stage.database('verify')
    const tickets = await makeSessions(databaseUrl, SESSIONS)
    const holdfast = await stage.start('holdfast', databaseUrl)
    const bare = await stage.bare(databaseUrl, holdfast, bearersOf(tickets)[0] ?? '')
    const common = { connections: CONNECTIONS, isRight: isEmpty, forMs: SHORT_MS }
    const session = { ...common, requests: parts(verifying(bearersOf(tickets)), CONNECTIONS) }
    const untouched = await stage.startUntouched('holdfast', databaseUrl)
    const access = {
      ...common,
      requests: parts(verifying(await accessTokensOf(holdfast.url, tickets)), CONNECTIONS)
    }
    return {
      floor: await loading(stage, { ...session, server: bare }),
      'session token': await loading(stage, { ...session, server: holdfast }),
      'session token, no sign-ins': await loading(stage, { ...session, server: untouched }),
      'floor, longer token': await loading(stage, { ...access, server: bare }),
      'access token': await loading(stage, { ...access, server: holdfast })
    }
  },
  figures: [
    {
      name: '/verify, session token, warm L1 ÷ floor',
      bound: { atLeast: 0.85 },
      value: share('session token', 'floor')
    },
    {
      name: '/verify, session token, warm L1, at a node that only gateways ask ÷ floor',
      bound: null,
      value: share('session token, no sign-ins', 'floor')
    },
    {
      name: '/verify, access token, warm L1 ÷ floor',
      bound: { atLeast: 0.85 },
      value: share('access token', 'floor, longer token')
    }
  ]
}

/** The same compared with better-auth's own check, for each of its ways to keep sessions. */
export const betterAuth: Family = {
  name: 'verify and better-auth',
  long: true,
  rounds: 5,
  async prepare(stage) {
    const databaseUrl = await stage.database('beside_better_auth')
    const tickets = await makeSessions(databaseUrl, SESSIONS)
    const server = await stage.start('holdfast', databaseUrl)
    const ours: Load = {
      server,
      connections: CONNECTIONS,
      isRight: isEmpty,
      warmUpMs: 3_000,
      requests: parts(verifying(bearersOf(tickets)), CONNECTIONS)
    }
    return { verify: await loading(stage, ours), ...(await betterAuths(stage)) }
  },
  figures: [
    {
      name: '/verify warm ÷ better-auth get-session, its fastest mode',
      bound: { atLeast: 30 },
      value: (rounds) =>
        Math.min(...modes.map((mode) => share('verify', `better-auth, ${mode}`)(rounds)))
    }
  ]
}

async function betterAuths(stage: Stage): Promise<Record<string, Side>> {
  const sides: Record<string, Side> = {}
  for (const mode of modes) {
    const server = await stage.start(
      'better-auth',
      await stage.emptyDatabase(`better_auth_${mode}`),
      { BENCH_MODE: mode }
    )
    const cookie = await signUpElsewhere(server.url)
    const load: Load = {
      server,
      connections: CONNECTIONS,
      requests: [{ method: 'GET', path: '/api/auth/get-session', headers: { cookie } }],
      isRight: isSession,
      warmUpMs: 3_000
    }
    sides[`better-auth, ${mode}`] = await loading(stage, load)
  }
  return sides
}
