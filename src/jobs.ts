/** A task that runs repeatedly until it is stopped. */
export interface Job {
  /** Ends the job. Resolves when a run that is under way has ended. */
  stop(): Promise<void>
}

/**
 * Runs `task` every `intervalMs` milliseconds, first after `firstMs`, and never twice at once. It
 * keeps no process alive.
 */
export function startJob(
  intervalMs: number,
  task: () => Promise<unknown>,
  onError: (error: unknown) => void,
  firstMs = intervalMs
): Job {
  let running: Promise<unknown> | null = null
  const run = () => {
    running ??= task()
      .catch(onError)
      .finally(() => {
        running = null
      })
  }
  let timer = setTimeout(() => {
    run()
    timer = setInterval(run, intervalMs)
    timer.unref()
  }, firstMs)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await running
    }
  }
}
