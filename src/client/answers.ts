import { HoldfastError } from './errors.js'
import type { TokenSet } from './saved.js'

/** An answer that has arrived whole. `body` is undefined where it is no JSON. */
export interface Answer {
  status: number
  headers: Headers
  text: string
  body: Body | undefined
}

/** What the answers of the server have. Nothing of it is sure to be there. */
export interface Body extends Partial<TokenSet> {
  error?: unknown
  cause?: string | number
  code?: string | number
  detail?: string | number
  message?: string | number
  twoFactorRedirect?: boolean
  challenge?: string
  tokens?: TokenSet
  token?: string | null
  device_token?: string
}

/** The stable code of a refusal. Empty where there is none. */
export const causeOf = (answer: Answer | null) => String(answer?.body?.cause ?? '')

/** The time to wait that an answer names, an hour at most. */
export function retryAfterMs({ headers }: Answer): number | null {
  const seconds = Number(headers.get('retry-after'))
  return seconds > 0 ? Math.min(seconds * 1000, 3_600_000) : null
}

export function toError(answer: Answer): HoldfastError {
  const { cause, code, detail, message } = answer.body ?? {}
  return new HoldfastError(
    answer.status,
    String(cause ?? code ?? '').toLowerCase() || null,
    String(detail ?? message ?? answer.status),
    retryAfterMs(answer)
  )
}
