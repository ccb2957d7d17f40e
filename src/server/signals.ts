import cluster from 'node:cluster'

/** A signal that follows the first one this soon counts as the same one. */
const SAME_WISH_MS = 1_000

/**
 * Listens for SIGINT and SIGTERM. Ctrl-C arrives more than once: from the terminal at every
 * process, and from npm or the supervisor at the processes below. A later signal is a second
 * request to stop. A worker leaves that to the supervisor.
 */
export function stopOnSignal({
  onFirst,
  onSecond
}: {
  onFirst: () => void
  onSecond: () => void
}): void {
  let firstAt: number | null = null
  const onSignal = () => {
    if (firstAt === null) {
      firstAt = performance.now()
      onFirst()
    } else if (!cluster.isWorker && performance.now() - firstAt > SAME_WISH_MS) {
      onSecond()
    }
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
}
