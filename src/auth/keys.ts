import { createHash, hkdfSync, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../config.js'

/** A key for each purpose, all derived from AUTH_SECRET (HKDF-SHA256, RFC 5869), so that none can stand in for another. */
export interface Keys {
  /** better-auth's secret: signs cookies and bearer tokens, encrypts second-factor secrets. */
  readonly auth: string
  /** Proves that a device signed in before. */
  readonly device: string
  /** Kept in the store: tells whether a node has the secret that the store's sessions were signed with. */
  readonly check: string
}

/** Derives the keys. The same secret gives the same keys on every node. */
export function deriveKeys(authSecret: string): Keys {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', authSecret, '', `holdfast ${purpose}`, 32)).toString('base64url')
  return { auth: derive('better-auth'), device: derive('device'), check: createHash('sha256').update(derive('key check')).digest('base64url') }
}

/**
 * The secret of an embedded store: made once, kept beside the data with mode 0600. Call it while holding the directory's lock.
 * It is written under another name first, so that a crash leaves a whole secret or none.
 */
export function keptSecret(dataDir: string): string {
  const path = join(dataDir, 'auth-secret')
  if (existsSync(path)) {
    const kept = readFileSync(path, 'utf8').trim()
    if (Buffer.byteLength(kept) < 32) throw new ConfigError(`DATA_DIR: the secret in ${path} is damaged; without it the store's sessions cannot be read`)
    return kept
  }
  const secret = randomBytes(48).toString('base64url')
  writeFileSync(`${path}.new`, `${secret}\n`, { mode: 0o600, flush: true })
  renameSync(`${path}.new`, path)
  return secret
}
