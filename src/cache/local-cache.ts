import { showActive, validFor, type ActiveCheck, type SessionRecord } from '../session/session.js'
import { decodeCopy } from './session-codec.js'

/** A copy of a session in this process. Times are monotonic milliseconds. */
export interface LocalEntry {
  record: SessionRecord
  /** The check of the active session. Null where the session was not active when it was read. */
  active: ActiveCheck | null
  /** The check for the access token that was checked last. */
  shown: ActiveCheck | null
  /**
   * When the copy must be read anew, or the session ends unless it is changed. A check compares this
   * one number instead of all the rows.
   */
  activeUntil: number
  /** Whether it was used since the last eviction round. */
  used: boolean
  /** Compared with credentials. Copied from the rows. */
  token: string
  userId: string
  /** When its use was last noted. */
  notedAt: number
  /** When its read began. The record's database clock is carried forward from here. */
  readAt: number
  /** When the copy must be read again. */
  freshUntil: number
}

/** A copy as it is kept. Its text takes a quarter of the memory that its objects take. */
export interface PackedEntry extends Pick<LocalEntry, 'readAt' | 'freshUntil'> {
  /** As `encodeRecord` writes it. */
  text: string
}

/** A packed copy in the map. */
class PackedCopy implements PackedEntry {
  text: string
  readonly readAt: number
  readonly freshUntil: number
  /** The copy's objects, while it is among those that were unpacked last. */
  unpacked: LocalEntry | null = null

  constructor({ text, readAt, freshUntil }: PackedEntry) {
    this.text = text
    // V8 keeps whole numbers inside the object, and fractions in an object of their own. Rounding
    // down makes a copy look older and end earlier, which is safe.
    this.readAt = Math.floor(readAt)
    this.freshUntil = Math.floor(freshUntil)
  }

  get used(): boolean {
    return this.unpacked?.used === true
  }

  set used(used: boolean) {
    if (this.unpacked) this.unpacked.used = used
  }
}

export interface LocalCacheOptions {
  maxEntries: number
  maxBytes: number
}

/** Bytes that an entry costs beside its text: the id, numbers, map slots. */
const ENTRY_OVERHEAD_BYTES = 300
/** The copies that were unpacked last also keep their objects: at most this many, about 20 MB. */
const UNPACKED = 10_000

/**
 * Sessions in this process, bounded by entries and bytes. It evicts the oldest entry that was not
 * used for a round (second chance). It does not decide whether a session is valid.
 */
export class LocalCache {
  /**
   * The oldest first. A use does not move an entry: moving in a map would cost more than the rest
   * of the look-up.
   */
  readonly #slots = new Map<string, PackedCopy>()
  /** The packed copies whose objects are kept: a ring. `#next` is the place of the oldest. */
  readonly #unpacked: (PackedCopy | undefined)[] = []
  readonly #options: LocalCacheOptions
  #next = 0
  #bytes = 0

  constructor(options: LocalCacheOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#slots.size
  }

  get bytes(): number {
    return this.#bytes
  }

  find(sessionId: string, now: number): LocalEntry | null {
    const slot = this.#slots.get(sessionId)
    if (!slot) return null
    if (slot.freshUntil <= now) {
      this.delete(sessionId)
      return null
    }
    const entry = slot.unpacked ?? this.#unpack(sessionId, slot)
    if (entry) entry.used = true
    return entry
  }

  set(sessionId: string, { text, readAt, freshUntil }: PackedEntry): void {
    this.delete(sessionId)
    const { maxEntries, maxBytes } = this.#options
    const bytes = countBytes(text)
    // Room is made before the insert. Otherwise, when all others are in use, the new entry would be
    // the one that goes.
    while (
      this.#slots.size > 0 &&
      (this.#slots.size >= maxEntries || this.#bytes + bytes > maxBytes)
    )
      evict(this.#slots, (oldest) => this.delete(oldest))
    if (bytes > maxBytes) return
    this.#slots.set(sessionId, new PackedCopy({ text, readAt, freshUntil }))
    this.#bytes += bytes
  }

  delete(sessionId: string): void {
    const slot = this.#slots.get(sessionId)
    if (!slot) return
    this.#bytes -= countBytes(slot.text)
    this.#slots.delete(sessionId)
    // The ring may refer to it for a while: without text and objects it takes no memory there.
    slot.unpacked = null
    slot.text = ''
  }

  clear(): void {
    this.#slots.clear()
    for (const slot of this.#unpacked) if (slot) slot.unpacked = null
    this.#unpacked.length = 0
    this.#next = 0
    this.#bytes = 0
  }

  #unpack(sessionId: string, slot: PackedCopy): LocalEntry | null {
    const record = decodeCopy(sessionId, slot.text)?.record
    if (!record) return null
    const { readAt, freshUntil } = slot
    const lives = validFor(record)
    slot.unpacked = {
      token: record.session.token,
      userId: record.session.userId,
      notedAt: -Infinity,
      activeUntil: Math.min(freshUntil, Math.floor(readAt + lives)),
      active: lives > 0 && record.user ? showActive(record.session, record.user) : null,
      shown: null,
      record,
      readAt,
      freshUntil,
      used: false
    }
    const oldest = this.#unpacked[this.#next]
    if (oldest && oldest !== slot) oldest.unpacked = null
    this.#unpacked[this.#next] = slot
    this.#next = (this.#next + 1) % UNPACKED
    return slot.unpacked
  }
}

// A text with a character beyond Latin-1 takes two bytes per character: counted so for every text.
function countBytes(text: string): number {
  return ENTRY_OVERHEAD_BYTES + 2 * text.length
}

/**
 * This many entries are given their second chance at once. Where all are in use, one must go before
 * all were looked at.
 */
const CHANCES = 64

/** Drops the oldest entry that was not used since its last turn; those that were go to the end. */
function evict<Value extends { used: boolean }>(
  values: Map<string, Value>,
  drop: (key: string) => void
): void {
  let chances = CHANCES
  for (const [key, value] of values) {
    if (!value.used || chances-- === 0) {
      drop(key)
      return
    }
    value.used = false
    values.delete(key)
    values.set(key, value)
  }
}
