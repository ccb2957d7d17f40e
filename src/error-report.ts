/** The loggable part of an error, without its other fields. */
export interface ErrorReport {
  readonly type: string
  readonly message: string
  readonly code?: string | number
  readonly stack?: string
  readonly cause?: ErrorReport
}

/** How many nested causes are reported. */
const DEPTH = 4
const LONGEST_MESSAGE = 2_000
const LONGEST_STACK = 8_000
/** A shorter secret is an ordinary word, and would be removed wherever that word is used. */
const SHORTEST_SECRET = 5

const secrets = new Set<string>()
const reports = new WeakSet<object>()

/**
 * Removes these values from all errors that this process reports from now on. Called with the
 * secrets of every configuration that it has read.
 */
export function neverReport(values: Iterable<string>): void {
  for (const value of values) {
    if (value.length >= SHORTEST_SECRET)
      for (const text of [value, encodeURIComponent(value)]) secrets.add(text)
  }
}

/**
 * Reduces an error to what may be logged: its type, message, code and stack, and the same of its
 * causes. Libraries put far more on their errors: ioredis the command with its arguments (`AUTH
 * <user> <password>`), pg the connection, Prisma the query. For loggers of a host application,
 * whose serializers copy every field, and for our own.
 */
export function reportError(error: unknown, depth = DEPTH): ErrorReport {
  if (typeof error === 'object' && error !== null && reports.has(error)) return error as ErrorReport
  const { type, message, code, stack, cause } = partsFrom(error)
  const report = Object.assign(Object.create(null) as object, {
    type,
    message: redact(message).slice(0, LONGEST_MESSAGE),
    ...(code === undefined ? {} : { code }),
    ...(stack === undefined ? {} : { stack: redact(stack).slice(0, LONGEST_STACK) }),
    ...(cause === undefined || depth === 0 ? {} : { cause: reportError(cause, depth - 1) })
  })
  // pino's own serializer takes the type from here.
  Object.defineProperty(report, 'name', { value: type })
  reports.add(report)
  return report
}

/** An error in one line, for the command line. */
export function errorLine(error: unknown): string {
  return redact(partsFrom(error).message)
}

interface Parts {
  type: string
  message: string
  code?: string | number | undefined
  stack?: string | undefined
  cause?: unknown
}

function partsFrom(error: unknown): Parts {
  if (!(error instanceof Error))
    return {
      type: typeof error,
      message: typeof error === 'string' ? error : 'something was thrown that is no error'
    }
  const { code } = error as { code?: unknown }
  return {
    type: error.constructor.name || error.name,
    message: toMessage(error),
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    stack: error.stack,
    cause: error.cause
  }
}

// When all addresses of a host have failed, Node's error has no message.
function toMessage(error: Error): string {
  if (error.message !== '' || !(error instanceof AggregateError)) return error.message
  return error.errors.map((each) => (each instanceof Error ? each.message : '')).join('; ')
}

// Redis repeats an unknown command with its arguments. Libraries repeat an address that they cannot
// parse.
const patterns: [RegExp, string][] = [
  [/(with args beginning with:).*/g, '$1 ***'],
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/]*@/gi, '$1***@']
]

/** Removes the values of secret settings, and the credentials in addresses, from a text. */
export function redact(text: string): string {
  let redacted = text
  for (const [pattern, replacement] of patterns) redacted = redacted.replace(pattern, replacement)
  for (const secret of secrets) redacted = redacted.replaceAll(secret, '***')
  return redacted
}
