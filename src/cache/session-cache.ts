import { setTimeout as sleep } from 'node:timers/promises'
import type { Queryable } from '../database/database.js'
import { findCause, type ActiveCheck, type SessionRecord } from '../session/session.js'
import { findSessions } from '../session/store.js'
import { agedBy, decodeRecord, encodeRecord } from './entry.js'
import { VersionFloors } from './floors.js'
import { fits, type Aged, type Found, type Matches } from './found.js'
import { Gathering } from './gathering.js'
import type { LocalCache, LocalEntry, PackedEntry } from './local-cache.js'
import type { Invalidation } from './node-lease.js'
import type { Protections } from './protections.js'
import type { SharedAnswer, SharedCache } from './shared-cache.js'
import type { Layer, Tally } from '../tally.js'

/** The right to answer from caches: a node's lease, or for the only process on a store the certainty of being it. */
export interface Authority {
  /** @param now the monotonic clock, for whoever has just read it */
  held(now?: number): boolean
  readonly epoch: number
  readonly stamp: string
}

export interface SessionCacheOptions {
  db: Queryable
  authority: Authority
  local: LocalCache | null
  shared: SharedCache | null
  ttlMs: number
  protections: Protections
  tally: Tally
}

/** A copy that says "there is no such session" lives this long: no id is ever given twice. */
const UNKNOWN_TTL_MS = 5_000
/** A reader whose neighbour is filling looks again this often, this far apart. */
const WAITS = 4
const WAIT_MS = 8

declare const MOMENT: unique symbol
/** A time on the monotonic clock, in milliseconds, at which copies in this process may answer. Only `SessionCache.moment` makes one. */
export type Moment = number & { readonly [MOMENT]: true }

/** A copy in this process of a session that is active. */
export type ActiveCopy = LocalEntry & { active: ActiveCheck }

/** Stands for a load that has just been made: it begins in the same turn, and before its first wait nobody comes to join it. */
const never = new Promise<never>(() => {})

type Lease = SharedAnswer & { kind: 'lease' }

interface Beginning {
  epoch: number
  /** Whether an invalidation of the key arrived since the load began. */
  overtaken: boolean
}

interface Load extends Beginning {
  running: Promise<Answered>
  next: Promise<Answered> | null
}

/** What a load found, and who said so. */
interface Answered {
  found: Found
  layer: Layer
}

/**
 * The session cache: local (L1), shared (L2), store. It answers from a copy only under the authority of its lease, and a copy never
 * says more than "active": a copy that looks expired or does not match the credential is a miss, for a stale "no" is a sign-out.
 */
export class SessionCache {
  readonly #options: SessionCacheOptions
  readonly #loads = new Map<string, Load>()
  readonly #batches = new Set<Map<string, Beginning>>()
  readonly #floors = new VersionFloors()
  readonly #store: Gathering<SessionRecord | null>

