import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Signs a text (HMAC-SHA256, in base64url).
 *
 * @param keys one for each configured secret; the first one signs
 */
export function signText([key]: readonly Buffer[], text: string): string {
  if (key === undefined) throw new Error('there is no key to sign with')
  return mac(key, text)
}

/** Whether one of the keys has signed a text. */
export function isSignedText(keys: readonly Buffer[], text: string, signature: string): boolean {
  const sent = Buffer.from(signature)
  return keys.some((key) => {
    const right = Buffer.from(mac(key, text))
    return right.length === sent.length && timingSafeEqual(right, sent)
  })
}

function mac(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}
