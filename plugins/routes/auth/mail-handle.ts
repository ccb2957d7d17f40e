import { fastifyCookie } from '@fastify/cookie'
import type { FastifyRequest } from 'fastify'
import type { Holdfast } from '../../../src/holdfast.js'
import { isHandle } from '../../../src/mail/proof.js'

/** The header in which an app without cookies sends back its `challenge`. */
export const MAIL_CHALLENGE_HEADER = 'mail-challenge'

/** A month: an account that signed up recognises its browser for that long. */
const COOKIE_SECONDS = 30 * 86_400

/** The handle that a client holds of an earlier request for a mail. Null where it has none. */
export function mailHandleFrom({ auth }: Holdfast, { headers }: FastifyRequest): string | null {
  const sent = headers[MAIL_CHALLENGE_HEADER]
  const handle =
    typeof sent === 'string'
      ? sent
      : headers.cookie === undefined
        ? undefined
        : fastifyCookie.parse(headers.cookie)[auth.mailCookie]
  return handle !== undefined && isHandle(handle) ? handle : null
}

/** The cookie that gives a browser its handle. Other hosts neither see nor set it. */
export function mailHandleCookie({ auth }: Holdfast, handle: string): string {
  const { domain: _domain, ...attributes } = auth.deviceCookie.attributes
  return fastifyCookie.serialize(auth.mailCookie, handle, { ...attributes, maxAge: COOKIE_SECONDS })
}
