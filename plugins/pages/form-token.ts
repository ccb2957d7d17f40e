import { randomBytes } from 'node:crypto'
import { isSignedText, signText } from '../../src/secrets/signed-text.js'

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
    return signText(this.#keys, toText(cookie, sessionId))
  }

  isRight(token: string, cookie: string | undefined, sessionId: string | null): boolean {
    if (cookie === undefined || cookie === '') return false
    return isSignedText(this.#keys, toText(cookie, sessionId), token)
  }
}

function toText(cookie: string, sessionId: string | null): string {
  return JSON.stringify(['form', cookie, sessionId])
}
