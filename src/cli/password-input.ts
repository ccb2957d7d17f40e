import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { AppError } from '../errors.js'

/** No password is longer, however it is encoded. */
const MOST_BYTES = 4_096

/**
 * Reads a password for a command: from standard input, or from a terminal, where it is typed twice
 * without an echo. It is never a word of a command: other users of the machine could see it, and
 * the shell's history would keep it.
 *
 * @throws AppError where there is none, and where one must be typed and there is no terminal
 */
export async function readPassword(from: 'stdin' | 'prompt' | null): Promise<string | undefined> {
  if (from === null) return undefined
  return from === 'stdin' && !process.stdin.isTTY ? readInput() : askTwice()
}

async function readInput(): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MOST_BYTES)
      throw new AppError('invalid_input', 'standard input is too long for a password')
    chunks.push(chunk)
  }
  const password = decode(Buffer.concat(chunks)).replace(/\r?\n$/, '')
  if (password === '') throw new AppError('invalid_input', 'there is no password on standard input')
  if (/[\r\n]/.test(password))
    throw new AppError('invalid_input', 'a password is one line on standard input')
  return password
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new AppError('invalid_input', 'the password on standard input is not UTF-8', {
      cause: error
    })
  }
}

async function askTwice(): Promise<string> {
  if (!process.stdin.isTTY)
    throw new AppError(
      'invalid_input',
      'standard input is no terminal, and nobody can be asked: use --password-stdin'
    )
  const password = await ask('New password: ')
  if (password === '') throw new AppError('invalid_input', 'there is no password')
  if ((await ask('Once more: ')) !== password)
    throw new AppError('invalid_input', 'these are two different passwords: nothing was changed')
  return password
}

/** Asks on stderr, which leaves stdout to the result. */
function ask(question: string): Promise<string> {
  const silent = new Writable({
    write: (_chunk, _encoding, done) => {
      done()
    }
  })
  // With a terminal as output, readline takes the echo from it; what it would draw itself goes
  // nowhere.
  const lines = createInterface({
    input: process.stdin,
    output: silent,
    terminal: true,
    historySize: 0
  })
  process.stderr.write(question)
  return new Promise<string>((resolve, reject) => {
    lines.once('line', (line) => {
      resolve(line)
      lines.close()
    })
    lines.once('close', () => {
      process.stderr.write('\n')
      // Ctrl-C or Ctrl-D; after a line it says nothing
      reject(new AppError('invalid_input', 'no password was given: nothing was changed'))
    })
  })
}
