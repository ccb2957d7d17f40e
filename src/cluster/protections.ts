/**
 * The steps that keep the cache from a stale answer. Each can be switched off. The product never
 * does that. The consistency checker switches them off one by one, to prove that it would notice.
 */
export interface Protections {
  /**
   * A load may fill the shared cache only while it holds the fill lease that it got before it read
   * the store.
   */
  fillLease: boolean
  /**
   * An older copy never replaces a newer one. A node that has heard of a newer version does not
   * take an older copy from Redis.
   */
  versionCompare: boolean
  /** A copy counts only on the Redis history on which it was written. */
  stamp: boolean
  /** A revocation waits until every node has applied it or has lost its lease. */
  acknowledgements: boolean
  /** A node answers from its caches only while it holds its lease. */
  leaseCheck: boolean
  /** A heartbeat counts when it arrives through the subscription that carries the invalidations. */
  heartbeatBySubscription: boolean
  /** A revocation waits until the lease table is as old as a lease lasts. */
  youngTableWait: boolean
  /** A load that an invalidation has overtaken is not stored. */
  overtakenLoads: boolean
  /** A read that arrives while a load is running waits for the next load. */
  joinNext: boolean
}

export const allProtections: Readonly<Protections> = {
  fillLease: true,
  versionCompare: true,
  stamp: true,
  acknowledgements: true,
  leaseCheck: true,
  heartbeatBySubscription: true,
  youngTableWait: true,
  overtakenLoads: true,
  joinNext: true
}

let protections: Readonly<Protections> = allProtections

/** The protections of caches that are opened from now on. */
export function currentProtections(): Readonly<Protections> {
  return protections
}

/**
 * Leaves steps out of caches that are opened from now on. Only the consistency checker calls it: no
 * setting or option reaches it.
 *
 * @throws Error for an unknown protection
 */
export function leaveOutForTest(names: readonly string[]): void {
  for (const name of names) {
    if (!(name in allProtections)) throw new Error(`there is no protection ${name}`)
  }
  protections = { ...allProtections, ...Object.fromEntries(names.map((name) => [name, false])) }
}
