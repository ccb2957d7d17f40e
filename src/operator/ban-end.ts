import { InvalidArgumentError } from '@commander-js/extra-typings'
import { parseTimeSpan } from './time-span.js'

const LASTING = /^(\d{1,5})([mhdw])$/
// With a zone, or a day alone: a time without one would be another on the server than where it was
// typed.
const TIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/

/**
 * When a ban ends: `7d` from now, or a time with its zone; a day alone is its beginning in UTC.
 *
 * @throws InvalidArgumentError for what is no such time, or has passed
 */
export function parseBanEnd(text: string): Date {
  const now = Date.now()
  const lastsMs = parseTimeSpan(text, LASTING)
  const end = lastsMs !== null ? now + lastsMs : TIME.test(text) ? Date.parse(text) : NaN
  if (!Number.isFinite(end))
    throw new InvalidArgumentError(
      'It is a number of m, h, d or w (7d), a day (2027-01-31) or a time with its zone (2027-01-31T18:00Z).'
    )
  if (end <= now) throw new InvalidArgumentError('It has passed.')
  return new Date(end)
}
