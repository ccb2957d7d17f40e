import { deviceInWords } from './device-words.js'

/**
 * A session in a list for people: what tells it from the others and fits on a line. `--json` has
 * the rest.
 */
export function sessionRow({
  id,
  name,
  userAgent,
  impersonatedBy,
  ipAddress,
  issuedAt,
  lastSeenAt,
  state,
  endedReason
}: Record<string, unknown>): Record<string, unknown> {
  const words = deviceInWords(textOrNull(userAgent))
  const device =
    typeof name === 'string'
      ? `${name}${words === null ? '' : ` (${words})`}`
      : (words ?? 'unknown')
  return {
    id,
    device: textOrNull(impersonatedBy) === null ? device : `${device}, by an administrator`,
    from: ipAddress,
    began: issuedAt,
    lastSeen: lastSeenAt,
    ...(state === undefined ? {} : { state: textOrNull(endedReason) ?? state })
  }
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
