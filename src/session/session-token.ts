import { createHash, createHmac, hash as digest, randomBytes, timingSafeEqual } from 'node:crypto'
import { parse as parseUuid, v7 as uuidV7 } from 'uuid'

/*
 * A session token is "hst1_" and the base64url of: session id (16 bytes), secret (32), checksum (6).
 * The id makes one key of every copy of a session; the checksum refuses garbage without asking anybody;
 * the secret alone authenticates, and the store keeps only the hash of the whole.
 * On the wire (cookie, bearer) a token always carries better-auth's signature: "hst1_….<base64 HMAC-SHA256>".
 */
const PREFIX = 'hst1_'
const BODY_LENGTH = 72
const TOKEN = /^hst1_[A-Za-z0-9_-]{72}$/
const HANDLE_PREFIX = 'hsh1_'
const HANDLE = /^hsh1_([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})$/

/** A token that is well formed: which session it names, and what the store should hold for it. */
export interface ParsedToken {
  sessionId: string
  hash: string
}

/** A token for a session: a new one, or one that shall stand in for another credential of it inside this process. */
export function mintSessionToken(sessionId: string = uuidV7()): ParsedToken & { token: string } {
  const payload = Buffer.concat([parseUuid(sessionId), randomBytes(32)])
  const token = PREFIX + Buffer.concat([payload, checksum(payload)]).toString('base64url')
  return { sessionId, token, hash: hashToken(token) }
}

/** Reads a session token; null for anything that this server cannot have minted. Costs no I/O. */
export function parseSessionToken(token: string): ParsedToken | null {
  if (!TOKEN.test(token)) return null
  const bytes = Buffer.from(token.slice(PREFIX.length), 'base64url')
  const payload = bytes.subarray(0, 48)
  if (!timingSafeEqual(bytes.subarray(48), checksum(payload))) return null
  return { sessionId: toUuid(payload), hash: hashToken(token) }
}

/**
 * What the store keeps of a token: "h1_" + base64url(SHA-256). A full-entropy secret needs no slow hash; and hashes may be compared as any
 * text, for how far two of them agree tells nobody what to send.
 */
export function hashToken(token: string): string {
  return `h1_${digest('sha256', token, 'base64url')}`
}

/** Whether a bearer credential claims to be a session token: then it alone decides. */
export function looksLikeSessionToken(credential: string): boolean {
  return credential.startsWith(PREFIX)
}

/**
 * Takes the signature off a token from the wire; null when it is missing or not ours.
 *
 * @param secrets those whose signatures count
 */
export function verifySignedToken(signed: string, secrets: readonly string[]): string | null {
  const dot = signed.indexOf('.')
  if (dot !== PREFIX.length + BODY_LENGTH) return null
  const token = signed.slice(0, dot)
  // Compared as text: Node's base64 decoder ignores what is no base64, so that many texts would pass for one signature.
  const signature = Buffer.from(signed.slice(dot + 1))
  for (const secret of secrets) {
    const expected = Buffer.from(signatureOf(token, secret))
    if (signature.length === expected.length && timingSafeEqual(signature, expected)) return token
  }
  return null
}

/** Puts the signature on a token (better-auth's: HMAC-SHA256 in base64). */
export function signToken(token: string, secret: string): string {
  return `${token}.${signatureOf(token, secret)}`
}

function signatureOf(token: string, secret: string): string {
  return createHmac('sha256', secret).update(token).digest('base64')
}

/** The name under which lists show a session: it can revoke, and never authenticates. */
export function handleOf(sessionId: string): string {
  return HANDLE_PREFIX + sessionId
}

/** The session id in a handle; null for anything else. */
export function parseHandle(handle: string): string | null {
  return HANDLE.exec(handle)?.[1] ?? null
}

/** Replaces every session token in a text by its handle. */
export function withoutTokens(text: string): string {
  return text.replace(/hst1_[A-Za-z0-9_-]{72}/g, (token) => {
    const parsed = parseSessionToken(token)
    return parsed ? handleOf(parsed.sessionId) : HANDLE_PREFIX
  })
}

function checksum(payload: Uint8Array): Buffer {
  return createHash('sha256').update(PREFIX).update(payload).digest().subarray(0, 6)
}

// Not uuid's stringify: it throws for bytes that are no UUID, and a checksum is easily forged.
function toUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, 16)
  // Copied into one piece: V8 would keep the pieces, which take eight times the room, as long as a cache keeps the id.
  return Buffer.from(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`).toString('latin1')
}
