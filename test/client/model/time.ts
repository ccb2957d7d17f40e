const { setTimeout: realSetTimeout, clearTimeout: realClearTimeout } = globalThis

interface Step {
  at: number
  order: number
  run: () => void
}

/** Time that passes when the model says so, with the timers of everything that runs in it. */
export class VirtualTime {
  /** Milliseconds of true time since the start. */
  now = 0
  #order = 0
  readonly #steps = new Map<number, Step>()

  /** Takes the place of the platform's timers until `restore`. */
  install(): void {
    globalThis.setTimeout = ((run: () => void, ms = 0) => this.later(ms, run)) as never
    globalThis.clearTimeout = ((id: number | undefined) => {
      this.#steps.delete(id ?? 0)
    }) as never
  }

  restore(): void {
    globalThis.setTimeout = realSetTimeout
    globalThis.clearTimeout = realClearTimeout
  }

  /** @returns an id for `clearTimeout` */
  later(ms: number, run: () => void): number {
    const order = ++this.#order
    this.#steps.set(order, { at: this.now + Math.max(0, ms), order, run })
    return order
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.later(ms, resolve)
    })
  }

  /** Lets time pass until `isDone`, for `ms` at most. */
  async pass(ms: number, isDone = () => false): Promise<void> {
    const end = this.now + ms
    await settle()
    while (!isDone()) {
      const next = this.#next()
      if (!next || next.at > end) break
      this.#steps.delete(next.order)
      this.now = Math.max(this.now, next.at)
      next.run()
      await settle()
    }
    if (!isDone()) this.now = end
  }

  #next(): Step | undefined {
    let first: Step | undefined
    for (const step of this.#steps.values()) if (!first || step.at < first.at) first = step
    return first
  }
}

/** Waits until every promise that can go on has gone on. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
