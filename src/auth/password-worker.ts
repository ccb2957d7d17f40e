import { setPriority } from 'node:os'
import { hashSync, verifySync } from '@node-rs/argon2'

/** Argon2id with OWASP's first recommendation (Password Storage Cheat Sheet): 19 MiB, 2 passes, 1 lane. */
const ARGON2ID = 2 // a const enum in the library's types, which isolated modules cannot read
const parameters = { algorithm: ARGON2ID, memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** What a thread of `password.ts` is asked: to hash, or whether a hash is a password's. */
export type Task = { password: string, stored?: never } | { password: string, stored: string }

// Of this thread alone, on Linux: where cores are short, it is the hash that waits, and not the event loop with everybody's checks.
try {
  if (process.platform === 'linux') setPriority(0, 10)
} catch {
  // A container may forbid it: hashes are then as urgent as everything else.
}

export default function work({ password, stored }: Task): string | boolean {
  return stored === undefined ? hashSync(password, parameters) : verifySync(stored, password)
}
