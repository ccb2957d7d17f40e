interface Slot<Value> {
  value: Value
  /** Whether it was used since eviction last passed it by. */
  used: boolean
}

/**
 * A map that holds so many entries at most. What makes room is old and was not used for a round (second chance): a use moves nothing, for to
 * move an entry in a map costs more than to find it.
 */
export class BoundedMap<Value> {
  /** The oldest first. */
  readonly #slots = new Map<string, Slot<Value>>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#slots.size
  }

  get(key: string): Value | undefined {
    const slot = this.#slots.get(key)
    if (!slot) return undefined
    slot.used = true
    return slot.value
  }

  set(key: string, value: Value): void {
    this.#slots.delete(key)
    // Room is made first: where all the others are in use, it would else be the newcomer that goes.
    while (this.#slots.size >= this.#max) evict(this.#slots, (oldest) => this.#slots.delete(oldest))
    this.#slots.set(key, { value, used: false })
  }

  delete(key: string): void {
    this.#slots.delete(key)
  }

  clear(): void {
    this.#slots.clear()
  }
}

/** So many entries are given their second chance at once: where all are in use, one must go, and nobody may wait until all were looked at. */
const CHANCES = 64

/** Drops the oldest entry that was not used since its last turn; those that were go to the end. */
export function evict<S extends { used: boolean }>(slots: Map<string, S>, drop: (key: string) => void): void {
  let chances = CHANCES
  for (const [key, slot] of slots) {
    if (!slot.used || chances-- === 0) {
      drop(key)
      return
    }
    slot.used = false
    slots.delete(key)
    slots.set(key, slot)
  }
}
