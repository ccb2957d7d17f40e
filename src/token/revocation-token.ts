import { createHmac, timingSafeEqual } from 'node:crypto'
import { parse as parseUuid, stringify as stringifyUuid } from 'uuid'
import type { Pepper, Peppers } from '../secrets/keys.js'

/*
 * A revocation token is "hrv1_" and the base64url of: session id (16 bytes), pepper id (4), MAC (16).
 * It ends its session and is good for nothing else, so that a client may keep it for a sign-out that
 * has not been answered yet. It does not change while the session lives.
 */
const PREFIX = 'hrv1_'
const FOUND = /(?<![A-Za-z0-9_-])hrv1_[A-Za-z0-9_-]{48}(?![A-Za-z0-9_-])/
const SIGNED_BYTES = 20
const MAC_BYTES = 16

/** The revocation token of a session. */
export function revocationToken(sessionId: string, pepper: Pepper): string {
  const signed = Buffer.concat([parseUuid(sessionId), Buffer.from(pepper.id, 'hex')])
  return PREFIX + Buffer.concat([signed, mac(signed, pepper)]).toString('base64url')
}

/** The session of the first revocation token in a text. Null where there is none of this server. */
export function sessionOfRevocationToken(text: string, peppers: Peppers): string | null {
  const token = FOUND.exec(text)?.[0]
  if (token === undefined) return null
  const bytes = Buffer.from(token.slice(PREFIX.length), 'base64url')
  const signed = bytes.subarray(0, SIGNED_BYTES)
  const pepper = peppers.find(signed.toString('hex', 16))
  if (!pepper || !timingSafeEqual(bytes.subarray(SIGNED_BYTES), mac(signed, pepper))) return null
  return stringifyUuid(signed, 0)
}

function mac(signed: Uint8Array, pepper: Pepper): Buffer {
  return createHmac('sha256', pepper.mac)
    .update(PREFIX)
    .update(signed)
    .digest()
    .subarray(0, MAC_BYTES)
}
