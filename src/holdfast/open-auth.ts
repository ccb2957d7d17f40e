import { hashName } from '../account/name-hash.js'
import { Attempts } from '../auth/attempts.js'
import { createAuth, type Auth } from '../auth/auth.js'
import { Devices } from '../auth/device.js'
import { Mailing } from '../auth/mailing.js'
import type { Config } from '../config.js'
import { RefusedOrigins } from '../refused-origins.js'
import { SessionNames } from '../session/session-names.js'
import { RefreshGrant } from '../token/refresh-grant.js'
import { TokenService } from '../token/token-service.js'
import type { Events } from './events.js'
import type { Checks } from './open-checks.js'
import type { Mail } from './open-mail.js'
import type { Store } from './open-store.js'

/** The ways to sign in, and the tokens that clients are given. */
export interface SignIn {
  auth: Auth
  tokens: TokenService
  sessionNames: SessionNames
  attempts: Attempts
  devices: Devices
  refusedOrigins: RefusedOrigins
}

export interface AuthOpenOptions {
  config: Config
  prefix: string
  events: Events
  mail: Mail | null
}

/** Opens better-auth and the token plane. */
export async function openAuth(
  { prisma, keys, counters, activity, failedAttempts, clock }: Store,
  { caches, accessTokens, reader, thinning, revoker, erasures }: Checks,
  { config, prefix, events, mail }: AuthOpenOptions
): Promise<SignIn> {
  const { cache, confirmation } = caches
  const mailing = mail && new Mailing(mail.outbox, keys)
  const auth = await createAuth({
    config,
    prefix,
    keys,
    prisma,
    reader,
    revoker,
    confirmation,
    thinning,
    erasures,
    clock,
    mailing,
    flushUses: () => activity.flush(),
    onMessage: (level, message, details) =>
      level === 'error' ? events.onError(message, details) : events.onDebug(message)
  })
  const grant = new RefreshGrant({
    prisma,
    peppers: keys.peppers,
    cache,
    confirmation,
    idleTtlSeconds: config.sessionIdleTtlSeconds,
    graceSeconds: config.refreshGraceSeconds,
    tellReuse: async (db, userId) => mailing?.tell(db, userId, 'refresh-reused')
  })
  return {
    auth,
    tokens: new TokenService({
      prisma,
      grant,
      accessTokens,
      sessionTokens: reader,
      revoker,
      peppers: keys.peppers,
      counters
    }),
    sessionNames: new SessionNames(prisma, confirmation),
    attempts: new Attempts({
      failed: failedAttempts,
      counters,
      hashName: (name) => hashName(keys.eventNames, name)
    }),
    devices: new Devices(keys.all.map(({ device }) => device)),
    refusedOrigins: new RefusedOrigins({
      now: clock.monotonic,
      onRefused: (message) => events.onWarning(message, null)
    })
  }
}
