/** The part of `navigator.locks` that is used. */
export interface Locks {
  request: (
    name: string,
    options: { signal: AbortSignal },
    work: () => Promise<unknown>
  ) => Promise<unknown>
}

/** How long a tab waits for another one's refresh, in milliseconds. Then it goes on without. */
const LOCK_MS = 5_000

/** Runs work while no other tab does, or after a while without. */
export function locked(
  locks: Locks | null,
  name: string,
  work: () => Promise<void>
): Promise<void> {
  if (!locks) return work()
  let begun: Promise<void> | undefined
  const begin = () => (begun ??= work())
  const waiting = new AbortController()
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer)
      resolve(begin())
    }
    const timer = setTimeout(() => {
      go()
      waiting.abort()
    }, LOCK_MS)
    // A lock that comes late finds the work begun, and is held until it ends.
    locks
      .request(name, { signal: waiting.signal }, () => {
        go()
        return begin().catch(() => {})
      })
      .catch(go)
  })
}
