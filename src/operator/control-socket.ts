import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { AppError, type ErrorCode } from '../errors.js'

/** A command for the process that holds an embedded store. */
export interface ControlRequest {
  operation: string
  args: readonly string[]
  /** Where the command has asked for one: apart from the words, which may be shown. */
  password?: string | undefined
}

/** The answer: a result, or the message of an error, with its code where it is a refusal. */
export type ControlAnswer = { result: unknown } | { error: string; cause?: ErrorCode }

/**
 * Listens in the data directory for commands of the command line, which cannot open an embedded
 * store that a server holds. Call it while holding the directory's lock: what lies at the path is
 * then a dead process's. Only the owner may connect.
 */
export async function listenForControl(
  dataDir: string,
  handle: (request: ControlRequest) => Promise<unknown>
): Promise<Server> {
  const path = socketPath(dataDir)
  rmSync(path, { force: true })
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    answer(socket, handle).catch(() => socket.destroy())
  })
  const umask = process.umask(0o177)
  server.listen(path)
  process.umask(umask)
  await once(server, 'listening')
  return server
}

/** Sends one command to the process that holds the data directory; null when none does. */
export async function askHolder(
  dataDir: string,
  request: ControlRequest
): Promise<ControlAnswer | null> {
  let socket: Socket
  try {
    socket = connect({ path: socketPath(dataDir), allowHalfOpen: true })
    await once(socket, 'connect')
  } catch {
    return null
  }
  socket.end(JSON.stringify(request))
  return JSON.parse(await receive(socket)) as ControlAnswer
}

async function answer(
  socket: Socket,
  handle: (request: ControlRequest) => Promise<unknown>
): Promise<void> {
  try {
    const result = await handle(JSON.parse(await receive(socket)) as ControlRequest)
    socket.end(JSON.stringify({ result } satisfies ControlAnswer))
  } catch (error) {
    const refused = error instanceof AppError ? { cause: error.code } : {}
    socket.end(
      JSON.stringify({
        error: error instanceof Error ? error.message : String(error),
        ...refused
      } satisfies ControlAnswer)
    )
  }
}

// Not stream/consumers: it destroys the socket when the other side has finished, and then nothing
// can be answered.
async function receive(socket: Socket): Promise<string> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'end')
  return Buffer.concat(chunks).toString('utf8')
}

// Longer paths do not fit into a socket's address, and are silently cut.
const LONGEST_PATH_BYTES = 100

function socketPath(dataDir: string): string {
  const path = join(dataDir, 'control.sock')
  if (Buffer.byteLength(path) > LONGEST_PATH_BYTES)
    throw new Error(`the path of DATA_DIR is too long for a socket: ${dataDir}`)
  return path
}
