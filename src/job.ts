/** A task that runs again and again until it is stopped. */
export interface Job {
  /** Ends the job; resolves when a run that is under way has ended. */
  stop(): Promise<void>
}

/** Runs `task` every `intervalMs` milliseconds, never twice at once. It keeps no process alive. */
export function startJob(intervalMs: number, task: () => Promise<unknown>, onError: (error: unknown) => void): Job {
  let running: Promise<unknown> | null = null
  const timer = setInterval(() => {
    running ??= task().catch(onError).finally(() => { running = null })
  }, intervalMs)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await running
    }
  }
}
