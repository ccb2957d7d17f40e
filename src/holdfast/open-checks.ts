import { Erasures } from '../account/erasure.js'
import { hashNameWithEach } from '../account/name-hash.js'
import { accountKey } from '../auth/device.js'
import { openCaches, type Caches } from '../check/open-caches.js'
import { SessionChecker } from '../check/session-checker.js'
import type { Config } from '../config.js'
import { forgetCounts } from '../redis/counts.js'
import { eraseMail } from '../mail/proofs.js'
import { Revoker } from '../revocation/revoker.js'
import { Thinning } from '../revocation/thinning.js'
import { AccessTokens } from '../token/access-token.js'
import type { TokenParties } from '../token/codec.js'
import { SigningKeys } from '../token/signing-keys.js'
import type { Events } from './events.js'
import type { Lifecycle } from './lifecycle.js'
import type { Store } from './open-store.js'

/** The counters of failed attempts that an erasure deletes. */
export interface ForgottenCounts {
  account: string
  userId: string
}

/** Checks credentials, and ends sessions. */
export interface Checks {
  caches: Caches
  parties: TokenParties
  signingKeys: SigningKeys
  accessTokens: AccessTokens
  reader: SessionChecker
  thinning: Thinning
  revoker: Revoker
  erasures: Erasures
  /** Called with the counters in this process that an erasure deletes. */
  forgetters: Set<(counts: ForgottenCounts) => void>
}

export interface ChecksOptions {
  config: Config
  prefix: string
  events: Events
  lifecycle: Lifecycle
  serves: boolean
}

/** Opens the caches, and the connections to Redis. It does not wait for them. */
export function openSessionCaches(
  { database, keys, counters, clock }: Store,
  { config, events, serves }: Pick<ChecksOptions, 'config' | 'events' | 'serves'>
): Caches {
  return openCaches({
    config,
    keys: keys.all,
    database,
    serves,
    counters,
    clock,
    events: {
      onRedisLost: (error) =>
        events.onWarning('Redis does not answer: sessions are read from the store', error),
      onRedisBack: () => events.onWarning('Redis answers again', null),
      onWarning: (message) => events.onWarning(message, null)
    }
  })
}

/** Makes the services that read through the caches, without I/O. */
export function openChecks(
  { prisma, keys, counters, activity, clock }: Store,
  caches: Caches,
  { config, prefix, lifecycle }: Pick<ChecksOptions, 'config' | 'prefix' | 'lifecycle'>
): Checks {
  const { cache, confirmation, redis } = caches
  const parties = {
    issuer: config.baseUrl + prefix,
    audience: config.accessTokenAudience ?? config.baseUrl
  }
  const signingKeys = new SigningKeys({
    prisma,
    keys,
    parties,
    now: clock.monotonic,
    onForgotten: () => accessTokens.forget()
  })
  const accessTokens: AccessTokens = new AccessTokens({
    keys: signingKeys,
    parties,
    ttlSeconds: config.accessTokenTtlSeconds,
    now: clock.now
  })
  const reader = new SessionChecker({
    cache,
    secrets: keys.all.map(({ auth }) => auth),
    accessTokens,
    activity,
    counters,
    now: clock.monotonic
  })
  const thinning = new Thinning(prisma, confirmation, clock.monotonic)
  const revoker = new Revoker(prisma, confirmation, thinning)
  const forgetters: Checks['forgetters'] = new Set()
  const erasures = new Erasures({
    prisma,
    hashesOf: (name) => hashNameWithEach(keys.all, name),
    accountKey,
    eraseMail,
    now: clock.monotonic,
    async forgetCounts(counts) {
      for (const forget of forgetters) forget(counts)
      if (redis && lifecycle.storeId !== null) await forgetCounts(redis, lifecycle.storeId, counts)
    }
  })
  return {
    caches,
    parties,
    signingKeys,
    accessTokens,
    reader,
    thinning,
    revoker,
    erasures,
    forgetters
  }
}
