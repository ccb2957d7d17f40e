/**
 * A readiness request this recently means that a load balancer is polling and waits for the next
 * answer.
 */
const WATCHED_MS = 60_000

/** The state of this process between start and end. */
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

  /** Whether the store has been found compatible. */
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

  /** Whether this process accepts requests. Notes that readiness was asked for. */
  isAccepting(): boolean {
    this.#askedAt = this.#now()
    return this.#isReady && !this.#isDraining
  }

  /** Stops accepting requests. `watched`: readiness was asked for lately. */
  drain(): { watched: boolean } {
    this.#isDraining = true
    return { watched: this.#now() - this.#askedAt < WATCHED_MS }
  }

  close(): void {
    this.#closing.abort()
  }
}
