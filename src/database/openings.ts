/**
 * The connections of a pool that are being opened at this moment, those left out that take long.
 */
export class Openings {
  readonly #openingMs: number
  readonly #onRoom: () => void
  #count = 0

  /**
   * @param openingMs for how long one counts
   * @param onRoom told when another one may be opened, once whoever waited for this one has it
   */
  constructor(openingMs: number, onRoom: () => void) {
    this.#openingMs = openingMs
    this.#onRoom = onRoom
  }

  get count(): number {
    return this.#count
  }

  /** @returns what is to be called when the connection is open, or was given up */
  begin(): () => void {
    let counts = true
    const end = () => {
      if (!counts) return
      counts = false
      clearTimeout(timer)
      this.#count--
      process.nextTick(this.#onRoom)
    }
    // What has come meanwhile is heard first: this process may have been busy for as long.
    const timer = setTimeout(() => setImmediate(end), this.#openingMs).unref()
    this.#count++
    return end
  }
}
