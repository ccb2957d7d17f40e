import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { buildApp } from '../../src/server/app.js'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'

/** What a script in a process of its own is given. */
export interface Setting {
  options: HoldfastOptions
  /** Somebody who is signed in. */
  bearer: string
}

/**
 * Runs a script of this folder in a process of its own, and returns the one thing that it says
 * (`answer`).
 */
export async function askChild<T>(
  t: Test,
  script: string,
  setting: Setting,
  execArgv: string[] = []
): Promise<T> {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), [], {
    execArgv,
    env: { ...process.env, HOLDFAST_TEST_SETTING: JSON.stringify(setting) }
  })
  t.teardown(() => child.kill('SIGKILL'))
  return new Promise<T>((resolve, reject) => {
    child.once('message', (message) => resolve(message as T))
    child.once('exit', (code) => reject(new Error(`${script} ended with ${code}`)))
  })
}

/** For the script: the server that it was told to be. */
export async function startApp(): Promise<{ app: FastifyInstance; bearer: string }> {
  const { options, bearer } = JSON.parse(process.env['HOLDFAST_TEST_SETTING'] ?? '') as Setting
  const app = await buildApp(resolveConfig(options), { logger: pino({ level: 'silent' }) })
  await app.ready()
  return { app, bearer }
}

/** For the script: says what it has found, and ends. */
export function answer(found: unknown): void {
  process.send?.(found)
  process.disconnect()
}
