import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Holdfast } from '../../../src/holdfast.js'
import type { AuthBody } from './body.js'

/** better-auth's fields that hold an address to go to. */
const ADDRESSES = ['callbackURL', 'redirectTo', 'errorCallbackURL', 'newUserCallbackURL'] as const

/**
 * Notes the origin that a better-auth error is about.
 *
 * @param code of the error
 */
export function noteOriginFrom(
  { refusedOrigins, auth }: Holdfast,
  { headers }: FastifyRequest,
  code: string,
  body: AuthBody | null
): void {
  if (
    code === 'INVALID_ORIGIN' ||
    code === 'MISSING_OR_NULL_ORIGIN' ||
    code === 'CROSS_SITE_NAVIGATION_LOGIN_BLOCKED'
  ) {
    refusedOrigins.note(headers.origin ?? headers.referer)
  } else if (/^INVALID_(CALLBACK|REDIRECT|ERROR_CALLBACK|NEW_USER_CALLBACK)_URL$/.test(code)) {
    const refused = ADDRESSES.map((field) => body?.[field]).find(
      (address) => typeof address === 'string' && !auth.trustedOrigins.includes(originFrom(address))
    )
    if (typeof refused === 'string') refusedOrigins.note(refused)
  }
}

function originFrom(address: string): string {
  return URL.canParse(address) ? new URL(address).origin : ''
}

/** Notes the origins of refused preflights: the browser sends nothing else after one. */
async function refusedPreflights(
  app: FastifyInstance,
  { holdfast }: { holdfast: Holdfast }
): Promise<void> {
  app.addHook('onRequest', (request, _reply, done) => {
    const { method, headers } = request
    const isPreflight =
      method === 'OPTIONS' && headers['access-control-request-method'] !== undefined
    if (
      isPreflight &&
      headers.origin !== undefined &&
      !holdfast.auth.trustedOrigins.includes(headers.origin)
    )
      holdfast.refusedOrigins.note(headers.origin)
    done()
  })
}

export default fp(refusedPreflights, { name: 'refused-preflights' })
