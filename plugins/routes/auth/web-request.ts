import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Auth } from '../../../src/auth/auth.js'
import { CLIENT_ADDRESS_HEADER } from '../../../src/auth/options.js'
import type { HashClient } from '../../../src/auth/hash-queue.js'
import type { AuthCallContext } from '../../../src/auth/call-context.js'
import type { Holdfast } from '../../../src/holdfast.js'
import { toNetworks } from '../../../src/network.js'
import type { Credential } from '../../../src/session/session.js'
import { decodePercent, toWireForm } from '../../../src/session/session-token.js'
import { authBody } from './body.js'
import { isCookie } from '../../http/credential.js'
import { DEVICE_NAME_HEADER } from './device-name.js'
import { DEVICE_TOKEN_HEADER } from './known-device.js'
import { MAIL_CHALLENGE_HEADER } from './mail-handle.js'
import { challengeCookiesFrom } from './token-transport.js'
import { clientAddress } from '../../http/client-address.js'

// Not forwarded: headers of one connection (RFC 9110 7.6.1), headers that the body decides, and
// headers that a client could forge.
const ownHeaders = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'content-type',
  'content-encoding',
  'expect',
  'host',
  'forwarded',
  'via',
  'x-real-ip',
  'x-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  DEVICE_TOKEN_HEADER,
  DEVICE_NAME_HEADER,
  MAIL_CHALLENGE_HEADER,
  CLIENT_ADDRESS_HEADER
])

/**
 * Makes the request that better-auth's handler takes: with the credential that counts, and without
 * headers that a client could forge.
 */
export function toWebRequest(
  { config, auth }: Holdfast,
  request: FastifyRequest,
  credential: Credential | null,
  { surrogate }: AuthCallContext
): Request {
  const headers = new Headers()
  const isBearer = credential !== null && credential.kind !== 'cookie'
  const { rawHeaders } = request.raw
  // Neither cookie authenticates anybody. A program that sends only these needs no Origin.
  const cookie = withoutCookie(
    withoutCookie(request.headers.cookie ?? '', auth.deviceCookie.name),
    auth.mailCookie
  )
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? ''
    if (name.startsWith(':')) continue // HTTP/2 has the request line among them (RFC 9113 8.3)
    if (name === 'authorization' && !isBearer) continue
    if (name === 'sec-fetch-mode' && isFromProgram(request, cookie)) continue
    if (!ownHeaders.has(name) && !name.startsWith('x-forwarded-'))
      headers.append(name, rawHeaders[i + 1] ?? '')
  }
  // The header that counts decides alone. The other one must not reach better-auth, which would
  // prefer the cookie.
  setCookieHeader(headers, isBearer ? withoutCookie(cookie, auth.cookieName) : cookie)
  if (credential?.kind === 'access') headers.delete('authorization')
  if (surrogate) headers.set('authorization', `Bearer ${auth.signForBetterAuth(surrogate.token)}`)
  const challenge = challengeCookiesFrom(request, auth.cookiePrefix)
  if (challenge !== null) {
    headers.append('cookie', challenge)
    // A page of another origin cannot send that header without a preflight. better-auth wants an
    // Origin with every cookie.
    if (!headers.has('origin')) headers.set('origin', config.baseUrl)
  }
  signHeadersAnew(headers, auth, credential)
  headers.set(CLIENT_ADDRESS_HEADER, clientAddress(request))
  // The parsed body and not the bytes, because a second parser could read something else.
  const body = authBody(request)
  if (body) headers.set('content-type', 'application/json')
  // A request may name a whole address (RFC 9112 3.2.2), whose host the client chose.
  const { pathname, search } = new URL(request.raw.url ?? '/', config.baseUrl)
  return new Request(`${config.baseUrl}${pathname}${search}`, {
    method: request.method === 'HEAD' ? 'GET' : request.method,
    headers,
    ...(body ? { body: JSON.stringify(body) } : {})
  })
}

/** The client of a request, and whether it is still waiting for the answer. */
export function hashClientFrom(request: FastifyRequest, { raw }: FastifyReply): HashClient {
  const gone = new AbortController()
  // A response that has been written closes as well.
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort()
  })
  return { networks: toNetworks(clientAddress(request)), gone: gone.signal }
}

/** The origin of a request, as events record it. */
export function fromWhere(request: FastifyRequest): AuthCallContext['from'] {
  return {
    address: clientAddress(request) || null,
    userAgent: request.headers['user-agent'] ?? null
  }
}

/**
 * Re-signs for better-auth, which knows only the current secret and base64. Tokens that a previous
 * secret has signed, and session tokens in their wire form, are valid as well. `toWireHeaders`
 * converts its answers back.
 */
function signHeadersAnew(headers: Headers, auth: Auth, credential: Credential | null): void {
  const token = credential?.kind === 'signed' ? auth.toBetterAuth(credential.value) : null
  if (token !== null) headers.set('authorization', `Bearer ${token}`)
  const cookie = headers.get('cookie')
  if (cookie === null) return
  const pairs = cookie.split(';').map((pair) => {
    const [name = '', ...rest] = pair.split('=')
    const sent = decodePercent(
      rest
        .join('=')
        .trim()
        .replace(/^"(.*)"$/, '$1')
    )
    const value = isCookie(pair, auth.cookieName) ? auth.toBetterAuth(sent) : auth.resign(sent)
    return value === null ? pair : `${name}=${encodeURIComponent(value)}`
  })
  headers.set('cookie', pairs.join(';'))
}

/**
 * Converts better-auth's answer headers: session tokens in their wire form, in the cookie and in
 * bearer's header.
 */
export function toWireHeaders(
  headers: Headers,
  { cookieName }: Auth
): { cookies: string[]; bearer: string | null } {
  const bearer = headers.get('set-auth-token')
  const cookies = headers.getSetCookie().map((cookie) => {
    const [, value = '', attributes = ''] = /^[^=]+=([^;]*)(.*)$/.exec(cookie) ?? []
    return isCookie(cookie, cookieName) && value !== ''
      ? `${cookieName}=${toWireForm(value)}${attributes}`
      : cookie
  })
  return { cookies, bearer: bearer === null ? null : toWireForm(bearer) }
}

// A script cannot keep a browser from sending these headers. A page may ask for a one-time token,
// but must not get from it the credential that its httpOnly cookie hides. It may have the new
// session's cookie.
export function isFromPage({ headers }: FastifyRequest): boolean {
  return headers.origin !== undefined || headers['sec-fetch-site'] !== undefined
}

// Node's own fetch sends this one header of a browser, for which better-auth would want an Origin.
// A browser sends Sec-Fetch-Site with it.
function isFromProgram({ headers }: FastifyRequest, cookie: string): boolean {
  return headers['sec-fetch-site'] === undefined && headers.origin === undefined && cookie === ''
}

/** A Cookie header without the cookies of this name. */
export function withoutCookie(cookie: string, name: string): string {
  return cookie
    .split(';')
    .filter((pair) => !isCookie(pair, name))
    .join(';')
    .trim()
}

function setCookieHeader(headers: Headers, cookie: string): void {
  if (cookie === '') headers.delete('cookie')
  else headers.set('cookie', cookie)
}
