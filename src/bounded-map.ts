/**
 * What has its second chance when it was used. It marks that itself: an object around each would be
 * one more to find, and to keep.
 */
export interface Evictable {
  /** Whether it was used since eviction last passed it by. */
  used: boolean
}

/**
 * A map that holds so many entries at most. What makes room is old and was not used for a round
 * (second chance): a use moves nothing, for to move an entry in a map costs more than to find it.
 */
export class BoundedMap<Value extends Evictable> {
  /** The oldest first. */
  readonly #values = new Map<string, Value>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#values.size
  }

  get(key: string): Value | undefined {
    const value = this.#values.get(key)
    if (value) value.used = true
    return value
  }

  set(key: string, value: Value): void {
    this.#values.delete(key)
    // Room is made first: where all the others are in use, it would else be the newcomer that goes.
    while (this.#values.size >= this.#max)
      evict(this.#values, (oldest) => this.#values.delete(oldest))
    this.#values.set(key, value)
  }

  delete(key: string): void {
    this.#values.delete(key)
  }

  clear(): void {
    this.#values.clear()
  }
}

/**
 * So many entries are given their second chance at once: where all are in use, one must go, and
 * nobody may wait until all were looked at.
 */
const CHANCES = 64

/** Drops the oldest entry that was not used since its last turn; those that were go to the end. */
export function evict<Value extends Evictable>(
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
