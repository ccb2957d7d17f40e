/** For how long an origin is not logged again, in milliseconds. */
const QUIET_MS = 10 * 60_000
/** Origins that are logged within that time. Any client can invent more. */
const ORIGINS = 20
/** No real origin is longer. */
const LONGEST = 200

export interface RefusedOriginsOptions {
  /** A monotonic clock, in milliseconds. */
  now: () => number
  onRefused: (message: string) => void
}

/**
 * Logs which origins were refused. An operator who has forgotten one in TRUSTED_ORIGINS otherwise
 * sees only 403s, or a page that cannot read its answers. Each is logged once in a while, and only
 * a handful of them.
 */
export class RefusedOrigins {
  readonly #options: RefusedOriginsOptions
  readonly #told = new Set<string>()
  #since = -Infinity

  constructor(options: RefusedOriginsOptions) {
    this.#options = options
  }

  /**
   * @param sent the header `Origin`, or an address whose origin was refused: unchecked client input
   */
  note(sent: string | undefined): void {
    const now = this.#options.now()
    if (now - this.#since >= QUIET_MS) {
      this.#told.clear()
      this.#since = now
    }
    if (this.#told.size > ORIGINS) return
    const origin = shown(sent)
    if (this.#told.has(origin)) return
    this.#told.add(origin)
    this.#options.onRefused(
      this.#told.size > ORIGINS
        ? `more origins were refused than are named here: ${ORIGINS} in ten minutes`
        : messageFor(origin)
    )
  }
}

function messageFor(origin: string): string {
  if (origin === '') return 'a request was refused because a browser sent no origin with it'
  if (origin === 'null')
    return 'a request from the origin null was refused: a page without an origin of its own (sandboxed, or opened as a file) cannot be trusted'
  return `a request from the origin ${origin} was refused: TRUSTED_ORIGINS does not name it`
}

/**
 * An origin in a form that is safe to log: without path or query, which may contain a secret, and
 * without other characters than an origin has.
 */
function shown(sent: string | undefined): string {
  if (sent === undefined || sent === '' || sent === 'null') return sent ?? ''
  const url = URL.canParse(sent) ? new URL(sent) : null
  const origin =
    url === null
      ? 'that is no address'
      : url.origin === 'null'
        ? `${url.protocol}//${url.host}`
        : url.origin
  return origin.replaceAll(/[^\x21-\x7e ]/g, '?').slice(0, LONGEST)
}
