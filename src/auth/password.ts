import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import type { Task } from './password-worker.js'

/** A thread that has had nothing to do for this long ends. */
const IDLE_MS = 30_000

/** Threads of a low priority that hash: one core is left to the event loop. They are made when somebody needs one. */
const threads = new Piscina<Task, string | boolean>({
  filename: fileURLToPath(new URL('./password-worker.js', import.meta.url)),
  minThreads: 0, maxThreads: Math.max(1, availableParallelism() - 1), idleTimeout: IDLE_MS, workerHistogram: false, recordTiming: false
})

/** Hashes a password, off the event loop. */
export async function hashPassword(password: string): Promise<string> {
  return await threads.run({ password: password.normalize('NFKC') }) as string
}

/** Whether the password is the one that was hashed; the hash names its own parameters. */
export async function verifyPassword({ hash: stored, password }: { hash: string, password: string }): Promise<boolean> {
  return await threads.run({ password: password.normalize('NFKC'), stored }) as boolean
}
