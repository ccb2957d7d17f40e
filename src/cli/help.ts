import { AppError } from '../errors.js'
import { nearNames } from '../near-names.js'
import { operations, type Operation } from '../operator/commands.js'
import { version } from '../version.js'

/** Every command, in the order in which help names them. */
export const commands: Record<string, Pick<Operation, 'usage' | 'help'>> = {
  start: {
    usage: 'start',
    help: 'Serves, with the settings of the environment, until SIGTERM: then requests that are open end first.'
  },
  migrate: {
    usage: 'migrate',
    help: 'Applies the migrations that the store has not seen. Safe to run on several machines at once.'
  },
  ...operations
}

const outcome = `Settings come from the environment and from a file .env in the working directory. Results
are tables on a terminal, with what fits a line. --json prints all values, as a pipe or a file
gets them. Errors are on stderr. The status is 0 when it was done, 1 when it failed, and 2 when
the words or the settings are wrong.`

/** What there is, a line each. */
export const usage = `Holdfast ${version}: an authentication server whose sessions hold.

Usage: holdfast <command>

${linesOf(Object.keys(commands))}

  help <command>   how a command is written; \`holdfast <command> --help\` is the same
  --version        the version

${outcome}
`

/**
 * The help for what the words name: one command, all that begin so, or everything.
 *
 * @throws Refusal where there is no such command
 */
export function helpFor(words: string[]): string {
  const named = words
    .filter((word) => !word.startsWith('-'))
    .slice(0, 2)
    .join(' ')
  if (named === '') return usage
  const found = Object.entries(commands).filter(
    ([name]) => name === named || named.startsWith(`${name} `) || name.startsWith(`${named} `)
  )
  if (found.length === 0) throw new AppError('invalid_input', unknownCommand(named))
  return `${found.map(([, command]) => `Usage: holdfast ${command.usage}\n${command.help ? `\n  ${command.help}\n` : ''}`).join('\n')}\n${outcome}\n`
}

/**
 * The command that words begin with.
 *
 * @throws Refusal naming the nearest ones where there is none
 */
export function findCommand(words: string[]): string {
  const [first = '', second = ''] = words
  const found = [`${first} ${second}`, first].find((name) => Object.hasOwn(commands, name))
  if (found === undefined)
    throw new AppError(
      'invalid_input',
      unknownCommand(second === '' || second.startsWith('-') ? first : `${first} ${second}`)
    )
  return found
}

function unknownCommand(named: string): string {
  const [first = ''] = named.split(' ')
  const group = Object.keys(commands).filter((name) => name.startsWith(`${first} `))
  const near = nearNames(named, Object.keys(commands))
  const offered =
    near.length > 0 ? near : group.length > 0 ? group : nearNames(first, Object.keys(commands))
  const what =
    named === first && group.length > 0
      ? `${named} needs a second word`
      : `there is no such command: ${named}`
  return offered.length > 0
    ? `${what}. Did you mean this?\n\n${linesOf(offered)}`
    : `${what}. \`holdfast help\` names all commands`
}

/** A line for each command: its name, and the first sentence of its help. */
function linesOf(names: string[]): string {
  const width = Math.max(...names.map((name) => name.length), 'help <command>'.length)
  return names
    .map((name) =>
      `  ${name.padEnd(width)}   ${/^.*?[.:](?= |$)/.exec(commands[name]?.help ?? '')?.[0].slice(0, -1) ?? ''}`.trimEnd()
    )
    .join('\n')
}
