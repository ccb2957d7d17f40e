/** Whoever asked about readiness this lately is waiting for the next answer. */
const WATCHED_MS = 60_000

/** Where this process stands between its start and its end. */
export class Lifecycle {
  readonly #now: () => number
  readonly #closing = new AbortController()
  readonly prepared: Promise<void>
  #onPrepared = () => {}
  #isReady = false
  #isDraining = false
  #askedAt = -Infinity
  /** Null until the store has answered. */
  storeId: string | null = null

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now
    this.prepared = new Promise((resolve) => {
      this.#onPrepared = resolve
    })
  }

  /** Whether the store has been found fit. */
  get isReady(): boolean {
    return this.#isReady
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  /** Aborted when this process ends. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  becomeReady(): void {
    this.#isReady = true
    this.#onPrepared()
  }

  /** Whether this process wants requests; notes that somebody asked. */
  isAccepting(): boolean {
    this.#askedAt = this.#now()
    return this.#isReady && !this.#isDraining
  }

  /** From now on it does not. `watched`: somebody has lately asked whether it does. */
  drain(): { watched: boolean } {
    this.#isDraining = true
    return { watched: this.#now() - this.#askedAt < WATCHED_MS }
  }

  close(): void {
    this.#closing.abort()
  }
}
