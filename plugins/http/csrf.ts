import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { AppError } from '../../src/errors.js'
import { hostOf, type Asked } from './credential.js'
import type { ForwardedRequest } from './forwarded-request.js'

/** Methods that change nothing: a cookie authenticates them whoever made the browser send them. */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND'])

/**
 * What a handshake has and no other request: a proxy that asks about one drops `Upgrade` on the
 * way, and passes these on.
 */
const HANDSHAKE_HEADERS = [
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-protocol',
  'sec-websocket-extensions'
] as const

/**
 * Whether a request opens a WebSocket. It comes by GET, and what goes through it afterwards is no
 * request that anybody checks: browsers send cookies with it whichever site opens it (RFC 6455
 * 10.2).
 */
function isHandshake(headers: IncomingHttpHeaders): boolean {
  if (HANDSHAKE_HEADERS.some((name) => headers[name])) return true
  // RFC 8441
  if (headers['sec-fetch-mode'] === 'websocket' || headers[':protocol'] !== undefined) return true
  return [headers.upgrade, headers['x-forwarded-upgrade']].some(
    (upgrade) => upgrade !== undefined && /\bwebsocket\b/i.test(String(upgrade))
  )
}

/** Whether a cookie alone must not authenticate this: it may change something. */
function isChange({ method = '', headers }: Pick<Asked, 'method' | 'headers'>): boolean {
  return !safeMethods.has(method) || isHandshake(headers)
}

/** A header that some proxies send empty where the client sent none. */
function sent(value: string | string[] | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : String(value)
}

/**
 * Whether the browser says that a page of the very same origin asked, or the user alone. No script
 * can write that header, and it says more than `Origin`, which is "null" for the forms of a page
 * with `Referrer-Policy: no-referrer`.
 */
function isOwnPage(site: string | undefined): boolean {
  return site === 'same-origin' || site === 'none'
}

/**
 * For routes of this server and of the application around it: a browser sends cookies with requests
 * that other sites make it send; `Origin` and `Sec-Fetch-Site` tell who asked. A program sends
 * neither.
 *
 * @throws Refusal 403 `origin_refused`
 */
export function refuseForgery(request: FastifyRequest, trustedOrigins: readonly string[]): void {
  if (!isChange(request)) return
  const origin = sent(request.headers.origin)
  const site = sent(request.headers['sec-fetch-site'])
  if (isOwnPage(site)) return
  const isOwn = origin === undefined ? site === undefined : trustedOrigins.includes(origin)
  if (!isOwn) throw new AppError('origin_refused')
}

/**
 * For requests that a proxy asks about. What is changed is behind the proxy: its method and its
 * origin count. Where several methods are named, one that may change something decides.
 *
 * @throws Refusal 403 `origin_refused`
 */
export function refuseForwardedForgery(
  request: Asked,
  { methods, address }: ForwardedRequest,
  trustedOrigins: readonly string[]
): void {
  if (!isChange(request) && methods.every((method) => safeMethods.has(method))) return
  const host = hostOf(request)
  const origin = sent(request.headers.origin)
  const site = sent(request.headers['sec-fetch-site'])
  if (isOwnPage(site)) return
  if (origin === undefined && site === undefined) return // no browser
  const isOwn =
    origin !== undefined &&
    (trustedOrigins.includes(origin) || origin === address?.origin || hostOfOrigin(origin) === host)
  if (!isOwn) throw new AppError('origin_refused')
}

/**
 * The host of a web origin. Another scheme is another application's, whatever its host is called.
 */
function hostOfOrigin(origin: string): string | null {
  const url = URL.canParse(origin) ? new URL(origin) : null
  return url && /^https?:$/.test(url.protocol) ? url.host : null
}
