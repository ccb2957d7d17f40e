import {
  Argument,
  InvalidArgumentError,
  Option,
  type Command,
  type CommanderError,
  type CommandUnknownOpts,
  type OptionValues
} from '@commander-js/extra-typings'
import { AppError } from '../errors.js'
import type { Holdfast } from '../holdfast.js'

/** Told how far a long operation has come. */
export type Progress = (done: number, total: number) => void

/** Where a password comes from. Null where the words ask for none. */
export type PasswordSource = 'stdin' | 'prompt' | null

/** How a result is shown. */
interface Showing {
  /** What of a record of its list a terminal shows; all of it without. */
  row?: (record: Record<string, unknown>) => Record<string, unknown>
  /** Whether its JSON has a line for each record. */
  lines?: boolean
  /** Where a result comes in pages: how they are written, and where the next one begins. */
  paged?: PagedResult
}

/** What an operator may ask for. Its words are parsed wherever they arrive: they travel as typed. */
export interface Operation extends Showing {
  /** How it is written, and its help. */
  command: CommandUnknownOpts
  /** @throws AppError for words that are not written as it wants them */
  asks: (args: readonly string[]) => PasswordSource
  /** @throws AppError for words that are not written as it wants them */
  run: (holdfast: Holdfast, args: readonly string[], input: OperationInput) => Promise<unknown>
}

/** A result that comes in pages, each of a run of its own with `--after`. */
export interface PagedResult {
  /** For `--after`; null where the page was the last one. */
  nextOf: (page: unknown) => string | null
  /** Writes the pages as they come; `write` resolves when more can be taken. */
  write: (pages: AsyncIterable<unknown>, write: (text: string) => Promise<void>) => Promise<void>
}

/** What an operation is given beside its words. */
export interface OperationInput {
  onProgress: Progress
  password?: string | undefined
}

/**
 * An operation of a command and what it does with the values that the command has parsed.
 *
 * @param showing `asks` tells from the options where a password comes from
 */
export function operation<Args extends unknown[], Options extends OptionValues>(
  command: Command<Args, Options>,
  run: (
    holdfast: Holdfast,
    args: Args,
    options: Options,
    input: OperationInput
  ) => Promise<unknown>,
  { asks = () => null, ...showing }: Showing & { asks?: (options: Options) => PasswordSource } = {}
): Operation {
  return {
    ...showing,
    command: refusing(command),
    asks(args) {
      parse(command, args)
      return asks(command.opts())
    },
    run(holdfast, args, input) {
      parse(command, args)
      return run(holdfast, command.processedArgs, command.opts(), input)
    }
  }
}

/** @throws AppError */
function parse(command: CommandUnknownOpts, args: readonly string[]): void {
  // Commander would take the option that follows for the value.
  for (const [index, arg] of args.entries()) {
    if (arg === '--') break
    const option = command.options.find(({ long, required }) => required && long === arg)
    if (option && /^-./.test(args[index + 1] ?? ''))
      command.error(
        `option '${option.flags}' argument missing: one that begins with - is written ${arg}=-…`
      )
  }
  command.parse(args, { from: 'user' })
}

/** Columns of help: as those of a table. */
const MAX_WIDTH = 100

/** Has a command throw an AppError where it would write what is wrong and end the process. */
export function refusing<C extends CommandUnknownOpts>(command: C): C {
  command
    .helpOption(false)
    .helpCommand(false)
    .configureOutput({
      writeErr: () => {},
      getOutHelpWidth: () => Math.min(process.stdout.columns || MAX_WIDTH, MAX_WIDTH)
    })
    .exitOverride((error) => {
      throw new AppError('invalid_input', toUsageError(command, error))
    })
  return command
}

function toUsageError(command: CommandUnknownOpts, { code, message }: CommanderError): string {
  if (code === 'commander.help')
    return `a command is missing\n\n${command.helpInformation().trimEnd()}`
  const problem = message
    .replace(/^error: /, '')
    // What stands behind the name of an option may be a password.
    .replace(/(?<=^unknown option ')(--[^=']*=|-[^-])[^]+'/, "$1…'")
  const hint =
    code === 'commander.excessArguments' &&
    command.options.some(({ long }) => long === '--password-stdin')
      ? '\nA password is not written into the command, where others see it.'
      : ''
  const words = typedWords(command)
  const usage = `usage: ${words} ${command.usage()}`.trimEnd()
  return `${problem}${hint}\n${usage}\n\`${words.replace('holdfast', 'holdfast help')}\` tells more`
}

/** A command with the words before it, as it is typed. */
function typedWords(command: CommandUnknownOpts): string {
  return command.parent ? `${typedWords(command.parent)} ${command.name()}` : command.name()
}

/** An argument or the value of an option that must not be empty. */
export function filled(text: string): string {
  if (text === '') throw new InvalidArgumentError('It is empty.')
  return text
}

export const who = new Argument('<e-mail or id>', 'which user').argParser(filled)

/** Records that one list has at most. */
const MAX_LISTED = 1_000

export const limit = new Option('--limit <1 to 1000>', 'how many are listed')
  .default(100)
  .argParser((text) => {
    const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
    if (limit < 1 || limit > MAX_LISTED)
      throw new InvalidArgumentError(`It must be a number from 1 to ${MAX_LISTED}.`)
    return limit
  })

export const after = new Option('--after <id>', 'goes on behind this one, the last of a list')
