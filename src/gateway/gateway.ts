import { randomBytes } from 'node:crypto'
import { hashToken } from '../session/session-token.js'

/** A service that checks other users' sessions, as lists show it: never with a secret. */
export interface Gateway {
  id: string
  name: string
  createdAt: Date
  lastUsedAt: Date | null
  disabledAt: Date | null
  /** How many of its secrets in the store are live: two during a change. */
  secrets: number
}

// Characters that need no encoding in HTTP Basic, a form or a shell.
const ID = /^[A-Za-z0-9_-]{1,64}$/
const CONFIGURED = /^([A-Za-z0-9_-]{1,64}):([A-Za-z0-9_-]{32,256})$/

/** Secrets that one gateway may have at once. More than a change needs would be forgotten ones. */
export const LIVE_SECRETS = 2

/**
 * Makes a secret of full entropy, and the hash that is kept. Its prefix lets scanners of source
 * code find a leaked one.
 */
export function mintGatewaySecret(): { secret: string; hash: string } {
  const secret = `hgs1_${randomBytes(32).toString('base64url')}`
  return { secret, hash: hashToken(secret) }
}

export function isGatewayId(id: string): boolean {
  return ID.test(id)
}

/**
 * Parses the entries of GATEWAY_CLIENTS, `id:secret` each. An id may occur twice while its secret
 * changes.
 *
 * @returns the hashes of each gateway's secrets; null where an entry is wrong
 */
export function parseGatewayClients(entries: readonly string[]): Map<string, string[]> | null {
  const gateways = new Map<string, string[]>()
  for (const entry of entries) {
    const [, id, secret] = CONFIGURED.exec(entry) ?? []
    if (id === undefined || secret === undefined) return null
    const hashes = [...(gateways.get(id) ?? []), hashToken(secret)]
    if (hashes.length > LIVE_SECRETS) return null
    gateways.set(id, hashes)
  }
  return gateways
}