  constructor(options: SessionCacheOptions) {
    this.#options = options
    this.#store = new Gathering(async (ids) => {
      const records = await findSessions(options.db, ids)
      return ids.map((id) => records.get(id) ?? null)
    })
  }

  /**
   * This moment, if copies in this process may answer; null while they may not. Whatever was asked before it may be answered as of it, however
   * long that takes, until something is waited for: then it counts no more.
   */
  moment(): Moment | null {
    const now = performance.now()
    const { local, authority } = this.#options
    return local && authority.held(now) ? now as Moment : null
  }

  /**
   * The copy in this process, where it says "active"; null where only a read can tell. Costs no I/O, and no turn of the event loop.
   *
   * @param maxAgeMs how old the copy may be
   */
  peek(sessionId: string, matches: Matches, now: Moment, maxAgeMs = Infinity): ActiveCopy | null {
    const copy = this.#options.local?.find(sessionId, now)
    return copy && matches(copy) && this.#isActive(copy, now, maxAgeMs) ? copy : null
  }

  /**
   * Whether the copy in a place that `peek` has found before may answer again, as if it had been looked for anew: to look for it is the
   * dearest part of a check, for whatever was in the processor's caches has gone since.
   */
  isCurrent(copy: LocalEntry, now: Moment, maxAgeMs: number): copy is ActiveCopy {
    if (!this.#isActive(copy, now, maxAgeMs)) return false
    copy.used = true
    return true
  }

  #isActive(copy: LocalEntry, now: number, maxAgeMs: number): copy is ActiveCopy {
    if (!copy.active || now >= copy.activeUntil || now - copy.readAt > maxAgeMs) return false
    this.#options.tally.checks.local.active++
    return true
  }

  /**
   * Finds a session.
   *
   * @param matches whether a copy fits the credential that was shown; one that does not is a miss
   * @throws StoreUnavailable when neither a copy nor the store answers
   */
  async find(sessionId: string, matches: Matches): Promise<Found> {
    const now = this.moment()
    const copy = now === null ? null : this.peek(sessionId, matches, now)
    if (now !== null && copy) return agedBy(copy.record, now - copy.readAt)
    const answered = await this.#join(sessionId, false)
    const { found } = answered
    const isSettled = found === null || found === 'revoked' || fits(found, matches)
    return this.#count(isSettled ? answered : await this.#join(sessionId, true), matches)
  }

  #count({ found, layer }: Answered, matches: Matches | undefined): Found {
    this.#options.tally.checks[layer][found === null ? 'unknown' : found === 'revoked' ? 'revoked' : fits(found, matches) ? 'active' : 'refused']++
    return found
  }

  /**
   * Has copies follow a write that was committed: where there is an older one it is replaced, and none is made. It promises nothing, and
   * is not waited for: a copy that is not reached ends when it would have ended.
   *
   * @param record the rows as the write left them, with its version and the database's clock
   */
  put(record: SessionRecord): void {
    const { local, shared, authority, ttlMs } = this.#options
    if (!authority.held()) return
    const { id, version } = record.session
    const now = performance.now()
    const copy = local?.find(id, now)
    if (local && copy && copy.record.session.version < version && !this.#floors.isAbove(version, id)) {
      // Of both estimates of the database's clock the later one: a session must not seem to live longer.
      const clock = new Date(Math.max(record.now.getTime(), copy.record.now.getTime() + now - copy.readAt))
      local.set(id, { text: encodeRecord({ ...record, now: clock }, ttlMs), readAt: now, freshUntil: copy.freshUntil })
    }
    shared?.put(id, version, encodeRecord(record, ttlMs)).catch(() => {}) // the older copy stays, for as long as it had
  }

  /**
   * Finds many sessions: one command to Redis for those that this process does not know, one query for those that neither does.
   *
   * @param wanted the sessions' ids, each with what a copy must fit
   * @param maxAgeMs how old a copy may be; 0 reads the store
   * @throws StoreUnavailable when the store is needed and does not answer
   */
  async findAll(wanted: ReadonlyMap<string, Matches>, maxAgeMs: number): Promise<Map<string, Aged>> {
    const known = new Map<string, Aged>()
    const { epoch } = this.#options.authority
    const open = new Map<string, Beginning>()
    const now = maxAgeMs > 0 ? this.moment() : null
    for (const [id, matches] of wanted) {
      const copy = now === null ? null : this.peek(id, matches, now, maxAgeMs)
      if (now !== null && copy) known.set(id, { found: agedBy(copy.record, now - copy.readAt), ageMs: now - copy.readAt })
      else open.set(id, { epoch, overtaken: false })
    }
    if (open.size === 0) return known
    this.#batches.add(open)
    try {
      const leases = maxAgeMs > 0 ? await this.#readSharedAll(open, wanted, maxAgeMs, known) : new Map<string, Lease>()
      await this.#loadAll(open, leases, wanted, known)
    } finally {
      this.#batches.delete(open)
    }
    return known
  }

  /** Forgets copies that are older than a change. */
  invalidate(changes: readonly Invalidation[]): void {
    const until = performance.now() + this.#options.ttlMs
    for (const { sessionId, version } of changes) {
      this.#options.local?.delete(sessionId)
      this.#floors.raise(sessionId, version, until)
      for (const key of [sessionId, `${sessionId} store`]) {
        const load = this.#loads.get(key)
        if (load) load.overtaken = true
      }
      for (const batch of this.#batches) {
        const load = batch.get(sessionId)
        if (load) load.overtaken = true
      }
    }
    this.#floors.sweep(performance.now())
  }

  /** Forgets every copy. Floors stay: they only refuse. */
  clear(): void {
    this.#options.local?.clear()
  }

  /** Whoever comes while a load is running waits for the next one: no answer comes from a read that began before the question. */
  #join(sessionId: string, storeOnly: boolean): Promise<Answered> {
    const key = storeOnly ? `${sessionId} store` : sessionId
    const load = this.#loads.get(key)
    if (!load) return this.#begin(key, sessionId, storeOnly)
    if (!this.#options.protections.joinNext) return load.running
    load.next ??= this.#afterwards(load, () => this.#begin(key, sessionId, storeOnly))
    return load.next
  }

  async #afterwards(load: Load, begin: () => Promise<Answered>): Promise<Answered> {
    await load.running.catch(() => {}) // its error is for those who waited for it
    return begin()
  }

  #begin(key: string, sessionId: string, storeOnly: boolean): Promise<Answered> {
    const load: Load = { epoch: this.#options.authority.epoch, overtaken: false, running: never, next: null }
    this.#loads.set(key, load)
    load.running = this.#run(key, sessionId, load, storeOnly)
    return load.running
  }

  async #run(key: string, sessionId: string, load: Load, storeOnly: boolean): Promise<Answered> {
    try {
      const { shared, authority } = this.#options
      const answer = shared && !storeOnly && authority.held() ? await this.#readShared(sessionId, shared, load) : null
      if (answer?.kind === 'found') return answer
      return { found: await this.#readStore(sessionId, load, answer), layer: 'store' }
    } finally {
      if (this.#loads.get(key) === load && !load.next) this.#loads.delete(key)
    }
  }

  async #readStore(sessionId: string, load: Load, lease: Lease | null): Promise<SessionRecord | null> {
    const readAt = performance.now()
    // The store's pool is the limit here: what it cannot serve soon it refuses, and that is a 503.
    const record = await this.#store.ask(sessionId)
    this.#offer(sessionId, record, readAt, lease, load)
    return record
  }

  async #readShared(sessionId: string, shared: SharedCache, load: Load): Promise<Answered & { kind: 'found' } | Lease | null> {
    for (let attempt = 0; attempt <= WAITS; attempt++) {
      const readAt = performance.now()
      let answer: SharedAnswer
      try {
        answer = await shared.read(sessionId, this.#options.authority.stamp)
      } catch {
        return null // what the shared cache cannot say, the store can
      }
      if (answer.kind === 'lease') return answer
      if (answer.kind !== 'wait') {
        const taken = this.#take(sessionId, answer, readAt, load)
        return taken && { kind: 'found', found: taken.found, layer: 'shared' }
      }
      await sleep(WAIT_MS)
    }
    return null
  }

  /** Whoever is being filled by somebody else is read from the store here: a batch does not wait for its slowest. */
  async #readSharedAll(open: ReadonlyMap<string, Beginning>, wanted: ReadonlyMap<string, Matches>, maxAgeMs: number, known: Map<string, Aged>): Promise<Map<string, Lease>> {
    const { shared, authority } = this.#options
    const leases = new Map<string, Lease>()
    if (!shared || !authority.held()) return leases
    const readAt = performance.now()
    const answers = await shared.readAll([...open.keys()], authority.stamp).catch(() => null)
    for (const [id, load] of open) {
      const answer = answers?.shift()
      if (answer?.kind === 'lease') leases.set(id, answer)
      if (answer?.kind !== 'hit' && answer?.kind !== 'tombstone') continue
      const taken = this.#take(id, answer, readAt, load)
      const isEnough = taken && taken.ageMs <= maxAgeMs && (taken.found === null || taken.found === 'revoked' || fits(taken.found, wanted.get(id)))
      if (isEnough) known.set(id, { ...taken, found: this.#count({ found: taken.found, layer: 'shared' }, wanted.get(id)) })
    }
    return leases
  }

  async #loadAll(open: ReadonlyMap<string, Beginning>, leases: ReadonlyMap<string, Lease>, wanted: ReadonlyMap<string, Matches>, known: Map<string, Aged>): Promise<void> {
    const missing = [...open.keys()].filter((id) => !known.has(id))
    if (missing.length === 0) return
    const readAt = performance.now()
    const records = await findSessions(this.#options.db, missing)
    for (const id of missing) {
      const record = records.get(id) ?? null
      this.#offer(id, record, readAt, leases.get(id) ?? null, open.get(id))
      known.set(id, { found: this.#count({ found: record, layer: 'store' }, wanted.get(id)), ageMs: 0 })
    }
  }

  /** Takes what the shared cache says, if it counts: null where it does not. */
  #take(sessionId: string, answer: SharedAnswer & { kind: 'hit' | 'tombstone' }, readAt: number, load: Beginning): Aged | null {
    if (answer.kind === 'tombstone') return { found: 'revoked', ageMs: 0 }
    const { authority, protections } = this.#options
    // The lease, unbroken since the load began, is still held: a server that was demoted meanwhile does not count.
    const usable = (!protections.leaseCheck || (authority.held() && authority.epoch === load.epoch)) && (!protections.versionCompare || !this.#floors.isAbove(answer.version, sessionId))
    if (!usable || answer.remainingMs <= 0) return null
    if (answer.body === '') return { found: null, ageMs: Math.max(0, UNKNOWN_TTL_MS - answer.remainingMs) }
    const decoded = decodeRecord(sessionId, answer.body)
    if (!decoded) return null
    const { record, livesMs } = decoded
    const ageMs = Math.max(0, livesMs - answer.remainingMs)
    this.#keep(sessionId, record.session.version, { text: answer.body, readAt: readAt - ageMs, freshUntil: readAt - ageMs + livesMs }, load)
    return { found: agedBy(record, ageMs), ageMs }
  }

  /** Offers what the store has said to the caches. */
  #offer(sessionId: string, record: SessionRecord | null, readAt: number, lease: Lease | null, load: Beginning | undefined): void {
    if (record && findCause(record) !== null) return
    const { shared, ttlMs } = this.#options
    const livesMs = record ? Math.floor(ttlMs * (1 - Math.random() / 10)) : UNKNOWN_TTL_MS
    const text = record ? encodeRecord(record, livesMs) : ''
    if (lease && shared) shared.fill(sessionId, lease, record?.session.version ?? 0, text, livesMs - (performance.now() - readAt)).catch(() => {}) // a fill that fails costs a miss
    if (record && load) this.#keep(sessionId, record.session.version, { text, readAt, freshUntil: readAt + livesMs }, load)
  }

  /** Keeps a copy in this process, unless something that was heard since its load began speaks against it. */
  #keep(sessionId: string, version: number, entry: PackedEntry, load: Beginning): void {
    const { local, authority, protections } = this.#options
    if (!local || !authority.held()) return
    if (protections.leaseCheck && authority.epoch !== load.epoch) return
    if (protections.overtakenLoads && (load.overtaken || this.#floors.isAbove(version, sessionId))) return
    local.set(sessionId, entry)
  }
}
