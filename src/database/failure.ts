import { DatabaseError } from 'pg'
import { ConfigError } from '../errors.js'

// The server answers, and says no to this process: it will go on saying so.
const refusals: Record<string, string> = {
  '28P01': 'the password is wrong',
  '28000': 'the user may not connect',
  '3D000': 'there is no such database'
}
// PgBouncer says 08P01 of whatever it cannot do, of a server that is down as well.
const poolerRefusals = /unsupported startup parameter|no such (database|user)|authentication failed/
const unknownSetting = new Set(['22023', '42704'])

/**
 * What to say where the database answers that this process may not connect; null where it may
 * answer otherwise later.
 */
export function refusalOf(error: unknown): ConfigError | null {
  if (!(error instanceof DatabaseError) || error.severity !== 'FATAL') return null
  const { code = '', message } = error
  const reason =
    refusals[code] ??
    (unknownSetting.has(code) || (code === '08P01' && poolerRefusals.test(message))
      ? message
      : undefined)
  return reason === undefined
    ? null
    : new ConfigError(`DATABASE_URL: the database refuses the connection: ${reason}`, {
        cause: error
      })
}

/**
 * What a database, or the way to it, says of a failure: all its words, on one line each. Of a
 * statement's values only those that the database quotes.
 */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Of several addresses of one name, each failed in its own way.
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(describeFailure).join('; ')
  const { code, detail, hint, where } = error as Error & {
    code?: string
    detail?: string
    hint?: string
    where?: string
  }
  const cause = error.cause instanceof Error ? ` (${describeFailure(error.cause)})` : ''
  const lines = [
    `${error.message}${code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? ` (SQLSTATE ${code})` : ''}${cause}`
  ]
  if (detail) lines.push(`detail: ${detail}`)
  if (hint) lines.push(`hint: ${hint}`)
  if (where) lines.push(`where: ${where}`)
  return lines.join('\n  ')
}
