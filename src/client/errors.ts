/** An answer of the server that is no success. */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError'
  /** The HTTP status. 0 where there was no answer. */
  readonly status: number
  /** The stable code of the server, such as `invalid_email_or_password`. Null where it gave none. */
  readonly code: string | null
  /** Milliseconds after which it may be tried again. Null where that is not known. */
  readonly retryAfterMs: number | null

  constructor(status: number, code: string | null, message: string, retryAfterMs: number | null) {
    super(message)
    this.status = status
    this.code = code
    this.retryAfterMs = retryAfterMs
  }
}

/**
 * Whether the session is valid is not known at present: there was no answer, or one that says so.
 * The person is still signed in. Try again later.
 */
export class StaleError extends Error {
  override readonly name = 'StaleError'

  constructor() {
    super('not known at present')
  }
}
