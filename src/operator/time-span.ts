const unitMs: Record<string, number> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000
}

/**
 * A span of time as operators write it, such as `7d`, in milliseconds.
 *
 * @param pattern what may be written: a number and the letter of a unit, each a group
 * @returns null for what is none
 */
export function parseTimeSpan(text: string, pattern: RegExp): number | null {
  const [, count, unit = ''] = pattern.exec(text) ?? []
  return count === undefined ? null : Number(count) * (unitMs[unit] ?? 0)
}
