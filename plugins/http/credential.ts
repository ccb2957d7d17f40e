import type { IncomingMessage } from 'node:http'
import { fastifyCookie } from '@fastify/cookie'
import type { FastifyRequest } from 'fastify'
import type { Auth } from '../../src/auth/auth.js'
import { AppError } from '../../src/errors.js'
import type { Credential } from '../../src/session/session.js'
import { decodePercent, looksLikeSessionToken } from '../../src/session/session-token.js'
import { looksLikeAccessToken } from '../../src/token/access-token.js'

/**
 * The parts of a request that credentials and their protection need. Not every request is
 * Fastify's.
 */
export type Asked = Pick<IncomingMessage, 'method' | 'headers' | 'rawHeaders' | 'socket'>

/** The parts of a Fastify request, with the headers as hooks have left them. */
export function toAsked({ method, headers, raw }: FastifyRequest): Asked {
  return { method, headers, rawHeaders: raw.rawHeaders, socket: raw.socket }
}

/**
 * The credential of a request. A bearer token in Holdfast's form, session token or access token,
 * decides alone. Otherwise the session cookie does. Other schemes and foreign tokens are ignored.
 *
 * @throws AppError 400 `credential_ambiguous` for more than one Authorization header, or session
 *   cookies that differ: a proxy and this server could read different ones, and so see different
 *   users
 */
export function credentialFrom(request: Asked, cookieName: string): Credential | null {
  const { authorization, cookie } = request.headers
  if (authorization !== undefined && countHeaders(request, 'authorization') > 1)
    throw new AppError('credential_ambiguous')
  if (cookie !== undefined && namesTwoSessions(cookie, cookieName))
    throw new AppError('credential_ambiguous')
  const bearer = authorization === undefined ? undefined : bearerFrom(authorization)
  const shown = bearer === undefined ? null : parseBearerToken(bearer)
  if (shown) return shown
  const sent = cookie === undefined ? undefined : fastifyCookie.parse(cookie)[cookieName]
  // A quoted value is the same value (RFC 6265 4.1.1), and better-auth reads it that way.
  const value = sent?.replace(/^"(.*)"$/, '$1')
  return value ? { kind: 'cookie', value } : null
}

const SCHEME = 'bearer '
// A session token in its old form may contain spaces, where a form decoder has read it before.
const BEARER = /^bearer +(hst1_[ -~]*|\S+) *$/i

/** The token of an Authorization header. Undefined for another scheme. */
function bearerFrom(authorization: string): string | undefined {
  const token = authorization.slice(SCHEME.length)
  // The common form: one space, and the rest is the token. Scanning a JWT character by character
  // takes longer than finding its session.
  const isPlain =
    token !== '' && !token.includes(' ') && !token.includes('\t') && !token.includes('\u00a0')
  if (isPlain && authorization.slice(0, SCHEME.length).toLowerCase() === SCHEME) return token
  return BEARER.exec(authorization)?.[1]?.trimEnd()
}

/** The credential for a token in one of Holdfast's forms. Null for a foreign token. */
export function parseBearerToken(token: string): Credential | null {
  if (looksLikeSessionToken(token)) return { kind: 'signed', value: token }
  return looksLikeAccessToken(token) ? { kind: 'access', value: token } : null
}

/** The host that a request names. HTTP/2 has another header for it (RFC 9113 8.3.1). */
export function hostFrom({ headers }: Pick<Asked, 'headers'>): string | undefined {
  const authority = headers[':authority']
  return typeof authority === 'string' ? authority : headers.host
}

/**
 * How often a header was sent. Node silently keeps only the first of several Authorization headers.
 */
export function countHeaders({ rawHeaders }: Pick<Asked, 'rawHeaders'>, name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const sent = rawHeaders[i]
    if (sent?.length === name.length && sent.toLowerCase() === name) count++
  }
  return count
}

/**
 * Whether a Cookie header has this cookie twice with different values: for example one of the host
 * and one of its domain.
 */
export function namesTwoSessions(cookie: string, name: string): boolean {
  const pairs = cookie.split(';').filter((pair) => isCookie(pair, name))
  return (
    pairs.length > 1 &&
    new Set(
      pairs.map((pair) =>
        decodePercent(
          pair
            .slice(pair.indexOf('=') + 1)
            .trim()
            .replace(/^"(.*)"$/, '$1')
        )
      )
    ).size > 1
  )
}

/**
 * Headers that make a browser forget every session cookie of this server. A cookie of the host and
 * one of COOKIE_DOMAIN are two cookies, and the domain may have been set later.
 */
export function expiredSessionCookies({ cookieName, deviceCookie }: Auth): string[] {
  const { domain, ...attributes } = deviceCookie.attributes
  const forms = domain === undefined ? [{}] : [{}, { domain }]
  return forms.map((form) =>
    fastifyCookie.serialize(cookieName, '', { ...attributes, ...form, maxAge: 0 })
  )
}

/**
 * Whether a pair of a Cookie header has this name. Parsers trim names, so `name =value` counts as
 * well.
 */
export function isCookie(pair: string, name: string): boolean {
  return pair.includes('=') && pair.split('=', 1)[0]?.trim() === name
}
