import { randomBytes } from 'node:crypto'
import { hashToken } from '../session/session-token.js'

/** A service that asks about other people's sessions, as lists show it: never with a secret. */
export interface Gateway {
  id: string
  name: string
  createdAt: Date
  lastUsedAt: Date | null
  disabledAt: Date | null
  /** How many secrets of the store are live; two during a change. */
  secrets: number
}

// What needs no encoding in HTTP Basic, a form or a shell.
const ID = /^[A-Za-z0-9_-]{1,64}$/
const CONFIGURED = /^([A-Za-z0-9_-]{1,64}):([A-Za-z0-9_-]{32,256})$/

/** Secrets that one gateway may have at once: more than a change needs would be forgotten ones. */
export const LIVE_SECRETS = 2

/**
 * A new secret of full entropy, with what is kept of it. The prefix lets scanners of source code
 * find a leaked one.
 */
export function mintGatewaySecret(): { secret: string; hash: string } {
  const secret = `hgs1_${randomBytes(32).toString('base64url')}`
  return { secret, hash: hashToken(secret) }
}

export function isGatewayId(id: string): boolean {
  return ID.test(id)
}

/**
 * Reads the entries of GATEWAY_CLIENTS, `id:secret` each; an id may stand twice while its secret
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
