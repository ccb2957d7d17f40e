import { DatabaseError } from 'pg'
import type { ServerAddress } from './database-url.js'

/** The places that connections of one pool may use, and which one last worked. */
export class Places {
  readonly #places: readonly ServerAddress[]
  #current: number = 0

  /** @param places at least one */
  constructor(places: readonly ServerAddress[]) {
    this.#places = places
  }

  /** The one that last worked. */
  get current(): ServerAddress | undefined {
    return this.#places[this.#current]
  }

  use(place: ServerAddress): void {
    this.#current = this.#places.indexOf(place)
  }

  /**
   * The place to try after a failed one: the same host with TLS, or without, where that was the
   * fault; else the next host.
   */
  after(place: ServerAddress, error: Error): ServerAddress | undefined {
    const index = this.#places.indexOf(place)
    const next = this.#places[(index + 1) % this.#places.length]
    if (next?.hostIndex === place.hostIndex && isAboutTls(error)) return next
    const hosts = this.#places.filter(
      (other, at) => at === 0 || other.hostIndex !== this.#places[at - 1]?.hostIndex
    )
    const host = hosts.findIndex(({ hostIndex }) => hostIndex === place.hostIndex)
    return hosts[(host + 1) % hosts.length]
  }
}

/** Whether a server has no TLS, has none that can be used, or requires it. */
function isAboutTls(error: Error): boolean {
  if (error instanceof DatabaseError) return error.code === '28000'
  const code = 'code' in error ? String(error.code) : ''
  return (
    /does not support SSL|establishing an SSL/.test(error.message) ||
    /^(ERR_SSL|ERR_TLS|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|EPROTO)/.test(code)
  )
}
