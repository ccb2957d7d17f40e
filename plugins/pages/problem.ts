import type { ApiAnswer } from './api-client.js'
import type { Texts } from './texts/texts.js'

/** What is wrong with a form that was sent. */
export interface Problem {
  /** The status of the page. */
  status: number
  /** The code of the API, where it is one. */
  code?: string | null
  /** Seconds to wait before it is sent again. */
  retryAfterSeconds?: number | null
  /** What happened, in one sentence. */
  message: string
  /** What is wrong with each field, by its name. */
  fields?: Record<string, string>
}

/** Which field of a form an error code is about. */
export type FieldCodes = Record<string, string>

/**
 * The problem that an answer of the API stands for.
 *
 * @param fields the field that each code is about; any other code is about the form as a whole
 */
export function problemFrom(
  answer: ApiAnswer<unknown>,
  t: Texts,
  fields: FieldCodes = {}
): Problem {
  const { status, code, retryAfterSeconds } = answer
  const message = messageFor(answer, t)
  const field = code === null ? undefined : fields[code]
  return field === undefined
    ? { status, code, retryAfterSeconds, message }
    : { status, code, message: t.wrongFields, fields: { [field]: message } }
}

function messageFor({ status, code, retryAfterSeconds }: ApiAnswer<unknown>, t: Texts): string {
  if (status === 429) {
    if (code === 'too_many_sessions') return t.errors.too_many_sessions
    return tooManyAttempts(retryAfterSeconds, t)
  }
  if (code !== null && Object.hasOwn(t.codes, code)) return t.codes[code as keyof Texts['codes']]
  if (status === 503) return t.errors.unavailable
  return status >= 500 ? t.errors.internal : t.errors.refused
}

/** That there were too many attempts, and how long to wait. */
export function tooManyAttempts(retryAfterSeconds: number | null, t: Texts): string {
  return t.errors.rate_limited({
    minutes: Math.max(1, Math.ceil((retryAfterSeconds ?? 60) / 60))
  })
}
