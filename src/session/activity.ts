import type { Queryable } from '../database/database.js'
import { touchSessions } from './store.js'

const DAY_SECONDS = 86_400

/**
 * How soon the first use of a session is written. Until then it may look like a session that was
 * never used.
 */
const FIRST_USE_MS = 250

/** Sessions that one statement touches at most. */
const BATCH = 5_000

/**
 * How many first uses are remembered as written: about 5 MB. A forgotten one is written once more.
 */
const REMEMBERED = 50_000

export interface ActivityOptions {
  db: Queryable
  idleTtlSeconds: number
  /** Monotonic milliseconds. */
  now: () => number
}

/**
 * Collects in memory when sessions were used, and writes it in batches, so that a check costs no
 * write. A crash loses some seconds of "last seen". The idle expiry has days of slack for that.
 */
export class Activity {
  readonly #uses = new Map<string, number>()
  readonly #options: ActivityOptions
  /**
   * An idle expiry moves when use would move it by at least this much: once a day, or seven times
   * in a short life.
   */
  readonly #stepSeconds: number
  #soon: NodeJS.Timeout | null = null
  /**
   * Sessions whose first use is noted or written. Needed because copies say "never used" for as
   * long as they live.
   */
  readonly #begun = new Set<string>()

  constructor(options: ActivityOptions) {
    this.#options = options
    this.#stepSeconds = Math.min(DAY_SECONDS, Math.floor(options.idleTtlSeconds / 7))
  }

  /** Notes that a session was used now. */
  note(sessionId: string): void {
    this.#uses.set(sessionId, this.#options.now())
  }

  /**
   * As `note`, for a session that the store has as never used. It is written soon, together with
   * the other notes.
   */
  noteFirst(sessionId: string): void {
    this.note(sessionId)
    if (this.#begun.has(sessionId)) return
    if (this.#begun.size >= REMEMBERED) this.#begun.clear()
    this.#begun.add(sessionId)
    this.#soon ??= setTimeout(() => {
      this.#soon = null
      this.flush().catch(() => {}) // the notes are kept, and the next round reports the fault
    }, FIRST_USE_MS).unref()
  }

  /** Stops the writes that `noteFirst` has scheduled. */
  stop(): void {
    if (this.#soon) clearTimeout(this.#soon)
    this.#soon = null
  }

  /**
   * Writes what was noted.
   *
   * @throws StoreUnavailable when the store does not answer; the notes are kept for the next call
   */
  async flush(): Promise<void> {
    const noted = [...this.#uses]
    for (let start = 0; start < noted.length; start += BATCH) {
      const batch = noted.slice(start, start + BATCH)
      const now = this.#options.now()
      const ages = new Map(batch.map(([id, at]) => [id, Math.round(now - at)]))
      await touchSessions(this.#options.db, ages, this.#options.idleTtlSeconds, this.#stepSeconds)
      for (const [id, at] of batch) {
        if (this.#uses.get(id) === at) this.#uses.delete(id)
      }
    }
  }
}
