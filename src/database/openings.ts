/** The connections of a pool that are opening now, except those that take long. */
export class Openings {
  readonly #openingMs: number
  readonly #onRoom: () => void
  #count = 0

  /**
   * @param openingMs how long one counts
   * @param onRoom called when another one may be opened, after the caller that waited for this one
   *   has it
   */
  constructor(openingMs: number, onRoom: () => void) {
    this.#openingMs = openingMs
    this.#onRoom = onRoom
  }

  get count(): number {
    return this.#count
  }

  /** @returns a function to call when the connection is open, or was given up */
  begin(): () => void {
    let counts = true
    const end = () => {
      if (!counts) return
      counts = false
      clearTimeout(timer)
      this.#count--
      process.nextTick(this.#onRoom)
    }
    // Pending events run first, because this process may have been busy for that long.
    const timer = setTimeout(() => setImmediate(end), this.#openingMs).unref()
    this.#count++
    return end
  }
}
