import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings'
import { mailPreviewCommand } from './mail-preview.js'
import { groupFrom, operations, program } from '../operator/commands.js'
import { refusing } from '../operator/operation.js'
import { version } from '../version.js'

const own = {
  start: refusing(
    new Command('start').description(
      'Serves, with the settings of the environment, until SIGTERM: then requests that are open end first.'
    )
  ),
  migrate: refusing(
    new Command('migrate').description(
      'Applies the migrations that the store has not seen. Safe to run on several machines at once.'
    )
  )
}
for (const command of Object.values(own)) program.addCommand(command)
groupFrom('mail').addCommand(mailPreviewCommand)

/** Every command, in the order in which help names them. */
export const commands: Record<string, CommandUnknownOpts> = {
  ...own,
  ...Object.fromEntries(Object.entries(operations).map(([words, { command }]) => [words, command])),
  'mail preview': mailPreviewCommand
}

const outcome = `Settings come from the environment and from a file .env in the working directory. Results
are tables on a terminal, with what fits a line. --json prints all values, as a pipe or a file
gets them. Errors are on stderr. The status is 0 when it was done, 1 when it failed, and 2 when
the words or the settings are wrong.`

/** What there is, a line each: the first sentence of every help. */
const overview = refusing(
  new Command('holdfast')
    .usage('<command>')
    .description(`Holdfast ${version}: an authentication server whose sessions hold.`)
    .version(version, '-v, --version', 'the version')
)
for (const [words, command] of Object.entries(commands)) {
  const [sentence = ''] = /^.*?(?=[.:](?: |$))/.exec(command.description()) ?? []
  command.summary(sentence)
  overview.addCommand(new Command(words).description(sentence).helpOption(false))
}
overview.helpCommand('help <command>', 'how a command is written; --help behind it is the same')

/**
 * The help for what the words name: one command, a group of them, or everything.
 *
 * @throws AppError where there is no such command
 */
export function helpFor(words: readonly string[]): string {
  const { command, args } = find(words.filter((word) => !word.startsWith('-')))
  if (command.commands.length > 0 && args.length > 0) command.parse(args, { from: 'user' })
  return `${(command === program ? overview : command).helpInformation()}\n${outcome}\n`
}

/** The command that words begin with, a group where they go no further, and what follows. */
export function find(words: readonly string[]): {
  command: CommandUnknownOpts
  args: readonly string[]
} {
  let command: CommandUnknownOpts = program
  let args = words
  for (;;) {
    const next = command.commands.find((each) => each.name() === args[0])
    if (!next) return { command, args }
    command = next
    args = args.slice(1)
  }
}
