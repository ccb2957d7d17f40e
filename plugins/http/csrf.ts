import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { AppError } from '../../src/errors.js'
import { hostFrom, type Asked } from './credential.js'
import type { ForwardedRequest } from './forwarded-request.js'

/**
 * Methods that change nothing. For these a cookie is enough, even if another site made the browser
 * send them.
 */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND'])

/**
 * Headers that only a WebSocket handshake has. A proxy that asks about one drops `Upgrade` on the
 * way, but passes these on.
 */
const HANDSHAKE_HEADERS = [
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-protocol',
  'sec-websocket-extensions'
] as const

/**
 * Whether a request opens a WebSocket. It is a GET, but the messages that follow are not checked.
 * Browsers send cookies with it for any site that opens it (RFC 6455 10.2).
 */
function isHandshake(headers: IncomingHttpHeaders): boolean {
  if (HANDSHAKE_HEADERS.some((name) => headers[name])) return true
  // RFC 8441
  if (headers['sec-fetch-mode'] === 'websocket' || headers[':protocol'] !== undefined) return true
  return [headers.upgrade, headers['x-forwarded-upgrade']].some(
    (upgrade) => upgrade !== undefined && /\bwebsocket\b/i.test(String(upgrade))
  )
}

/** Whether the request may change something. Then a cookie alone must not authenticate it. */
function isChange({ method = '', headers }: Pick<Asked, 'method' | 'headers'>): boolean {
  return !safeMethods.has(method) || isHandshake(headers)
}

/** The value of a header. Some proxies send it empty where the client sent none. */
function sent(value: string | string[] | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : String(value)
}

/**
 * Whether the browser says that a page of the same origin sent the request, or the user directly.
 * Scripts cannot set that header. It says more than `Origin`, which is "null" for the forms of a
 * page with `Referrer-Policy: no-referrer`.
 */
function isOwnPage(site: string | undefined): boolean {
  return site === 'same-origin' || site === 'none'
}

/**
 * Refuses cross-site forgery on routes of this server and of the host application. A browser also
 * sends cookies with requests that other sites make it send. `Origin` and `Sec-Fetch-Site` tell
 * which site asked. A program sends neither.
 *
 * @throws AppError 403 `origin_refused`
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
 * Refuses administration by a cookie from pages of trusted origins, but for ADMIN_ORIGINS. Otherwise
 * a fault in any of them would be enough to act as an administrator who has it open. Pages of other
 * origins are refused anyway, and cannot read what they ask for.
 *
 * @param others the trusted origins that are not our own
 * @throws AppError 403 `origin_refused`
 */
export function refuseForeignAdministration(
  { headers }: FastifyRequest,
  others: readonly string[]
): void {
  const origin = sent(headers.origin)
  if (origin !== undefined && others.includes(origin)) throw new AppError('origin_refused')
}

/**
 * Refuses cross-site forgery in requests that a proxy asks about. The change happens behind the
 * proxy, so the original method and origin count. Where several methods are named, any that may
 * change something decides.
 *
 * @throws AppError 403 `origin_refused`
 */
export function refuseForwardedForgery(
  request: Asked,
  { methods, address }: ForwardedRequest,
  trustedOrigins: readonly string[]
): void {
  if (!isChange(request) && methods.every((method) => safeMethods.has(method))) return
  const host = hostFrom(request)
  const origin = sent(request.headers.origin)
  const site = sent(request.headers['sec-fetch-site'])
  if (isOwnPage(site)) return
  if (origin === undefined && site === undefined) return // not a browser
  const isOwn =
    origin !== undefined &&
    (trustedOrigins.includes(origin) || origin === address?.origin || hostOfOrigin(origin) === host)
  if (!isOwn) throw new AppError('origin_refused')
}

/**
 * The host of a web origin. Null for another scheme, which belongs to another application even with
 * the same host.
 */
function hostOfOrigin(origin: string): string | null {
  const url = URL.canParse(origin) ? new URL(origin) : null
  return url && /^https?:$/.test(url.protocol) ? url.host : null
}
