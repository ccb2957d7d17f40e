import cluster from 'node:cluster'

/** Signals that come sooner after the first one are the first one again. */
const SAME_WISH_MS = 1_000

/**
 * Listens for SIGINT and SIGTERM. Ctrl-C comes more than once: from the terminal to every process,
 * and from npm or the process above the workers to those below it. A second wish to stop is one
 * that comes later; a worker leaves that to the process above.
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
