#!/usr/bin/env node
import { ConfigError, optionsFromEnvironment, resolveConfig, type Config } from './config.js'
import { askHolder } from './control-socket.js'
import { migrate } from './database/migrate.js'
import { Refusal } from './errors.js'
import { openDatabase, openHoldfast } from './holdfast.js'
import { operate, operations, type Operation } from './operator.js'
import { serve } from './server.js'
import { progressBar, toTable } from './terminal.js'

/** Every command, in the order in which help names them. */
const commands: Record<string, Pick<Operation, 'usage' | 'help'>> = {
  start: { usage: 'start', help: 'Serves, with the settings of the environment, until SIGTERM: then requests that are open end first.' },
  migrate: { usage: 'migrate', help: 'Applies the migrations that the store has not seen. Safe to run on several machines at once.' },
  ...operations
}

const outcome = 'Results are tables on a terminal and JSON elsewhere; errors are on stderr, with a status other than 0.'

const usage = `Usage: holdfast <command>

${Object.values(commands).map((command) => `  ${command.usage}`).join('\n')}

${outcome} \`holdfast <command> --help\` says more.
`

const configured = () => resolveConfig(optionsFromEnvironment(process.env))

/** The help for what the words name: one command, all that begin so, or everything. */
function helpFor(words: string[]): string {
  const named = words.filter((word) => !word.startsWith('-')).slice(0, 2).join(' ')
  const found = Object.entries(commands).filter(([name]) => named !== '' && (name === named || named.startsWith(`${name} `) || name.startsWith(`${named} `)))
  if (found.length === 0) return usage
  return `${found.map(([, command]) => `Usage: holdfast ${command.usage}\n${command.help ? `\n  ${command.help}\n` : ''}`).join('\n')}\n${outcome}\n`
}

async function runMigrate(config: Config): Promise<unknown> {
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
    if ('error' in answer) throw new Error(answer.error)
    return answer.result
  }
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
  if (first === 'start' && words.length === 1) return serve(configured())
  const operation = first in operations ? first : `${first} ${second}`
  const isMigrate = first === 'migrate' && words.length === 1
  if (!isMigrate && !(operation in operations)) throw new Refusal('invalid_input', `there is no such command\n\n${usage}`)
  const result = isMigrate ? await runMigrate(configured()) : await runOperation(configured(), operation, words.slice(operation.split(' ').length))
  // The schema engine leaves a timer running, ten seconds long, that nobody waits for.
  process.stdout.write(`${process.stdout.isTTY ? toTable(result) : JSON.stringify(result)}\n`, () => process.exit(0))
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`holdfast: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(error instanceof ConfigError || (error instanceof Refusal && error.code === 'invalid_input') ? 2 : 1)
}
