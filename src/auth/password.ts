import { availableParallelism } from 'node:os'
import { hash, verify } from '@node-rs/argon2'
import { systemClock } from '../clock.js'
import { reportFault } from '../database/fault.js'
import { AppError } from '../errors.js'
import { HashQueue } from './hash-queue.js'
import { currentCall } from './call-context.js'

/**
 * Argon2id with OWASP's first recommendation (Password Storage Cheat Sheet): 19 MiB, 2 passes, 1
 * lane.
 */
const ARGON2ID = 2 // a const enum in the library's types, which isolated modules cannot read
const parameters = { algorithm: ARGON2ID, memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** How long a password may wait for its hash, as expected when it is queued. */
const MAX_WAIT_MS = 2_000

/**
 * How many hashes a process computes at once; further ones wait. One core is left to the event
 * loop, which all checks need. libuv's pool has four threads, which DNS and files need as well.
 *
 * @param cores that this process may run on
 */
export function hashesAtOnce(cores: number): number {
  return Math.min(Math.max(1, cores - 1), 3)
}

/** One for the process, like the pool of threads that computes the hashes. */
const queue = new HashQueue({
  atOnce: hashesAtOnce(availableParallelism()),
  maxWaitMs: MAX_WAIT_MS,
  now: systemClock.monotonic,
  refused: (why) => new AppError('overloaded', why === 'gone' ? 'The client went away.' : undefined)
})

/**
 * Hashes a password in libuv's thread pool, off the event loop.
 *
 * @throws AppError 503 `overloaded` when too many wait, or the call's client disconnected; it
 *   becomes the call's answer
 */
export function hashPassword(password: string): Promise<string> {
  return inTurn(() => hash(password.normalize('NFKC'), parameters))
}

/**
 * An Argon2 hash in the PHC string format. More memory than six digits of KiB could take the whole
 * machine.
 */
const ARGON2_HASH =
  /^\$argon2(?:id|i|d)\$v=\d+\$m=\d{1,6},t=\d{1,2},p=\d{1,2}\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$/

/**
 * Whether the password is the one that was hashed. The hash names its own parameters. Where the
 * store has anything else, for example from an import, no password is right, and the answer takes
 * as long as for a wrong one.
 *
 * @throws AppError as `hashPassword`
 */
export async function verifyPassword({
  hash: stored,
  password
}: {
  hash: string
  password: string
}): Promise<boolean> {
  if (!ARGON2_HASH.test(stored)) {
    await hashPassword(password)
    return false
  }
  try {
    const isRight = await inTurn(() => verify(stored, password.normalize('NFKC')))
    if (isRight) currentCall().shown.password = stored
    return isRight
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'InvalidArg') return false
    throw error
  }
}

async function inTurn<T>(compute: () => Promise<T>): Promise<T> {
  try {
    return await queue.run(currentCall().client, compute)
  } catch (error) {
    // better-auth would turn it into a wrong password, or an error of its own.
    if (error instanceof AppError) reportFault(error)
    throw error
  }
}
