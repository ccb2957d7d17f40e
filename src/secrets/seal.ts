import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { Keys } from './keys.js'

/*
 * A sealed text is "<id of the secret>.<base64url of: nonce (12 bytes), tag (16), ciphertext>":
 * AES-256-GCM under a key of that secret. The purpose is authenticated with it: a text that was
 * copied to another row does not open there.
 */
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Encrypts a text under the current secret. */
export function seal({ id, seal: key }: Keys, text: string, purpose: string): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(purpose))
  const ciphertext = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return `${id}.${Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64url')}`
}

/** Decrypts a sealed text. Null when no known secret sealed it, or not for this purpose. */
export function unseal({ all }: Keys, sealed: string, purpose: string): string | null {
  const [id, body = ''] = sealed.split('.')
  const key = all.find((keys) => keys.id === id)?.seal
  const bytes = Buffer.from(body, 'base64url')
  if (!key || bytes.length < NONCE_BYTES + TAG_BYTES) return null
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES
  })
    .setAAD(Buffer.from(purpose))
    .setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
  try {
    return Buffer.concat([
      decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)),
      decipher.final()
    ]).toString('utf8')
  } catch {
    return null
  }
}

/** Whether a sealed text must be re-sealed before a previous secret is removed. */
export function isSealedByPrevious({ id }: Keys, sealed: string): boolean {
  return !sealed.startsWith(`${id}.`)
}
