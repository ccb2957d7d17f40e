#!/usr/bin/env node
import { ConfigError, optionsFromEnvironment, resolveConfig } from './config.js'
import { migrate } from './database/migrate.js'
import { openDatabase } from './holdfast.js'
import { serve } from './server.js'

const usage = `Usage: holdfast <command>

  start      serve, with the settings of the environment
  migrate    apply the migrations that the store has not seen
`

const commands: Record<string, () => Promise<void>> = {
  start: () => serve(resolveConfig(optionsFromEnvironment(process.env))),
  async migrate() {
    const database = await openDatabase(resolveConfig(optionsFromEnvironment(process.env)), { onWarning: () => {} })
    try {
      process.stdout.write(`${JSON.stringify({ applied: await migrate(database) })}\n`)
    } finally {
      await database.close()
    }
  }
}

const [name = '', ...rest] = process.argv.slice(2)
const command = commands[name]
if (!command || rest.length > 0) {
  process.stderr.write(usage)
  process.exit(2)
}
try {
  await command()
} catch (error) {
  process.stderr.write(`holdfast: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(error instanceof ConfigError ? 2 : 1)
}
