#!/usr/bin/env node
import { ConfigError, optionsFromEnvironment, resolveConfig, type Config } from './config.js'
import { askHolder } from './control-socket.js'
import { migrate } from './database/migrate.js'
import { Refusal } from './errors.js'
import { openDatabase, openHoldfast } from './holdfast.js'
import { operate, operations } from './operator.js'
import { serve } from './server.js'

const usage = `Usage: holdfast <command>

  start                                                        serve, with the settings of the environment
  migrate                                                      apply the migrations that the store has not seen
${Object.values(operations).map(({ usage }) => `  ${usage}`).join('\n')}

Results are JSON on stdout, errors are on stderr with a status other than 0.
`

const configured = () => resolveConfig(optionsFromEnvironment(process.env))

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
  try {
    return await operate(holdfast, { operation, args })
  } finally {
    await holdfast.close()
  }
}

async function main(words: string[]): Promise<void> {
  const [first = '', second = ''] = words
  if (words.includes('--help') || words.includes('-h') || first === 'help') {
    process.stdout.write(usage)
    return
  }
  if (first === 'start' && words.length === 1) return serve(configured())
  const operation = `${first} ${second}`
  const isMigrate = first === 'migrate' && words.length === 1
  if (!isMigrate && !(operation in operations)) throw new Refusal('invalid_input', `there is no such command\n\n${usage}`)
  const result = isMigrate ? await runMigrate(configured()) : await runOperation(configured(), operation, words.slice(2))
  // The schema engine leaves a timer running, ten seconds long, that nobody waits for.
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`holdfast: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(error instanceof ConfigError || (error instanceof Refusal && error.code === 'invalid_input') ? 2 : 1)
}
