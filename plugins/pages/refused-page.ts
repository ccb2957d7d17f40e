import type { ApiAnswer } from './api-client.js'

/** What a refusal of the API says. */
export type Refusal = Pick<ApiAnswer<unknown>, 'status' | 'code'> &
  Partial<Pick<ApiAnswer<unknown>, 'retryAfterSeconds' | 'requestId'>>

/** An answer of the API with which a page cannot be shown. */
export class RefusedPage extends Error {
  override readonly name = 'RefusedPage'
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(`the API answered ${refusal.status}${refusal.code === null ? '' : ` ${refusal.code}`}`)
    this.refusal = refusal
  }
}

/** Where there is nothing of that name. */
export function nothingThere(): RefusedPage {
  return new RefusedPage({ status: 404, code: 'not_found' })
}
