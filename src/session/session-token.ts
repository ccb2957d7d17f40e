import { createHash, createHmac, hash as digest, randomBytes, timingSafeEqual } from 'node:crypto'
import { parse as parseUuid, v7 as uuidV7 } from 'uuid'

/*
 * A session token is "hst1_" and the base64url of: session id (16 bytes), secret (32), checksum
 * (6). The id is the key of every copy of the session. The checksum refuses garbage without I/O.
 * Only the secret authenticates, and the store keeps only the hash of the whole token. On the wire
 * (cookie, bearer, form) a token always carries a signature: "hst1_….<base64url HMAC-SHA256>", in
 * characters that every form and address passes unchanged. better-auth writes the same signature in
 * base64, percent-encoded. So did earlier versions of this server, and such tokens stay valid.
 */
const PREFIX = 'hst1_'
const BODY_LENGTH = 72
/** Where the signature begins. */
const DOT = PREFIX.length + BODY_LENGTH
const TOKEN = /^hst1_[A-Za-z0-9_-]{72}$/
const FOUND = /(?<![A-Za-z0-9_-])hst1_[A-Za-z0-9_-]{72}(?![A-Za-z0-9_-])/
const HANDLE_PREFIX = 'hsh1_'
const HANDLE = /^hsh1_([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})$/

/** A well-formed token: the session that it names, and the hash that the store should hold. */
export interface ParsedToken {
  sessionId: string
  hash: string
}

/**
 * Makes a token for a session: for a new session, or as a surrogate for another credential of it
 * inside this process.
 */
export function mintSessionToken(sessionId: string = uuidV7()): ParsedToken & { token: string } {
  const payload = Buffer.concat([parseUuid(sessionId), randomBytes(32)])
  const token = PREFIX + Buffer.concat([payload, checksum(payload)]).toString('base64url')
  return { sessionId, token, hash: hashToken(token) }
}

/** Parses a session token. Null for anything that this server cannot have made. Costs no I/O. */
export function parseSessionToken(token: string): ParsedToken | null {
  if (!TOKEN.test(token)) return null
  const bytes = Buffer.from(token.slice(PREFIX.length), 'base64url')
  const payload = bytes.subarray(0, 48)
  if (!timingSafeEqual(bytes.subarray(48), checksum(payload))) return null
  return { sessionId: toUuid(payload), hash: hashToken(token) }
}

/**
 * What the store keeps of a token: "h1_" + base64url(SHA-256). A full-entropy secret needs no slow
 * hash. Hashes need no constant-time comparison: how far two hashes agree does not tell an attacker
 * which token to send.
 */
export function hashToken(token: string): string {
  return `h1_${digest('sha256', token, 'base64url')}`
}

/** Whether a bearer credential has the form of a session token. Then only it decides. */
export function looksLikeSessionToken(credential: string): boolean {
  return credential.startsWith(PREFIX)
}

/**
 * Rewrites a signed token into the one form in which it travels. Reads its older forms: base64,
 * also percent-encoded, and with the spaces that a form decoder makes of plus signs. A text that is
 * not a signed token stays almost as it is.
 */
export function toWireForm(signed: string): string {
  const text = decodePercent(signed)
  const signature = text.slice(DOT)
  return (
    text.slice(0, DOT) + signature.replaceAll(/[+ ]/g, '-').replaceAll('/', '_').replace(/=$/, '')
  )
}

/**
 * Takes the signature off a token from the wire. Null when it is missing or not valid.
 *
 * @param signed as `toWireForm` makes it
 * @param secrets the secrets whose signatures count
 */
export function verifySignedToken(signed: string, secrets: readonly string[]): string | null {
  const dot = signed.indexOf('.')
  if (dot !== DOT) return null
  const token = signed.slice(0, dot)
  // Compared as text: Node's decoder ignores what is not base64url, so many texts would decode to
  // one signature.
  const signature = Buffer.from(signed.slice(dot + 1))
  for (const secret of secrets) {
    const expected = Buffer.from(sign(token, secret, 'base64url'))
    if (signature.length === expected.length && timingSafeEqual(signature, expected)) return token
  }
  return null
}

/**
 * Puts the signature on a token.
 *
 * @param encoding `base64` for better-auth, which reads no other
 */
export function signToken(
  token: string,
  secret: string,
  encoding: 'base64' | 'base64url' = 'base64url'
): string {
  return `${token}.${sign(token, secret, encoding)}`
}

function sign(token: string, secret: string, encoding: 'base64' | 'base64url'): string {
  return createHmac('sha256', secret).update(token).digest(encoding)
}

/**
 * The session token in a text, even if its signature was damaged or other text stands around it
 * (quotes, `Bearer`, the name of a cookie). Null for none. Used to end its session: a holder of the
 * secret must not get the answer "done" while the session goes on.
 */
export function findSessionToken(text: string): ParsedToken | null {
  const token = FOUND.exec(decodePercent(decodePercent(text)))?.[0]
  return token === undefined ? null : parseSessionToken(token)
}

/** Decodes a percent-encoded text. A text that cannot be decoded is returned unchanged. */
export function decodePercent(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The handle of a session in lists: it can revoke, and never authenticates. */
export function toHandle(sessionId: string): string {
  return HANDLE_PREFIX + sessionId
}

/** The session id in a handle. Null for anything else. */
export function parseHandle(handle: string): string | null {
  return HANDLE.exec(handle)?.[1] ?? null
}

/** Replaces every session token in a text by its handle. */
export function withoutTokens(text: string): string {
  return text.replace(/hst1_[A-Za-z0-9_-]{72}/g, (token) => {
    const parsed = parseSessionToken(token)
    return parsed ? toHandle(parsed.sessionId) : HANDLE_PREFIX
  })
}

function checksum(payload: Uint8Array): Buffer {
  return createHash('sha256').update(PREFIX).update(payload).digest().subarray(0, 6)
}

// Not uuid's stringify: it throws for bytes that are not a UUID, and a checksum is easily forged.
function toUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, 16)
  // Copied into one string: V8 would keep the parts, which take eight times the memory, for as long
  // as a cache keeps the id.
  return Buffer.from(
    `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  ).toString('latin1')
}
