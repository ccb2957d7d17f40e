import { operations, type Operation } from './operator.js'

/** Every command, in the order in which help names them. */
export const commands: Record<string, Pick<Operation, 'usage' | 'help'>> = {
  start: { usage: 'start', help: 'Serves, with the settings of the environment, until SIGTERM: then requests that are open end first.' },
  migrate: { usage: 'migrate', help: 'Applies the migrations that the store has not seen. Safe to run on several machines at once.' },
  ...operations
}

const outcome = 'Results are tables on a terminal and JSON elsewhere; errors are on stderr, with a status other than 0.'

/** What there is. */
export const usage = `Usage: holdfast <command>

${Object.values(commands).map((command) => `  ${command.usage}`).join('\n')}

${outcome} \`holdfast <command> --help\` says more.
`

/** The help for what the words name: one command, all that begin so, or everything. */
export function helpFor(words: string[]): string {
  const named = words.filter((word) => !word.startsWith('-')).slice(0, 2).join(' ')
  const found = Object.entries(commands).filter(([name]) => named !== '' && (name === named || named.startsWith(`${name} `) || name.startsWith(`${named} `)))
  if (found.length === 0) return usage
  return `${found.map(([, command]) => `Usage: holdfast ${command.usage}\n${command.help ? `\n  ${command.help}\n` : ''}`).join('\n')}\n${outcome}\n`
}
