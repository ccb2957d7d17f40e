import { setTimeout as sleep } from 'node:timers/promises'
import type { Queryable } from '../database/database.js'
import { judge, type SessionRecord } from '../session/session.js'
import { findSession } from '../session/store.js'
import { decodeRecord, encodeRecord } from './entry.js'
import type { LocalCache } from './local-cache.js'
import type { Invalidation } from './node-lease.js'
import type { Protections } from './protections.js'
import type { SharedCache } from './shared-cache.js'
import type { Answer, Layer, Tally } from '../tally.js'

/** What is known of a session: its rows, that it is revoked, or that there is none. */
export type Found = SessionRecord | 'revoked' | null

/** The right to answer from caches: a node's lease, or for the only process on a store the certainty of being it. */
export interface Authority {
  held(): boolean
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

interface Load {
  epoch: number
  /** Whether an invalidation of the key arrived since the load began. */
  overtaken: boolean
  running: Promise<Found>
  next: Promise<Found> | null
}

/**
 * The session cache: local (L1), shared (L2), store. It answers from a copy only under the authority of its lease, and a copy never
 * says more than "active": a copy that looks expired or does not match the credential is a miss, for a stale "no" is a sign-out.
 */
export class SessionCache {
  readonly #options: SessionCacheOptions
  readonly #loads = new Map<string, Load>()
  /** Records that came from the shared cache, for the count of who answers. */
  readonly #shared = new WeakSet<SessionRecord>()
  /** Versions below which no copy may be taken, from an invalidation until every older copy has ended. */
  readonly #floors = new Map<string, { version: number, until: number }>()

  constructor(options: SessionCacheOptions) {
    this.#options = options
  }

  /**
   * Finds a session.
   *
   * @param matches whether a copy fits the credential that was shown; one that does not is a miss
   * @throws StoreUnavailable when neither a copy nor the store answers
   */
  async find(sessionId: string, matches: (record: SessionRecord) => boolean): Promise<Found> {
    const { local, authority } = this.#options
    const copy = local && authority.held() ? local.find(sessionId, performance.now()) : null
    if (copy) {
      const record = { ...copy.record, now: new Date(copy.record.now.getTime() + performance.now() - copy.readAt) }
      if (matches(record) && judge(record).active) {
        this.#options.tally.checks.local.active++
        return record
      }
    }
    const found = await this.#join(sessionId, false)
    if (found === null || found === 'revoked' || (matches(found) && judge(found).active)) return this.#count(found, 'active')
    const read = await this.#join(sessionId, true)
    return this.#count(read, read && read !== 'revoked' && matches(read) && judge(read).active ? 'active' : 'refused')
  }

  #count(found: Found, answer: Answer): Found {
    const layer: Layer = found === 'revoked' || (found && this.#shared.has(found)) ? 'shared' : 'store'
    this.#options.tally.checks[layer][found === null ? 'unknown' : found === 'revoked' ? 'revoked' : answer]++
    return found
  }

  /** Forgets copies that are older than a change. */
  invalidate(changes: readonly Invalidation[]): void {
    const until = performance.now() + this.#options.ttlMs
    for (const { sessionId, version } of changes) {
      this.#options.local?.delete(sessionId)
      const floor = this.#floors.get(sessionId)
      // Set anew, so that the map stays in the order in which floors end.
      this.#floors.delete(sessionId)
      this.#floors.set(sessionId, { version: Math.max(version, floor?.version ?? 0), until })
      for (const key of [sessionId, `${sessionId} store`]) {
        const load = this.#loads.get(key)
        if (load) load.overtaken = true
      }
    }
    for (const [sessionId, floor] of this.#floors) {
      if (floor.until > performance.now()) break
      this.#floors.delete(sessionId)
    }
  }

  /** Forgets every copy. Floors stay: they only refuse. */
  clear(): void {
    this.#options.local?.clear()
  }

