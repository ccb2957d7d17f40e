import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { parse as parseUuid, stringify as stringifyUuid } from 'uuid'
import type { Pepper, Peppers } from '../secrets/keys.js'
import { StoreUnavailable } from '../errors.js'
import { hashToken } from '../session/session-token.js'

/*
 * A refresh token is "hrt1_" and the base64url of: session id (16 bytes), generation (4), pepper id
 * (4), secret (32), MAC (16), checksum (6). The MAC covers every field before it, under a key that
 * the pepper id names. Otherwise an attacker who has only seen a session id could invent an "older
 * token" and have the session ended as reused. The checksum has no key. It tells a damaged or
 * invented token (400) from a token that another node made with a secret that this one was not
 * given (503). The store keeps SHA-256 of the whole.
 */
const PREFIX = 'hrt1_'
const TOKEN = /^hrt1_[A-Za-z0-9_-]{104}$/
const FOUND = /(?<![A-Za-z0-9_-])hrt1_[A-Za-z0-9_-]{104}(?![A-Za-z0-9_-])/
const SIGNED_BYTES = 56
const MAC_BYTES = 16
const CHECKSUM_BYTES = 6
const LARGEST_GENERATION = 2 ** 31 - 1

/** A refresh token that was made by this server or by one with the same secrets. */
export interface RefreshToken {
  sessionId: string
  generation: number
  secret: Buffer
  /** The hash that the store should hold: "h1_" + base64url(SHA-256). */
  hash: string
}

/**
 * The result of parsing: one of our tokens, not a token, or a token whose pepper this node does not
 * know.
 */
export type ParsedRefreshToken = RefreshToken | 'malformed' | 'unknown_pepper'

/** The first refresh token of a session: generation 0, with a random secret. */
export function firstRefreshToken(
  sessionId: string,
  pepper: Pepper
): { token: string; hash: string } {
  return write(sessionId, 0, randomBytes(32), pepper)
}

/**
 * The token that follows `presented`. The same token, salt and pepper always give the same
 * successor, so a lost answer can be given again without storing a secret. Without the pepper the
 * salt on the row is useless to a thief.
 */
export function deriveSuccessor(
  presented: RefreshToken,
  salt: string,
  pepper: Pepper
): { token: string; hash: string } {
  const secret = createHmac('sha256', pepper.rotation)
    .update(`${presented.sessionId}|${presented.generation}|`)
    .update(presented.secret)
    .update(`|${salt}`)
    .digest()
  return write(presented.sessionId, presented.generation + 1, secret, pepper)
}

/** Reads a refresh token and verifies its MAC. Costs no I/O. */
export function parseRefreshToken(token: string, peppers: Peppers): ParsedRefreshToken {
  if (!TOKEN.test(token)) return 'malformed'
  const bytes = Buffer.from(token.slice(PREFIX.length), 'base64url')
  const checked = bytes.subarray(0, SIGNED_BYTES + MAC_BYTES)
  if (!bytes.subarray(SIGNED_BYTES + MAC_BYTES).equals(checksum(checked))) return 'malformed'
  const signed = bytes.subarray(0, SIGNED_BYTES)
  const pepper = peppers.find(signed.toString('hex', 20, 24))
  if (!pepper) return 'unknown_pepper'
  if (!timingSafeEqual(bytes.subarray(SIGNED_BYTES, SIGNED_BYTES + MAC_BYTES), mac(signed, pepper)))
    return 'malformed'
  return {
    sessionId: stringifyUuid(signed, 0),
    generation: signed.readUInt32BE(16),
    secret: Buffer.from(signed.subarray(24)),
    hash: hashToken(token)
  }
}

/**
 * The parsed token. Null for what is not a token, which the client may be told.
 *
 * @throws StoreUnavailable for a token that another node made with a secret that this one was not
 *   given, because that must not sign the user out
 */
export function getToken(parsed: ParsedRefreshToken): RefreshToken | null {
  if (parsed === 'unknown_pepper')
    throw new StoreUnavailable(
      new Error('the pepper of a refresh token is not configured here (AUTH_SECRET_PREVIOUS)')
    )
  return parsed === 'malformed' ? null : parsed
}

/**
 * The first refresh token in a text, which may have other text around it. Null for none. Used for
 * revocation.
 */
export function findRefreshToken(text: string): string | null {
  return FOUND.exec(text)?.[0] ?? null
}

/** The salt of one rotation: random, and kept on the row. */
export function newSalt(): string {
  return randomBytes(16).toString('base64url')
}

/**
 * The hash of an idempotency key that the store keeps. It includes the session, because clients may
 * choose poor keys.
 */
export function hashIdempotencyKey(sessionId: string, key: string): string {
  return hashToken(`${sessionId}|${key}`)
}

function write(
  sessionId: string,
  generation: number,
  secret: Buffer,
  pepper: Pepper
): { token: string; hash: string } {
  if (generation > LARGEST_GENERATION)
    throw new RangeError('a session cannot rotate its refresh token any more')
  const numbers = Buffer.alloc(8)
  numbers.writeUInt32BE(generation, 0)
  numbers.write(pepper.id, 4, 'hex')
  const signed = Buffer.concat([parseUuid(sessionId), numbers, secret])
  const checked = Buffer.concat([signed, mac(signed, pepper)])
  const token = PREFIX + Buffer.concat([checked, checksum(checked)]).toString('base64url')
  return { token, hash: hashToken(token) }
}

function mac(signed: Uint8Array, pepper: Pepper): Buffer {
  return createHmac('sha256', pepper.mac)
    .update(PREFIX)
    .update(signed)
    .digest()
    .subarray(0, MAC_BYTES)
}

function checksum(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(PREFIX).update(bytes).digest().subarray(0, CHECKSUM_BYTES)
}
