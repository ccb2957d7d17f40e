import type { ApiAnswer } from './api-client.js'

/** An answer of the API with which a page cannot be shown. */
export class RefusedPage extends Error {
  override readonly name = 'RefusedPage'
  readonly status: number
  readonly code: string | null
  readonly retryAfterSeconds: number | null

  constructor({
    status,
    code,
    retryAfterSeconds
  }: Omit<ApiAnswer<unknown>, 'body' | 'effectiveBy'>) {
    super(`the API answered ${status}${code === null ? '' : ` ${code}`}`)
    this.status = status
    this.code = code
    this.retryAfterSeconds = retryAfterSeconds
  }
}
