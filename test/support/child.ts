import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { buildApp } from '../../src/server/app.js'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'

/** The parameters of a script in a process of its own. */
export interface Setting {
  options: HoldfastOptions
  /** The session token of a signed-in user. */
  bearer: string
}

/** Runs a script of this folder in a process of its own, and returns its result (`answer`). */
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

/** For the script: starts the server of its parameters. */
export async function startApp(): Promise<{ app: FastifyInstance; bearer: string }> {
  const { options, bearer } = JSON.parse(process.env['HOLDFAST_TEST_SETTING'] ?? '') as Setting
  const app = await buildApp(resolveConfig(options), { logger: pino({ level: 'silent' }) })
  await app.ready()
  return { app, bearer }
}

/** For the script: sends its result, and ends. */
export function answer(found: unknown): void {
  process.send?.(found)
  process.disconnect()
}
