/**
 * The names that a misspelt `name` may mean, nearest first. None where `name` resembles none of
 * them.
 */
export function nearNames(name: string, names: Iterable<string>): string[] {
  const written = bare(name)
  return [...names]
    .map((candidate) => ({ candidate, distance: editDistance(written, bare(candidate)) }))
    .filter(({ candidate, distance }) => distance <= allowedDistance(bare(candidate).length))
    .toSorted((a, b) => a.distance - b.distance)
    .map(({ candidate }) => candidate)
}

// LOGLEVEL and log-level both mean LOG_LEVEL.
function bare(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '')
}

// Many short words differ by one letter only. PROXY and PROXIES differ by three.
function allowedDistance(length: number): number {
  if (length < 6) return 0
  return length < 9 ? 1 : length < 13 ? 2 : 3
}

/** How many letters must be added, removed, replaced or swapped with their neighbour. */
function editDistance(a: string, b: string): number {
  let [before, row]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const exchanged =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
          ? (before[j - 2] ?? 0) + 1
          : Infinity
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced, exchanged))
    }
    ;[before, row] = [row, next]
  }
  return row[b.length] ?? 0
}
