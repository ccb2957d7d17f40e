import { createHash, createHmac, hash as digest, randomBytes, timingSafeEqual } from 'node:crypto'
import { parse as parseUuid, v7 as uuidV7 } from 'uuid'

/*
 * A session token is "hst1_" and the base64url of: session id (16 bytes), secret (32), checksum
 * (6). The id makes one key of every copy of a session; the checksum refuses garbage without asking
 * anybody; the secret alone authenticates, and the store keeps only the hash of the whole. On the
 * wire (cookie, bearer, form) a token always carries a signature: "hst1_….<base64url HMAC-SHA256>",
 * in characters that every form and address passes unchanged. better-auth writes the same signature
 * in base64, percent-encoded; so did this server before, and such tokens stay good.
 */
const PREFIX = 'hst1_'
const BODY_LENGTH = 72
/** Where the signature begins. */
const DOT = PREFIX.length + BODY_LENGTH
const TOKEN = /^hst1_[A-Za-z0-9_-]{72}$/
const FOUND = /(?<![A-Za-z0-9_-])hst1_[A-Za-z0-9_-]{72}(?![A-Za-z0-9_-])/
const HANDLE_PREFIX = 'hsh1_'
const HANDLE = /^hsh1_([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})$/

/** A token that is well formed: which session it names, and what the store should hold for it. */
export interface ParsedToken {
  sessionId: string
  hash: string
}

/**
 * A token for a session: a new one, or one that shall stand in for another credential of it inside
 * this process.
 */
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
 * What the store keeps of a token: "h1_" + base64url(SHA-256). A full-entropy secret needs no slow
 * hash; and hashes may be compared as any text, for how far two of them agree tells nobody what to
 * send.
 */
export function hashToken(token: string): string {
  return `h1_${digest('sha256', token, 'base64url')}`
}

/** Whether a bearer credential claims to be a session token: then it alone decides. */
export function looksLikeSessionToken(credential: string): boolean {
  return credential.startsWith(PREFIX)
}

/**
 * A signed token in the one form in which it travels. Reads its older forms: base64, also
 * percent-encoded, and with the blanks that a form decoder makes of plus signs. What is no signed
 * token stays what it is, nearly.
 */
export function toWireForm(signed: string): string {
  const text = decodePercent(signed)
  const signature = text.slice(DOT)
  return (
    text.slice(0, DOT) + signature.replaceAll(/[+ ]/g, '-').replaceAll('/', '_').replace(/=$/, '')
  )
}

/**
 * Takes the signature off a token from the wire; null when it is missing or not ours.
 *
 * @param signed as `toWireForm` makes it
 * @param secrets those whose signatures count
 */
export function verifySignedToken(signed: string, secrets: readonly string[]): string | null {
  const dot = signed.indexOf('.')
  if (dot !== DOT) return null
  const token = signed.slice(0, dot)
  // Compared as text: Node's decoder ignores what is no base64url, so that many texts would pass
  // for one signature.
  const signature = Buffer.from(signed.slice(dot + 1))
  for (const secret of secrets) {
    const expected = Buffer.from(signatureOf(token, secret, 'base64url'))
    if (signature.length === expected.length && timingSafeEqual(signature, expected)) return token
  }
  return null
}

/** Puts the signature on a token. @param encoding `base64` for better-auth, which reads no other */
export function signToken(
  token: string,
  secret: string,
  encoding: 'base64' | 'base64url' = 'base64url'
): string {
  return `${token}.${signatureOf(token, secret, encoding)}`
}

function signatureOf(token: string, secret: string, encoding: 'base64' | 'base64url'): string {
  return createHmac('sha256', secret).update(token).digest(encoding)
}

/**
 * The session token that a text was clearly meant to show, whatever became of its signature on the
 * way and whatever stands around it (quotes, `Bearer`, the name of a cookie); null for none. For
 * those who want to end its session: to whoever has the secret in it, an answer of "done" while the
 * session goes on would be a lie.
 */
export function findSessionToken(text: string): ParsedToken | null {
  const token = FOUND.exec(decodePercent(decodePercent(text)))?.[0]
  return token === undefined ? null : parseSessionToken(token)
}

/** A percent-encoded text decoded; one that is not stays what it is. */
export function decodePercent(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
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
  // Copied into one piece: V8 would keep the pieces, which take eight times the room, as long as a
  // cache keeps the id.
  return Buffer.from(
    `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  ).toString('latin1')
}
