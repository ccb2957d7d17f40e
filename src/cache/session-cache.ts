import type { Clock } from '../clock.js'
import type { Queryable } from '../database/database.js'
import { findCause, type SessionRecord } from '../session/session.js'
import { findSessions } from '../session/store.js'
import type { DatabaseClock } from '../cluster/database-clock.js'
import { agedBy, decodeCopy, encodeRecord, encodeUnknown } from './session-codec.js'
import { VersionFloors } from './version-floors.js'
import {
  isRevoked,
  settles,
  type AgedLookup,
  type SessionClaim,
  type StoreLookup
} from './store-lookup.js'
import { Batcher } from './batcher.js'
import type { LocalCache, LocalEntry, PackedEntry } from './local-cache.js'
import type { Invalidation } from '../cluster/node-lease.js'
import type { Fill, SharedAnswer, SharedCache } from './shared-cache.js'
import type { Layer, Counters } from '../counters.js'

/**
 * The cache lease: the right to answer from caches. It is a node's lease, or, for the only process
 * on a store, the knowledge that it is the only one.
 */
export interface CacheLease {
  /** @param now the monotonic clock, for a caller that has just read it */
  isHeld(now?: number): boolean
  readonly epoch: number
  readonly stamp: string
}

export interface SessionCacheOptions {
  db: Queryable
  cacheLease: CacheLease
  local: LocalCache | null
  shared: SharedCache | null
  ttlMs: number
  counters: Counters
  clock: Clock
  databaseClock: DatabaseClock
  onWarning: (message: string) => void
}

/**
 * Up to this many commands to Redis may be in flight, each for several sessions. The store gets one
 * query at a time, because its connections are few.
 */
const SHARED_CONCURRENCY = 4

/** How long a copy that says "there is no such session" lives. No id is ever given twice. */
const UNKNOWN_TTL_MS = 5_000

/**
 * A copy may reach Redis late, and stay there too long, by a few seconds. An older one was written
 * back by an attacker or a restore.
 */
const LATE_MS = 4_000

const FORGED =
  "a copy of a session in Redis was written by none of this store's nodes, and does not count: " +
  'who can write there? (nodes of version 0.1 that still run beside this one are one answer)'
const WRITTEN_BACK =
  'a copy of a session in Redis is older than any copy can be, and does not count: who can write there?'

type Lease = SharedAnswer & { kind: 'lease' }

/** What can forbid keeping the result of a read. */
interface InFlightRead {
  epoch: number
  /** Whether an invalidation of the session arrived since the read began. */
  overtaken: boolean
}

/** One read's sessions, while it is in flight. */
type InFlightReads = ReadonlyMap<string, InFlightRead>

/** A session to be read from the store, with the right to fill the shared cache if there is one. */
interface LeasedRead {
  claim: SessionClaim
  lease: Lease | null
}

/** What was found, and in which layer. */
interface LookupResult {
  found: StoreLookup
  layer: Layer
}

/**
 * The session cache: local (L1), shared (L2), store. It answers from a copy only while it holds its
 * cache lease. A copy never says more than "active": one that looks expired or does not match the
 * credential is a miss, because a stale "no" would sign the user out.
 */
