/** When a test file runs, and on which stores. */
export interface Plan {
  /**
   * - `quick`: in `npm run test:quick` as well. Embedded store or none, no faults, seconds.
   * - `standard`: in `npm test`.
   * - `long`: only in `npm run test:long`: faults that take their time, piles of rows, other people's
   *   compilers.
   */
  suite: 'quick' | 'standard' | 'long'
  /**
   * - `none`: it uses no store, and runs once.
   * - `either`: what it tests does not depend on the store. `npm test` runs it on PostgreSQL and
   *   Redis where they are available, `npm run test:long` also on the embedded store.
   * - `both`: `npm test` runs it on each.
   */
  stores: 'none' | 'either' | 'both'
  /** Whether it also runs behind PgBouncer, in another schema and time zone. */
  pooled: boolean
}

/** It shows the store's own behaviour: SQL, transactions, locks. */
const both: Plan = { suite: 'standard', stores: 'both', pooled: false }
const pooled: Plan = { ...both, pooled: true }
const quickPooled: Plan = { ...pooled, suite: 'quick' }
/** It shows what HTTP, better-auth or the command line do above the store. */
const either: Plan = { suite: 'standard', stores: 'either', pooled: false }
const eitherPooled: Plan = { ...either, pooled: true }
const quickEither: Plan = { ...either, suite: 'quick' }
const long: Plan = { suite: 'long', stores: 'both', pooled: false }
const storeless: Plan = { suite: 'quick', stores: 'none', pooled: false }
const standardStoreless: Plan = { ...storeless, suite: 'standard' }
const longStoreless: Plan = { suite: 'long', stores: 'none', pooled: false }

/** By the path below `test/`, without `.test.ts`. A file that is not here has the plan `both`. */
const plans: Record<string, Plan> = {
  structure: storeless,
  'account/account-events': eitherPooled,
  'account/erasure': either,
  'account/event-reading': either,
  'account/failed-sign-ins': long,
  'account/person-export': either,
  'auth/admin-origins': either,
  'auth/auth-errors': either,
  'auth/better-auth-regressions': either,
  'auth/better-auth-regressions-redis': either,
  'auth/bridge': either,
  'auth/compat': either,
  'auth/cookies': either,
  'auth/credential-rights': eitherPooled,
  'auth/credentials': quickEither,
  'auth/derived-sessions': eitherPooled,
  'auth/device-names': either,
  'auth/guessing': either,
  'auth/hash-queue': storeless,
  'auth/official-client': quickEither,
  'auth/official-client-admin': either,
  'auth/official-client-factors': either,
  'auth/password': storeless,
  'auth/recent-sign-in': eitherPooled,
  'auth/second-factors': eitherPooled,
  'auth/secret-rotation': either,
  'auth/secret-rotation-factors': either,
  'auth/totp': storeless,
  'cache/batcher': storeless,
  'cache/bounded': long,
  'cache/cache': either,
  'cache/copies': either,
  'cache/shared-cache': either,
  'check/authority': either,
  'check/causes': quickEither,
  'check/costs': either,
  'check/fast-path': either,
  'check/gateways': either,
  'check/idle-storage': storeless,
  'check/introspection': either,
  'check/session-check': quickPooled,
  'check/verify': quickEither,
  'client/browser': either,
  'client/full-storage': standardStoreless,
  'client/model': standardStoreless,
  'client/model-long': longStoreless,
  'client/react': either,
  'client/size': storeless,
  'client/types': longStoreless,
  'cli/cli': both,
  'cli/mail-commands': both,
  'cli/user-commands': long,
  'cluster/consistency': long,
  'cluster/lease-messages': storeless,
  'cluster/model': longStoreless,
  'cluster/node-registry': long,
  'cluster/protection-edits': storeless,
  'cluster/protections': long,
  'cluster/rolling': long,
  'database/database-pool': either,
  'database/database-url': storeless,
  'database/migrate': either,
  'database/postgresql': either,
  'database/postgresql-failover': long,
  'deployment/compose': standardStoreless,
  'deployment/deployment': standardStoreless,
  'deployment/kubernetes': standardStoreless,
  'deployment/proxies': either,
  'deployment/readme': either,
  'host-application/guest': longStoreless,
  'host-application/guest-hosts': longStoreless,
  'host-application/host-application': either,
  'http/auth-body': either,
  'http/bad-input': either,
  'http/client-address': either,
  'http/fuzz': either,
  'http/log-leak': either,
  'http/metrics': either,
  'http/openapi': either,
  'http/openapi-mobile': either,
  'http/rate-limit': either,
  'http/refusal-log': either,
  'http/security': either,
  'http/tracing': either,
  'http/unlimited': either,
  'mail/proofs': either,
  'mail/proofs-at-rest': either,
  'mail/proofs-input': either,
  'mail/proofs-limits': either,
  'mail/proofs-races': long,
  'mail/proofs-sign-up': either,
  'mail/proofs-takeover': either,
  'mail/proofs-timing': long,
  'mail/texts': storeless,
  'pages/mail': either,
  'pages/admin': either,
  'pages/api-only': either,
  'pages/brand': either,
  'pages/host-application': either,
  'pages/notices': either,
  'pages/odd-addresses': either,
  'pages/return-address': either,
  'mail/delivery': pooled,
  'mail/open-mail': either,
  'mail/transport': storeless,
  'mail/parsed': storeless,
  'mail/slow-server': long,
  'mail/worker-crash': long,
  'redis/breaker': either,
  'redis/redis-forms': long,
  'redis/redis-refusals': either,
  'redis/redis-url': storeless,
  'pages/page-faults': either,
  'pages/pages': either,
  'pages/walk': either,
  'server/config': storeless,
  'server/crash': long,
  'server/leak': long,
  'server/lifecycle': either,
  'server/outage': either,
  'server/start': either,
  'session/concurrency': eitherPooled,
  'session/many-sessions': long,
  'session/sessions': quickPooled,
  'token/access-tokens': quickEither,
  'token/oauth-clients': either,
  'token/refresh': quickPooled,
  'token/refresh-bugs': either,
  'token/refresh-model': long,
  'token/refresh-networks': long,
  'token/refresh-peppers': either,
  'token/refresh-races': pooled,
  'token/refresh-scenarios': either,
  'token/revocation-token': either,
  'token/signing-keys': eitherPooled,
  'token/token-forms': either,
  'token/token-transport': either,
  'token/well-known': either
}

/** The plan of a test file, by its path below `test/` without `.test.js`. */
export function planFor(file: string): Plan {
  return plans[file] ?? both
}

/** Files that have a plan. */
export const planned = Object.keys(plans)
