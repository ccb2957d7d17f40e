import { DatabaseError } from 'pg'
import { ConfigError } from '../errors.js'

// The server refuses this process, and will go on doing so.
const refusals: Record<string, string> = {
  '28P01': 'the password is wrong',
  '28000': 'the user may not connect',
  '3D000': 'there is no such database'
}
// PgBouncer uses 08P01 for whatever it cannot do, also for a server that is down.
const poolerRefusals = /unsupported startup parameter|no such (database|user)|authentication failed/
const unknownSetting = new Set(['22023', '42704'])

/**
 * The message where the database refuses this process for good. Null where a later attempt may
 * succeed.
 */
export function toConfigError(error: unknown): ConfigError | null {
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
 * All messages of a failure of the database or its connection, each on one line. Values of a
 * statement appear only where the database quotes them.
 */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Several addresses of one name have failed, each in its own way.
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
