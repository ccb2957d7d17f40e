import { setTimeout as sleep } from 'node:timers/promises'
import type { Queryable } from '../database/database.js'
import { callStore } from '../database/fault.js'
import { hashToken } from '../session/session-token.js'
import { LIVE_SECRETS } from './gateway.js'
import { findGatewayKeys, registerConfigured, touchGateways } from './store.js'

/**
 * A copy of the gateways answers alone for this long, and is read again in the background from half
 * of it. A disabled gateway is refused by then.
 */
const FRESH_MS = 2_000
/**
 * Reads caused by refusals begin this far apart: wrong secrets, however many, cost ten statements a
 * second.
 */
const PACE_MS = 100
/** After a failed read, callers do not wait for another one for this long. */
const RETRY_MS = 1_000

export interface AuthenticatorOptions {
  db: Queryable
  /** Gateways of the configuration, with the hashes of their secrets. */
  configured: ReadonlyMap<string, string[]>
  /** How long a copy may answer while the store is down. */
  ttlMs: number
  /** A monotonic clock, in milliseconds. */
  now: () => number
}

interface Snapshot {
  /** Monotonic milliseconds when its read began. */
  readAt: number
  hashes: ReadonlyMap<string, readonly string[]>
}

/**
 * What an unknown gateway's secret is compared with, so that it takes as long as for a known one.
 */
const noSecrets = Array.from({ length: LIVE_SECRETS }, () => hashToken(''))

/**
 * Authenticates gateways by their secrets. A "yes" comes from a copy in this process, so that a
 * request costs no query. A "no" comes only from a read of the store that began after the request,
 * because the gateway may just have been created.
 */
export class GatewayAuthenticator {
  readonly #options: AuthenticatorOptions
  readonly #uses = new Map<string, number>()
  #snapshot: Snapshot = { readAt: -Infinity, hashes: new Map() }
  #running: Promise<Snapshot> | null = null
  #next: Promise<Snapshot> | null = null
  #beganAt = -Infinity
  #failedAt = -Infinity

  constructor(options: AuthenticatorOptions) {
    this.#options = options
  }

  /**
   * Whether a secret is one of the gateway's.
   *
   * @param hash of the secret, as `hashToken` makes it
   * @throws StoreUnavailable when no copy says yes and the store does not answer
   */
  async authenticate(id: string, hash: string): Promise<boolean> {
    return this.authenticateCached(id, hash) || this.#ask(id, hash)
  }

  /** As `authenticate`, without I/O. False where only that can tell. */
  authenticateCached(id: string, hash: string): boolean {
    const now = this.#options.now()
    const age = now - this.#snapshot.readAt
    if (!this.#isKnown(id, hash, age) || (age >= FRESH_MS && now - this.#failedAt >= RETRY_MS))
      return false
    // Reads before a copy is too old. A caller that finds it too old reports the fault.
    if (age > FRESH_MS / 2) this.#read().catch(() => {})
    return this.#note(id)
  }

  #isKnown(id: string, hash: string, age: number): boolean {
    return accepts(this.#snapshot, id, hash) && age < this.#options.ttlMs
  }

  async #ask(id: string, hash: string): Promise<boolean> {
    const isKnown = this.#isKnown(id, hash, this.#options.now() - this.#snapshot.readAt)
    try {
      return accepts(await callStore(() => this.#read()), id, hash) && this.#note(id)
    } catch (error) {
      if (!isKnown) throw error
      return this.#note(id)
    }
  }

  /**
   * Writes when gateways were last used.
   *
   * @throws StoreUnavailable when the store does not answer; the notes are kept
   */
  async flush(): Promise<void> {
    if (this.#uses.size === 0) return
    const noted = [...this.#uses]
    const now = this.#options.now()
    await touchGateways(
      this.#options.db,
      new Map(noted.map(([id, at]) => [id, Math.round(now - at)]))
    )
    for (const [id, at] of noted) {
      if (this.#uses.get(id) === at) this.#uses.delete(id)
    }
  }

  #note(id: string): true {
    this.#uses.set(id, this.#options.now())
    return true
  }

  /** A read that begins after this call, shared by all waiting callers. */
  #read(): Promise<Snapshot> {
    this.#next ??= this.#readNext()
    return this.#next
  }

  async #readNext(): Promise<Snapshot> {
    await this.#running?.catch(() => {}) // its error belongs to the callers that waited for it
    const wait = this.#beganAt + PACE_MS - this.#options.now()
    if (wait > 0) await sleep(wait, undefined, { ref: false })
    this.#next = null
    this.#beganAt = this.#options.now()
    this.#running = this.#load(this.#beganAt)
    return this.#running
  }

  async #load(readAt: number): Promise<Snapshot> {
    const { db, configured } = this.#options
    try {
      if (configured.size > 0 && this.#snapshot.readAt === -Infinity)
        await registerConfigured(db, [...configured.keys()])
      const hashes = new Map<string, string[]>()
      for (const { id, secretHashes, disabledAt } of await findGatewayKeys(db)) {
        if (disabledAt === null) hashes.set(id, [...secretHashes, ...(configured.get(id) ?? [])])
      }
      this.#snapshot = { readAt, hashes }
      this.#failedAt = -Infinity
      return this.#snapshot
    } catch (error) {
      this.#failedAt = this.#options.now()
      throw error
    }
  }
}

function accepts({ hashes }: Snapshot, id: string, presented: string): boolean {
  const known = hashes.get(id)
  let found = false
  for (const hash of known ?? noSecrets) found = hash === presented || found
  return found && known !== undefined
}
