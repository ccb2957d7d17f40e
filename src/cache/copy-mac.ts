import { hash } from 'node:crypto'

/** A key that authenticates copies, and the id by which a copy names its key. */
export interface CopyKey {
  readonly id: string
  readonly copies: Buffer
}

/**
 * What a text in Redis is about. A text that was written for another session, version or Redis
 * history does not verify.
 */
export interface CopyPlace {
  readonly kind: 'copy' | 'tombstone'
  /** Names the store, because several stores may share one Redis. */
  readonly storeId: string
  readonly sessionId: string
  readonly version: number
  /** The Redis history on which a copy counts. A tombstone counts on all of them. */
  readonly stamp: string
}

// <key id> "." <mac> "." <text>. A node of version 0.1 expects JSON, and treats this as a miss.
const KEY_ID_LENGTH = 8
/** 132 bits. */
const MAC_LENGTH = 22
const MAC_AT = KEY_ID_LENGTH + 1
const TEXT_AT = MAC_AT + MAC_LENGTH + 1

/**
 * Authenticates what is kept in Redis. An attacker who can write there, without AUTH_SECRET, can
 * make this server forget a copy, but cannot make it believe a forged one.
 */
export class CopyMac {
  readonly #current: Authenticator
  readonly #known: ReadonlyMap<string, Authenticator>

  /** @param keys the first one seals new texts, all of them verify */
  constructor(keys: readonly [CopyKey, ...CopyKey[]]) {
    this.#current = new Authenticator(keys[0])
    this.#known = new Map(keys.map((key) => [key.id, new Authenticator(key)]))
  }

  /** @param text without a line break, because line breaks separate the fields before it */
  seal(place: CopyPlace, text: string): string {
    const { id } = this.#current
    return `${id}.${this.#current.macOf(place, text)}.${text}`
  }

  /** The text, if a known key sealed it for this place; else null. */
  open(place: CopyPlace, sealed: string): string | null {
    const key = this.#known.get(sealed.slice(0, KEY_ID_LENGTH))
    if (!key) return null
    const text = sealed.slice(TEXT_AT)
    return isSame(sealed.slice(MAC_AT, TEXT_AT), `${key.macOf(place, text)}.`) ? text : null
  }
}

const BLOCK = 64
const DIGEST = 32

/**
 * HMAC-SHA256 (RFC 2104) as two hashes of whole buffers. Node's `createHmac` makes a stream for
 * each text, which takes almost twice as long, and every check that Redis answers needs one MAC.
 */
class Authenticator {
  readonly id: string
  #inner: Buffer
  readonly #outer: Buffer

  constructor({ id, copies }: CopyKey) {
    if (copies.length > BLOCK) throw new Error('the key is longer than a block of SHA-256')
    this.id = id
    this.#inner = Buffer.alloc(4096)
    padded(copies, 0x36).copy(this.#inner)
    this.#outer = Buffer.concat([padded(copies, 0x5c), Buffer.alloc(DIGEST)])
  }

  macOf({ kind, storeId, sessionId, version, stamp }: CopyPlace, text: string): string {
    const message = `${kind}\n${storeId}\n${sessionId}\n${version}\n${stamp}\n${this.id}\n${text}`
    this.#makeRoom(BLOCK + 3 * message.length)
    const end = BLOCK + this.#inner.write(message, BLOCK)
    this.#outer.write(hash('sha256', this.#inner.subarray(0, end), 'binary'), BLOCK, 'latin1')
    return hash('sha256', this.#outer, 'base64url').slice(0, MAC_LENGTH)
  }

  #makeRoom(length: number): void {
    if (length <= this.#inner.length) return
    const inner = Buffer.alloc(2 * length)
    this.#inner.copy(inner, 0, 0, BLOCK)
    this.#inner = inner
  }
}

function padded(key: Buffer, pad: number): Buffer {
  const block = Buffer.alloc(BLOCK, pad)
  for (const [at, byte] of key.entries()) block[at] = byte ^ pad
  return block
}

/** Compares two texts in constant time: the time does not tell where they differ. */
function isSame(a: string, b: string): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < b.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
