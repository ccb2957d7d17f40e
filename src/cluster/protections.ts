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

/**
 * All of them. A cache takes those that are on when it is opened. Only the nodes of the consistency
 * checker switch some off, for there is no setting and no option that does.
 */
export const protections: Protections = {
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
