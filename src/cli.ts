#!/usr/bin/env node
import type { Config } from './config.js'
import { askHolder } from './control-socket.js'
import { errorLine, reportError } from './error-report.js'
import { Refusal } from './errors.js'
import { helpFor, usage } from './help.js'
import { operate, operations } from './operator.js'
import { progressBar, toTable } from './terminal.js'

// The server takes a second to load. Help does not need it, and neither does a command that a running server carries out.
const loadHoldfast = () => import('./holdfast.js')

async function configured(): Promise<Config> {
  const { optionsFromEnvironment, resolveConfig } = await import('./config.js')
  return resolveConfig(optionsFromEnvironment(process.env))
}

async function runMigrate(): Promise<unknown> {
  const { storeConfigFrom } = await import('./config.js')
  const config = storeConfigFrom(process.env)
  const { openDatabase } = await loadHoldfast()
  const { migrate } = await import('./database/migrate.js')
  const database = await openDatabase(config, { onWarning: () => {} })
  try {
    return { applied: await migrate(database) }
  } finally {
    await database.close()
  }
}

/** Runs an operation in the server that holds an embedded store, or on the store itself. */
async function runOperation(config: Config, operation: string, args: string[]): Promise<unknown> {
  const answer = config.databaseUrl === undefined ? await askHolder(config.dataDir, { operation, args }) : null
  if (answer) {
    if ('error' in answer) throw answer.cause ? new Refusal(answer.cause, answer.error) : new Error(answer.error)
    return answer.result
  }
  const { openHoldfast } = await loadHoldfast()
  const holdfast = await openHoldfast(config, '', { onDebug: () => {}, onWarning: () => {}, onError: () => {}, onUnfit: () => {} }, { serves: false })
  const bar = process.stderr.isTTY ? progressBar() : null
  try {
    return await operate(holdfast, { operation, args }, bar?.onProgress)
  } finally {
    bar?.end()
    await holdfast.close()
  }
}

async function main(words: string[]): Promise<void> {
  const [first = '', second = ''] = words
  if (words.includes('--help') || words.includes('-h') || first === 'help') {
    process.stdout.write(helpFor(first === 'help' ? words.slice(1) : words))
    return
  }
  if (first === 'start' && words.length === 1) {
    const config = await configured() // what is wrong with it is said before the server is loaded
    return (await import('./server.js')).serve(config)
  }
  const operation = first in operations ? first : `${first} ${second}`
  const isMigrate = first === 'migrate' && words.length === 1
  if (!isMigrate && !(operation in operations)) throw new Refusal('invalid_input', `there is no such command\n\n${usage}`)
  const result = isMigrate ? await runMigrate() : await runOperation(await configured(), operation, words.slice(operation.split(' ').length))
  process.stdout.write(`${process.stdout.isTTY ? toTable(result) : JSON.stringify(result)}\n`, () => process.exit(0))
}

// Node would print all that the error carries.
process.on('uncaughtException', (error) => {
  process.stderr.write(`holdfast: ${reportError(error).stack ?? errorLine(error)}\n`)
  process.exit(1)
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`holdfast: ${errorLine(error)}\n`)
  process.exit((error instanceof Error && error.name === 'ConfigError') || (error instanceof Refusal && error.code === 'invalid_input') ? 2 : 1)
}
