import { createHash, hkdfSync, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../errors.js'

/**
 * A key for each purpose, all derived from one secret (HKDF-SHA256, RFC 5869), so that none can be
 * used in place of another.
 */
export interface SecretKeys {
  /** Names the secret without revealing anything about it: eight hexadecimal digits. */
  readonly id: string
  /** better-auth's secret: signs cookies and bearer tokens, encrypts second-factor secrets. */
  readonly auth: string
  /** Authenticates device proofs. */
  readonly device: string
  /** Kept in the store, to tell whether a node has the secret that signed the store's sessions. */
  readonly check: string
  /** Encrypts the private parts of signing keys. */
  readonly seal: Buffer
  /** Authenticates the names of signing keys. */
  readonly keyId: Buffer
  /** Authenticates copies of sessions in Redis. */
  readonly copies: Buffer
  /** Hashes the names of failed sign-ins, for `account_event`. */
  readonly eventNames: Buffer
  /** Authenticates forms of the pages, and the addresses that a sign-in returns to. */
  readonly pages: Buffer
  /** Derives the links and codes of mails. */
  readonly mail: Buffer
  readonly pepper: Pepper
}

/**
 * The keys of AUTH_SECRET, which sign and encrypt, and of AUTH_SECRET_PREVIOUS, which only verify
 * and decrypt.
 */
export interface Keys extends SecretKeys {
  /** The keys of every configured secret, the current one first. */
  readonly all: readonly [SecretKeys, ...SecretKeys[]]
  /** The keys for refresh tokens. */
  readonly peppers: Peppers
}

/**
 * The keys of one secret for refresh tokens. Tokens and rows name it by `id` (eight hexadecimal
 * digits).
 */
export interface Pepper {
  readonly id: string
  /** Derives successors. */
  readonly rotation: Buffer
  /** Authenticates tokens. */
  readonly mac: Buffer
}

/** The pepper that makes new tokens, and those whose tokens are still valid. */
export interface Peppers {
  readonly current: Pepper
  find(id: string): Pepper | null
}

/** Derives the keys. The same secrets give the same keys on every node. */
export function deriveKeys(authSecret: string, previousSecrets: readonly string[] = []): Keys {
  const current = deriveSecretKeys(authSecret)
  const all = [current, ...previousSecrets.map(deriveSecretKeys)] as const
  const peppers = new Map(all.map(({ pepper }) => [pepper.id, pepper]))
  return {
    ...current,
    all: [...all],
    peppers: { current: current.pepper, find: (id) => peppers.get(id) ?? null }
  }
}

function deriveSecretKeys(secret: string): SecretKeys {
  const derive = (purpose: string) => deriveKey(secret, purpose).toString('base64url')
  return {
    id: nameFrom(deriveKey(secret, 'secret id')),
    auth: derive('better-auth'),
    device: derive('device'),
    check: createHash('sha256').update(derive('key check')).digest('base64url'),
    seal: deriveKey(secret, 'signing key encryption'),
    keyId: deriveKey(secret, 'signing key id'),
    copies: deriveKey(secret, 'session copies'),
    eventNames: deriveKey(secret, 'account event names'),
    pages: deriveKey(secret, 'pages'),
    mail: deriveKey(secret, 'mail'),
    pepper: derivePepper(secret)
  }
}

function derivePepper(authSecret: string): Pepper {
  return {
    id: nameFrom(deriveKey(authSecret, 'refresh token pepper id')),
    rotation: deriveKey(authSecret, 'refresh token rotation'),
    mac: deriveKey(authSecret, 'refresh token mac')
  }
}

function nameFrom(key: Buffer): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 8)
}

function deriveKey(authSecret: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', authSecret, '', `holdfast ${purpose}`, 32))
}

/**
 * The secret of an embedded store: created once, and kept beside the data with mode 0600. Call it
 * while holding the directory's lock. It is written under another name first, so that a crash
 * leaves a whole secret or none.
 */
export function keptSecret(dataDir: string): string {
  const path = join(dataDir, 'auth-secret')
  if (existsSync(path)) {
    const kept = readFileSync(path, 'utf8').trim()
    if (Buffer.byteLength(kept) < 32)
      throw new ConfigError(
        `DATA_DIR: the secret in ${path} is damaged; without it the store's sessions cannot be read`
      )
    return kept
  }
  const secret = randomBytes(48).toString('base64url')
  writeFileSync(`${path}.new`, `${secret}\n`, { mode: 0o600, flush: true })
  renameSync(`${path}.new`, path)
  return secret
}
