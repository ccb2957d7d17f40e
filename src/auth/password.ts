import { hash, verify } from '@node-rs/argon2'

/** Argon2id with OWASP's first recommendation (Password Storage Cheat Sheet): 19 MiB, 2 passes, 1 lane. */
const ARGON2ID = 2 // a const enum in the library's types, which isolated modules cannot read
const parameters = { algorithm: ARGON2ID, memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** Hashes a password in libuv's thread pool, off the event loop. */
export function hashPassword(password: string): Promise<string> {
  return hash(password.normalize('NFKC'), parameters)
}

/** Whether the password is the one that was hashed; the hash names its own parameters. */
export function verifyPassword({ hash: stored, password }: { hash: string, password: string }): Promise<boolean> {
  return verify(stored, password.normalize('NFKC'))
}
