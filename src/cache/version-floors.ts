/**
 * Versions below which no copy may be taken, from an invalidation until every older copy has ended.
 */
export class VersionFloors {
  readonly #floors = new Map<string, { version: number; until: number }>()

  /**
   * @param until when the floor ends, in monotonic milliseconds; never earlier than that of the
   *   floors before it
   */
  raise(sessionId: string, version: number, until: number): void {
    const floor = this.#floors.get(sessionId)
    // Set anew, so that the map stays in the order in which floors end.
    this.#floors.delete(sessionId)
    this.#floors.set(sessionId, { version: Math.max(version, floor?.version ?? 0), until })
  }

  /** Forgets floors that have ended. */
  sweep(now: number): void {
    for (const [sessionId, floor] of this.#floors) {
      if (floor.until > now) break
      this.#floors.delete(sessionId)
    }
  }

  isAbove(version: number, sessionId: string): boolean {
    const floor = this.#floors.get(sessionId)
    return floor !== undefined && floor.until > performance.now() && version < floor.version
  }
}
