import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/**
 * Tokens in forms, against forged sign-ins ("login CSRF") and forged changes. A token belongs to a
 * random value in a cookie of this browser, and to the session in which the form was shown. So a
 * form from another browser, or of somebody who was signed in before, is not taken.
 */
export class FormTokens {
  readonly #keys: readonly Buffer[]

  /** @param keys one for each configured secret; the first one makes new tokens */
  constructor(keys: readonly Buffer[]) {
    this.#keys = keys
  }

  /** A new value for the cookie: 144 random bits. */
  newCookie(): string {
    return randomBytes(18).toString('base64url')
  }

  /** @param sessionId the session in which the form is shown; null for forms before a sign-in */
  tokenFor(cookie: string, sessionId: string | null): string {
    const [key] = this.#keys
    if (key === undefined) throw new Error('there is no key for form tokens')
    return sign(key, cookie, sessionId)
  }

  isRight(token: string, cookie: string | undefined, sessionId: string | null): boolean {
    if (cookie === undefined || cookie === '') return false
    const sent = Buffer.from(token)
    return this.#keys.some((key) => {
      const right = Buffer.from(sign(key, cookie, sessionId))
      return right.length === sent.length && timingSafeEqual(right, sent)
    })
  }
}

function sign(key: Buffer, cookie: string, sessionId: string | null): string {
  return createHmac('sha256', key)
    .update(JSON.stringify(['form', cookie, sessionId]))
    .digest('base64url')
}
