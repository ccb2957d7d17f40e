import { showActive, type ActiveCheck, type SessionRecord } from '../session/session.js'
import { decodeRecord } from './entry.js'

/** A copy of a session in this process. Times are monotonic milliseconds. */
export interface LocalEntry {
  record: SessionRecord
  /** What a check shows while the session is active; null where the person is gone. */
  active: ActiveCheck | null
  /** When its read began: the database's clock in it is carried forward from here. */
  readAt: number
  /** When the copy must be read anew. */
  freshUntil: number
}

/** A copy as it is kept: its text takes a quarter of the room that its objects take. */
export interface PackedEntry extends Omit<LocalEntry, 'record' | 'active'> {
  /** As `encodeRecord` writes it. */
  text: string
}

export interface LocalCacheOptions {
  maxEntries: number
  maxBytes: number
}

/** Bytes that an entry costs beside its text: the id, numbers, map slots. */
const ENTRY_OVERHEAD_BYTES = 300
/** Copies that were used a moment ago are kept unpacked as well: so many at most, about 20 MB. */
const UNPACKED = 10_000

/** Sessions in this process, bounded by entries and bytes; the least recently used goes first. It decides nothing. */
export class LocalCache {
  readonly #entries = new Map<string, PackedEntry>()
  readonly #unpacked = new Map<string, LocalEntry>()
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
    return this.#unpacked.get(sessionId) ?? this.#unpack(sessionId, entry)
  }

  set(sessionId: string, entry: PackedEntry): void {
    this.delete(sessionId)
    this.#entries.set(sessionId, compact(entry))
    this.#bytes += bytesOf(entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.maxEntries && this.#bytes <= this.#options.maxBytes) break
      this.delete(oldest)
    }
  }

  delete(sessionId: string): void {
    const entry = this.#entries.get(sessionId)
    if (!entry) return
    this.#bytes -= bytesOf(entry)
    this.#entries.delete(sessionId)
    this.#unpacked.delete(sessionId)
  }

  clear(): void {
    this.#entries.clear()
    this.#unpacked.clear()
    this.#bytes = 0
  }

  #unpack(sessionId: string, { text, readAt, freshUntil }: PackedEntry): LocalEntry | null {
    const decoded = decodeRecord(sessionId, text)
    if (!decoded) return null
    const { record } = decoded
    const entry: LocalEntry = { record, active: record.user && showActive(record.session, record.user), readAt, freshUntil }
    this.#unpacked.set(sessionId, entry)
    if (this.#unpacked.size > UNPACKED) {
      for (const first of this.#unpacked.keys()) {
        this.#unpacked.delete(first)
        break
      }
    }
    return entry
  }
}

// V8 keeps whole numbers in the entry, and fractions in an object of their own. Rounded down, a copy looks older and ends earlier.
function compact({ text, readAt, freshUntil }: PackedEntry): PackedEntry {
  return { text, readAt: Math.floor(readAt), freshUntil: Math.floor(freshUntil) }
}

// A text that holds anything beyond Latin-1 takes two bytes for each character: counted so for all.
function bytesOf({ text }: PackedEntry): number {
  return ENTRY_OVERHEAD_BYTES + 2 * text.length
}
