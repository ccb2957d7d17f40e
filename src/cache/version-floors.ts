/**
 * For each invalidated session, the version below which no copy may be taken. A floor lasts from
 * the invalidation until every older copy has ended.
 */
export class VersionFloors {
  readonly #floors = new Map<string, { version: number; until: number }>()
  readonly #now: () => number

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * @param until when the floor ends, in monotonic milliseconds; never earlier than that of the
   *   floors before it
   */
  raise(sessionId: string, version: number, until: number): void {
    const floor = this.#floors.get(sessionId)
    // Inserted again, so that the map stays ordered by end, as `sweep` needs.
    this.#floors.delete(sessionId)
    this.#floors.set(sessionId, { version: Math.max(version, floor?.version ?? 0), until })
  }

  /** Forgets floors that have ended. */
  sweep(): void {
    const now = this.#now()
    for (const [sessionId, floor] of this.#floors) {
      if (floor.until > now) break
      this.#floors.delete(sessionId)
    }
  }

  isAbove(version: number, sessionId: string): boolean {
    const floor = this.#floors.get(sessionId)
    return floor !== undefined && floor.until > this.#now() && version < floor.version
  }
}
