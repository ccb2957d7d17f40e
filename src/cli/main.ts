#!/usr/bin/env node
import cluster from 'node:cluster'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { Config } from '../config.js'
import { askHolder, type ControlRequest } from '../operator/control-socket.js'
import { errorLine, reportError } from '../error-report.js'
import { AppError } from '../errors.js'
import { find, helpFor } from './help.js'
import type { Holdfast } from '../holdfast.js'
import { operations, runCommand } from '../operator/commands.js'
import { runMailPreview } from './mail-preview.js'
import type { Operation, PagedResult } from '../operator/operation.js'
import { readPassword } from './password-input.js'
import { progressBar, toTable } from './terminal.js'
import { version } from '../version.js'

// The server takes a second to load. Help does not need it, and neither does a command that a
// running server carries out.

/**
 * Reads `.env` in the working directory, where there is one. What the environment says already
 * stays as it is.
 */
async function loadDotEnv(): Promise<void> {
  if (!existsSync('.env')) return
  try {
    process.loadEnvFile('.env')
  } catch (error) {
    const { ConfigError } = await import('../errors.js')
    throw new ConfigError('.env: the file cannot be read', { cause: error })
  }
}

async function configured(): Promise<Config> {
  await loadDotEnv()
  const { configFromEnvironment } = await import('../config.js')
  return warned(configFromEnvironment(process.env))
}

/**
 * Warns of misspelt variables, which would otherwise have no effect without a message. A worker
 * does not warn: its environment is the supervisor's.
 */
function warned<T>({ config, misspelt }: { config: T; misspelt: string[] }): T {
  if (cluster.isPrimary) for (const line of misspelt) process.stderr.write(`holdfast: ${line}\n`)
  return config
}

async function runMigrate(): Promise<unknown> {
  await loadDotEnv()
  const { storeConfigFrom } = await import('../config.js')
  const config = warned(storeConfigFrom(process.env))
  const { openDatabase } = await import('../holdfast/open-store.js')
  const { migrate } = await import('../database/migrate.js')
  const database = await openDatabase(config, { onWarning: () => {} })
  try {
    return { applied: await migrate(database) }
  } finally {
    await database.close()
  }
}

function stopEarly(signal: NodeJS.Signals): void {
  if (cluster.isPrimary) process.stderr.write(`holdfast: stopped before it served (${signal})\n`)
  process.exit(0)
}

async function runStart(): Promise<void> {
  process.on('SIGINT', stopEarly).on('SIGTERM', stopEarly)
  const config = await configured() // what is wrong with it is said before the server is loaded
  const { serve } = await import('../server/serve.js')
  process.off('SIGINT', stopEarly).off('SIGTERM', stopEarly)
  return serve(config)
}

type RunOperation = (request: ControlRequest) => Promise<unknown>

/**
 * Lets `use` run operations in the server that holds an embedded store, or on the store itself,
 * which is opened once.
 */
async function withOperations<T>(
  config: Config,
  use: (run: RunOperation) => Promise<T>
): Promise<T> {
  let holdfast: Holdfast | null = null
  const bar = process.stderr.isTTY ? progressBar() : null
  try {
    return await use(async (request) => {
      const answer =
        holdfast === null && config.databaseUrl === undefined
          ? await askHolder(config.dataDir, request)
          : null
      if (answer && 'error' in answer)
        throw answer.cause ? new AppError(answer.cause, answer.error) : new Error(answer.error)
      if (answer) return answer.result
      const { openWithControl } = await import('../operator/control.js')
      holdfast ??= await openWithControl(
        config,
        '',
        {
          onDebug: () => {},
          onWarning: () => {},
          onError: () => {},
          onMail: () => {},
          onUnfit: () => {}
        },
        { serves: false }
      )
      return runCommand(holdfast, request, bar?.onProgress)
    })
  } finally {
    bar?.end()
    await (holdfast as Holdfast | null)?.close()
  }
}

/** Runs a command whose result comes in pages, and writes each as it comes. */
async function writePages(
  run: RunOperation,
  operation: string,
  args: readonly string[],
  paged: PagedResult
): Promise<void> {
  async function* pages() {
    for (let after: string | null = ''; after !== null;) {
      const page = await run({
        operation,
        args: after === '' ? args : [...args, `--after=${after}`]
      })
      yield page
      after = paged.nextOf(page)
    }
  }
  await paged.write(pages(), async (text) => {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  })
}

async function main(argv: string[]): Promise<void> {
  const { words, json } = withoutJson(argv)
  const [first = 'help', ...rest] = words
  if (first === '--version' || first === '-v') return print(`${version}\n`)
  if (first === 'help') return print(`${helpFor(rest).trimEnd()}\n`)
  if (words.includes('--help') || words.includes('-h'))
    return print(`${helpFor(words).trimEnd()}\n`)
  const { command, args } = find(words)
  const name = words.slice(0, words.length - args.length).join(' ')
  const operation = operations[name]
  if (!operation) command.parse(args, { from: 'user' })
  if (name === '')
    throw new AppError('invalid_input', 'no command was named: `holdfast help` lists them')
  const source = operation?.asks(args) ?? null
  if (name === 'start') return runStart()
  if (name === 'migrate') return printResult(await runMigrate(), name, json)
  if (name === 'mail preview') return printResult(await runMailPreview(), name, json)
  const config = await configured()
  const paged = operation?.paged
  if (paged) {
    await withOperations(config, (run) => writePages(run, name, args, paged))
    return print('')
  }
  const password = await readPassword(source)
  return printResult(
    await withOperations(config, (run) => run({ operation: name, args, password })),
    name,
    json
  )
}

function printResult(result: unknown, command: string, json: boolean): Promise<never> {
  return print(
    process.stdout.isTTY && !json
      ? `${tableFrom(result, operations[command])}\n`
      : `${toJson(result, operations[command])}\n`
  )
}

/** `--json` stands anywhere, and every command has it. Behind `--` it is a value like any other. */
function withoutJson(argv: string[]): { words: string[]; json: boolean } {
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length
  const words = argv.filter((word, index) => word !== '--json' || index > end)
  return { words, json: words.length < argv.length }
}

function toJson(result: unknown, { lines = false }: Partial<Operation> = {}): string {
  return lines && Array.isArray(result)
    ? result.map((record) => JSON.stringify(record)).join('\n')
    : JSON.stringify(result)
}

function tableFrom(result: unknown, { row = (record) => record }: Partial<Operation> = {}): string {
  const shown: unknown = Array.isArray(result)
    ? (result as Record<string, unknown>[]).map(row)
    : result
  return toTable(shown, { width: process.stdout.columns || undefined, now: Date.now() })
}

/** Writes the outcome, and ends. */
function print(text: string): Promise<never> {
  return new Promise(() => process.stdout.write(text, () => process.exit(0)))
}

// `holdfast session list … | head -1` has read enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? 0 : 1)
)

// Node would print all that the error carries.
process.on('uncaughtException', (error) => {
  process.stderr.write(`holdfast: ${reportError(error).stack ?? errorLine(error)}\n`)
  process.exit(1)
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  const isConfigError = error instanceof Error && error.name === 'ConfigError'
  // Each wrong setting is a line of its own, and can be found as one.
  process.stderr.write(
    `holdfast: ${isConfigError ? errorLine(error).replaceAll('\n', '\nholdfast: ') : errorLine(error)}\n`
  )
  process.exit(
    isConfigError || (error instanceof AppError && error.code === 'invalid_input') ? 2 : 1
  )
}
