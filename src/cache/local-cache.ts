import type { SessionRecord } from '../session/session.js'

/** A copy of a session in this process. Times are monotonic milliseconds. */
export interface LocalEntry {
  record: SessionRecord
  /** When the read of the store that it stems from began: the database's clock in it is carried forward from here. */
  readAt: number
  /** When the copy must be read anew. */
  freshUntil: number
}

export interface LocalCacheOptions {
  maxEntries: number
  maxBytes: number
}

/** Bytes that an entry costs beside its strings: objects, dates, map slots. */
const ENTRY_OVERHEAD_BYTES = 700

/** Sessions in this process, bounded by entries and bytes; the least recently used goes first. It decides nothing. */
export class LocalCache {
  readonly #entries = new Map<string, LocalEntry & { bytes: number }>()
  readonly #options: LocalCacheOptions
  #bytes = 0

  constructor(options: LocalCacheOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#bytes
  }

  find(sessionId: string, now: number): LocalEntry | null {
    const entry = this.#entries.get(sessionId)
    if (!entry) return null
    if (entry.freshUntil <= now) {
      this.delete(sessionId)
      return null
    }
    // A map keeps the order of insertion: the first key is the one that was not used for longest.
    this.#entries.delete(sessionId)
    this.#entries.set(sessionId, entry)
    return entry
  }

  set(sessionId: string, entry: LocalEntry): void {
    this.delete(sessionId)
    const bytes = ENTRY_OVERHEAD_BYTES + 2 * textLength(entry.record)
    this.#entries.set(sessionId, { ...entry, bytes })
    this.#bytes += bytes
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.maxEntries && this.#bytes <= this.#options.maxBytes) break
      this.delete(oldest)
    }
  }

  delete(sessionId: string): void {
    const entry = this.#entries.get(sessionId)
    if (!entry) return
    this.#bytes -= entry.bytes
    this.#entries.delete(sessionId)
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
  }
}

function textLength({ session, user }: SessionRecord): number {
  let length = 0
  for (const value of [...Object.values(session), ...Object.values(user ?? {})]) {
    if (typeof value === 'string') length += value.length
    else if (Array.isArray(value)) length += value.join('').length
  }
  return length
}