export class SessionCache {
  readonly #options: SessionCacheOptions
  readonly #reads = new Set<InFlightReads>()
  readonly #floors: VersionFloors
  readonly #warned = new Set<string>()
  readonly #sharedBatcher = new Batcher(
    (claims: readonly SessionClaim[]) => this.#answerFromShared(claims),
    { maxConcurrent: SHARED_CONCURRENCY }
  )
  readonly #storeBatcher = new Batcher((reads: readonly LeasedRead[]) =>
    this.#answerFromStore(reads)
  )

  constructor(options: SessionCacheOptions) {
    this.#options = options
    this.#floors = new VersionFloors(options.clock.monotonic)
  }

  /** Whether this process keeps copies of its own. */
  get hasLocal(): boolean {
    return this.#options.local !== null
  }

  /**
   * The copy in this process, where this node holds its lease and the copy says "active". Null where
   * only a read can tell. Costs no I/O, and no turn of the event loop.
   *
   * @param now the monotonic clock, just read
   * @param maxAgeMs how old the copy may be
   */
  findLocal(claim: SessionClaim, now: number, maxAgeMs = Infinity): LocalEntry | null {
    const { local, cacheLease } = this.#options
    if (!local || !cacheLease.isHeld(now)) return null
    const copy = local.find(claim.sessionId, now)
    return copy && claim.fits(copy) && this.#isActive(copy, now, maxAgeMs) ? copy : null
  }

  #isActive(copy: LocalEntry, now: number, maxAgeMs: number): boolean {
    if (!copy.active || now >= copy.activeUntil || now - copy.readAt > maxAgeMs) return false
    this.#options.counters.checks.local.active++
    return true
  }

  /**
   * Finds a session. A copy that does not fit the claim is a miss.
   *
   * @throws StoreUnavailable when neither a copy nor the store answers
   */
  async find(claim: SessionClaim): Promise<StoreLookup> {
    const now = this.#options.clock.monotonic()
    const copy = this.findLocal(claim, now)
    return copy ? agedBy(copy.record, now - copy.readAt) : this.load(claim, (found) => found)
  }

  /**
   * As `find`, for a caller that found no copy in this process. Loads that arrive together are sent
   * in one batch.
   *
   * @param show maps the result for the caller
   */
  load<T>(claim: SessionClaim, show: (found: StoreLookup) => T): Promise<T> {
    const { shared, cacheLease } = this.#options
    if (!shared || !cacheLease.isHeld()) return this.#load(claim, null, show)
    const settle = (answer: LookupResult | Lease | null) =>
      answer && 'layer' in answer
        ? show(this.#count(answer, claim))
        : this.#load(claim, answer, show)
    // In a cluster a batch saves nothing, and a read from a healthy shard would wait for a failing
    // one.
    if (shared.isCluster)
      return this.#answerFromShared([claim]).then(([answer = null]) => settle(answer))
    return this.#sharedBatcher.load(claim, settle)
  }

  /** The limit is the store's pool: it refuses what it cannot serve soon, which becomes a 503. */
  #load<T>(claim: SessionClaim, lease: Lease | null, show: (found: StoreLookup) => T): Promise<T> {
    return this.#storeBatcher.load({ claim, lease }, (found) =>
      show(this.#count({ found, layer: 'store' }, claim))
    )
  }

  #count({ found, layer }: LookupResult, claim: SessionClaim | undefined): StoreLookup {
    this.#options.counters.checks[layer][
      found === null
        ? 'unknown'
        : isRevoked(found)
          ? 'revoked'
          : settles(found, claim)
            ? 'active'
            : 'refused'
    ]++
    return found
  }

  /**
   * Replaces older copies after a committed write. It creates none. It guarantees nothing and is
   * not awaited: a copy that it does not reach ends at its own time.
   *
   * @param record the rows as the write left them, with its version and the database's clock
   */
  put(record: SessionRecord): void {
    const { local, shared, cacheLease, ttlMs, clock } = this.#options
    if (!cacheLease.isHeld()) return
    const { id, version } = record.session
    const now = clock.monotonic()
    const copy = local?.find(id, now)
    if (
      local &&
      copy &&
      copy.record.session.version < version &&
      !this.#floors.isAbove(version, id)
    ) {
      // Of the two estimates of the database's clock the later one counts: a session must not seem
      // to live longer.
      const time = new Date(
        Math.max(record.now.getTime(), copy.record.now.getTime() + now - copy.readAt)
      )
      local.set(id, {
        text: encodeRecord({ ...record, now: time }, ttlMs),
        readAt: now,
        freshUntil: copy.freshUntil
      })
    }
    // If this fails, the older copy keeps its remaining time.
    shared?.put(id, version, encodeRecord(record, ttlMs), cacheLease.stamp).catch(() => {})
  }

  /**
   * Finds many sessions: one command to Redis for those that this process does not know, and one
   * query for those that neither knows.
   *
   * @param wanted the claims by their sessions' ids
   * @param maxAgeMs how old a copy may be; 0 reads the store
   * @throws StoreUnavailable when the store is needed and does not answer
   */
  async findAll(
    wanted: ReadonlyMap<string, SessionClaim>,
    maxAgeMs: number
  ): Promise<Map<string, AgedLookup>> {
    const known = new Map<string, AgedLookup>()
    const leases = new Map<string, Lease>()
    const now = this.#options.clock.monotonic()
    const open = new Set(wanted.keys())
    const settle = (id: string, aged: AgedLookup) => {
      known.set(id, aged)
      open.delete(id)
    }
    for (const [id, claim] of wanted) {
      const copy = maxAgeMs > 0 ? this.findLocal(claim, now, maxAgeMs) : null
      if (copy)
        settle(id, { found: agedBy(copy.record, now - copy.readAt), ageMs: now - copy.readAt })
    }
    const { shared, cacheLease } = this.#options
    if (open.size > 0 && maxAgeMs > 0 && shared && cacheLease.isHeld()) {
      for (const [id, answer] of await this.#readShared(open)) {
        if ('kind' in answer) leases.set(id, answer)
        else if (answer.ageMs <= maxAgeMs && isSettled(answer.found, wanted.get(id)))
          settle(id, {
            ...answer,
            found: this.#count({ found: answer.found, layer: 'shared' }, wanted.get(id))
          })
      }
    }
    if (open.size > 0) {
      for (const [id, found] of await this.#readStore(open, leases, 1))
        settle(id, { found: this.#count({ found, layer: 'store' }, wanted.get(id)), ageMs: 0 })
    }
    return known
  }

  /** Forgets copies that are older than a change. */
  invalidate(changes: readonly Invalidation[]): void {
    const until = this.#options.clock.monotonic() + this.#options.ttlMs
    for (const { sessionId, version } of changes) {
      this.#options.local?.delete(sessionId)
      this.#floors.raise(sessionId, version, until)
      for (const beginnings of this.#reads) {
        const beginning = beginnings.get(sessionId)
        if (beginning) beginning.overtaken = true
      }
    }
    this.#floors.sweep()
  }

  /** Forgets every copy. Floors stay, because they only refuse copies. */
  clear(): void {
    this.#options.local?.clear()
  }

  /**
   * For each claim what Redis knows, or the fill lease that it gave. Null where only the store can
   * answer.
   */
  async #answerFromShared(
    claims: readonly SessionClaim[]
  ): Promise<(LookupResult | Lease | null)[]> {
    const answers = await this.#readShared(new Set(claims.map(({ sessionId }) => sessionId)))
    return claims.map((claim) => {
      const answer = answers.get(claim.sessionId)
      if (!answer || 'kind' in answer) return answer ?? null
      return isSettled(answer.found, claim) ? { found: answer.found, layer: 'shared' } : null
    })
  }

  async #answerFromStore(reads: readonly LeasedRead[]): Promise<StoreLookup[]> {
    const leases = new Map<string, Lease>()
    for (const { claim, lease } of reads) if (lease) leases.set(claim.sessionId, lease)
    const ids = new Set(reads.map(({ claim }) => claim.sessionId))
    const records = await this.#readStore(ids, leases, reads.length)
    return reads.map(({ claim }) => records.get(claim.sessionId) ?? null)
  }

  /**
   * The valid answers of Redis. It does not wait for another reader that is filling, because the
   * store answers sooner.
   */
  #readShared(ids: ReadonlySet<string>): Promise<Map<string, AgedLookup | Lease>> {
    return this.#hearing(ids, async (beginnings) => {
      const known = new Map<string, AgedLookup | Lease>()
      const { shared, cacheLease } = this.#options
      // A missing answer is read from the store.
      const answers = (await shared?.readAll([...ids], cacheLease.stamp)) ?? []
      let next = 0
      for (const [id, beginning] of beginnings) {
        const answer = answers[next++]
        if (!answer || answer.kind === 'none') continue
        const taken = answer.kind === 'lease' ? answer : this.#take(id, answer, beginning)
        if (taken) known.set(id, taken)
      }
      return known
    })
  }

  /** @param checks how many callers wait for the result, for the counters */
  #readStore(
    ids: ReadonlySet<string>,
    leases: ReadonlyMap<string, Lease>,
    checks: number
  ): Promise<Map<string, SessionRecord | null>> {
    return this.#hearing(ids, async (beginnings) => {
      const known = new Map<string, SessionRecord | null>()
      const readAt = this.#options.clock.monotonic()
      const found = await findSessions(this.#options.db, [...ids]).catch((error: unknown) => {
        this.#options.counters.checks.store.unavailable += checks
        throw error
      })
      const [read] = found.values()
      if (read) this.#options.databaseClock.note(read.now, readAt)
      const fills: Fill[] = []
      for (const [id, beginning] of beginnings) {
        const record = found.get(id) ?? null
        this.#offer(id, record, readAt, leases.get(id), beginning, fills)
        known.set(id, record)
      }
      // A fill that fails costs only a miss.
      if (fills.length > 0) this.#options.shared?.fillAll(fills).catch(() => {})
      return known
    })
  }

  /** Runs a read, and records what arrives during it that forbids keeping its result. */
  async #hearing<T>(
    ids: ReadonlySet<string>,
    read: (beginnings: InFlightReads) => Promise<T>
  ): Promise<T> {
    const { epoch } = this.#options.cacheLease
    const beginnings = new Map([...ids].map((id) => [id, { epoch, overtaken: false }]))
    this.#reads.add(beginnings)
    try {
      return await read(beginnings)
    } finally {
      this.#reads.delete(beginnings)
    }
  }

  /** Takes an answer of the shared cache if it is valid, else returns null. */
  #take(
    sessionId: string,
    answer: SharedAnswer & { kind: 'hit' | 'tombstone' | 'forged' },
    beginning: InFlightRead
  ): AgedLookup | null {
    if (answer.kind === 'forged') return this.#refuse('forged', FORGED)
    if (answer.kind === 'tombstone') return { found: { revokedReason: answer.reason }, ageMs: 0 }
    const { cacheLease } = this.#options
    // The lease must have been held without a gap since the read began: a Redis server that was
    // demoted during the read does not count.
    const usable =
      cacheLease.isHeld() &&
      cacheLease.epoch === beginning.epoch &&
      !this.#floors.isAbove(answer.version, sessionId)
    return usable ? this.#takeCopy(sessionId, answer, beginning) : null
  }

  /**
   * Takes a copy at its stated age. The age is counted on the database's clock from the time of its
   * read, which is authenticated. That Redis still holds the copy proves nothing, because someone
   * may have written it back.
   */
  #takeCopy(
    sessionId: string,
    { version, text }: SharedAnswer & { kind: 'hit' },
    beginning: InFlightRead
  ): AgedLookup | null {
    const { clock, databaseClock, ttlMs } = this.#options
    const copy = decodeCopy(sessionId, text)
    if (!copy) return this.#refuse('form')
    const now = clock.monotonic()
    const time = databaseClock.latest(now)
    if (time === null) return null
    const ageMs = time - copy.readAt
    const livesMs = Math.min(copy.livesMs, ttlMs)
    // A negative age means that the copy was read before the database's clock was set back.
    if (ageMs < 0 || ageMs >= livesMs)
      return this.#refuse('old', ageMs > livesMs + LATE_MS ? WRITTEN_BACK : null)
    if (!copy.record) return { found: null, ageMs }
    this.#keep(
      sessionId,
      version,
      { text, readAt: now - ageMs, freshUntil: now - ageMs + livesMs },
      beginning
    )
    return { found: agedBy(copy.record, ageMs), ageMs }
  }

  /** Counts a refused copy, and warns once for each reason. */
  #refuse(why: 'forged' | 'old' | 'form', warning: string | null = null): null {
    const { counters, onWarning } = this.#options
    counters.copiesRefused[why]++
    if (warning !== null && !this.#warned.has(why)) {
      this.#warned.add(why)
      onWarning(warning)
    }
    return null
  }

  /**
   * Keeps what the store answered. Where this reader holds the fill lease, it also adds a fill for
   * the shared cache.
   */
  #offer(
    sessionId: string,
    record: SessionRecord | null,
    readAt: number,
    lease: Lease | undefined,
    beginning: InFlightRead,
    fills: Fill[]
  ): void {
    if (record && findCause(record) !== null) return
    const livesMs = record
      ? Math.floor(this.#options.ttlMs * (1 - Math.random() / 10))
      : UNKNOWN_TTL_MS
    const text = record ? encodeRecord(record, livesMs) : this.#encodeUnknown(readAt)
    if (lease && text !== null)
      fills.push({
        sessionId,
        lease,
        version: record?.session.version ?? 0,
        text,
        ttlMs: livesMs - (this.#options.clock.monotonic() - readAt)
      })
    if (record && text !== null)
      this.#keep(
        sessionId,
        record.session.version,
        { text, readAt, freshUntil: readAt + livesMs },
        beginning
      )
  }

  /**
   * Encodes "no such session". The store's answer carries no time, so the time is estimated. Null,
   * and no copy, where no estimate is known.
   */
  #encodeUnknown(readAt: number): string | null {
    const time = this.#options.databaseClock.earliest(readAt)
    return time === null ? null : encodeUnknown(Math.floor(time), UNKNOWN_TTL_MS)
  }

  /** Keeps a copy in this process, unless an event since its read began forbids it. */
  #keep(sessionId: string, version: number, entry: PackedEntry, beginning: InFlightRead): void {
    const { local, cacheLease } = this.#options
    if (!local || !cacheLease.isHeld()) return
    if (cacheLease.epoch !== beginning.epoch) return
    if (beginning.overtaken || this.#floors.isAbove(version, sessionId)) return
    local.set(sessionId, entry)
  }
}

/** Whether a copy answers the claim. One that does not fit may be older than the credential. */
function isSettled(found: StoreLookup, claim: SessionClaim | undefined): boolean {
  return found === null || isRevoked(found) || settles(found, claim)
}
