import { availableParallelism } from 'node:os'
import { hash, verify } from '@node-rs/argon2'
import pLimit from 'p-limit'

/** Argon2id with OWASP's first recommendation (Password Storage Cheat Sheet): 19 MiB, 2 passes, 1 lane. */
const ARGON2ID = 2 // a const enum in the library's types, which isolated modules cannot read
const parameters = { algorithm: ARGON2ID, memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/**
 * How many hashes a process computes at once; further ones wait their turn, the oldest first. One core is left to the event loop, and with
 * it to everybody's checks. libuv's pool has four threads, which DNS and files need as well.
 *
 * @param cores that this process may run on
 */
export function hashesAtOnce(cores: number): number {
  return Math.min(Math.max(1, cores - 1), 3)
}

const inTurn = pLimit(hashesAtOnce(availableParallelism()))

/** Hashes a password in libuv's thread pool, off the event loop. */
export function hashPassword(password: string): Promise<string> {
  return inTurn(() => hash(password.normalize('NFKC'), parameters))
}

/** Whether the password is the one that was hashed; the hash names its own parameters. */
export function verifyPassword({ hash: stored, password }: { hash: string, password: string }): Promise<boolean> {
  return inTurn(() => verify(stored, password.normalize('NFKC')))
}