  /** Whoever comes while a load is running waits for the next one: no answer comes from a read that began before the question. */
  #join(sessionId: string, storeOnly: boolean): Promise<Found> {
    const key = storeOnly ? `${sessionId} store` : sessionId
    const load = this.#loads.get(key)
    if (!load) return this.#begin(key, sessionId, storeOnly)
    if (!this.#options.protections.joinNext) return load.running
    load.next ??= this.#afterwards(load, () => this.#begin(key, sessionId, storeOnly))
    return load.next
  }

  async #afterwards(load: Load, begin: () => Promise<Found>): Promise<Found> {
    await load.running.catch(() => {}) // its error is for those who waited for it
    return begin()
  }

  #begin(key: string, sessionId: string, storeOnly: boolean): Promise<Found> {
    const load: Load = { epoch: this.#options.authority.epoch, overtaken: false, running: Promise.resolve(null), next: null }
    this.#loads.set(key, load)
    load.running = this.#read(sessionId, load, storeOnly).finally(() => {
      if (this.#loads.get(key) === load && !load.next) this.#loads.delete(key)
    })
    return load.running
  }

  async #read(sessionId: string, load: Load, storeOnly: boolean): Promise<Found> {
    const { shared, authority, ttlMs, db } = this.#options
    const answer = shared && !storeOnly && authority.held() ? await this.#readShared(sessionId, shared, load) : null
    if (answer?.kind === 'found') return answer.found
    const readAt = performance.now()
    // The store's pool is the limit here: what it cannot serve soon it refuses, and that is a 503.
    const record = await findSession(db, sessionId)
    const isKeepable = record === null || judge(record).active
    const livesMs = (record ? ttlMs * (1 - Math.random() / 10) : UNKNOWN_TTL_MS) - (performance.now() - readAt)
    if (isKeepable) {
      if (answer && shared) {
        const body = record ? encodeRecord(record) : ''
        shared.fill(sessionId, answer, record?.session.version ?? 0, body, livesMs).catch(() => {}) // a fill that fails costs a miss
      }
      if (record) this.#keep(sessionId, record, readAt, livesMs, load)
    }
    return record
  }

  async #readShared(sessionId: string, shared: SharedCache, load: Load): Promise<{ kind: 'found', found: Found } | { kind: 'lease', token: string, stamp: string } | null> {
    const { authority, ttlMs, protections } = this.#options
    for (let attempt = 0; attempt <= WAITS; attempt++) {
      const readAt = performance.now()
      const answer = await shared.read(sessionId, authority.stamp).catch(() => null)
      if (!answer) return null
      if (answer.kind === 'tombstone') return { kind: 'found', found: 'revoked' }
      if (answer.kind === 'lease') return answer
      if (answer.kind === 'hit') {
        // The lease, unbroken since the load began, is still held: a server that was demoted meanwhile does not count.
        const usable = (!protections.leaseCheck || (authority.held() && authority.epoch === load.epoch)) && (!protections.versionCompare || !this.#isBelowFloor(sessionId, answer.version))
        if (!usable || answer.remainingMs <= 0) return null
        if (answer.body === '') return { kind: 'found', found: null }
        const record = decodeRecord(answer.body, Math.max(0, ttlMs - answer.remainingMs))
        this.#shared.add(record)
        this.#keep(sessionId, record, readAt, answer.remainingMs, load)
        return { kind: 'found', found: record }
      }
      await sleep(WAIT_MS)
    }
    return null
  }

  #keep(sessionId: string, record: SessionRecord, readAt: number, livesMs: number, load: Load): void {
    const { local, authority, protections } = this.#options
    if (!local || !authority.held()) return
    if (protections.leaseCheck && authority.epoch !== load.epoch) return
    if (protections.overtakenLoads && (load.overtaken || this.#isBelowFloor(sessionId, record.session.version))) return
    local.set(sessionId, { record, readAt, freshUntil: readAt + livesMs })
  }

  #isBelowFloor(sessionId: string, version: number): boolean {
    const floor = this.#floors.get(sessionId)
    return floor !== undefined && floor.until > performance.now() && version < floor.version
  }
}
