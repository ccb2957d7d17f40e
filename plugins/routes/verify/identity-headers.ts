import type { ActiveCheck } from '../../../src/session/session.js'
import type { FastResponse } from '../../fast-path/check-route.js'

/** Caches must not keep the answer, because it is valid only now. There is no body. */
const always = { 'cache-control': 'no-store', 'content-length': '0' }

/**
 * The five identity headers, empty. Every 200 has all of them: a proxy that copies only those it
 * finds would let the client's own headers through.
 */
export const noIdentity: FastResponse = {
  headers: {
    'remote-user': '',
    'remote-email': '',
    'remote-name': '',
    'remote-groups': '',
    'x-session-id': '',
    ...always
  },
  body: ''
}

/** Headers of checks, kept for as long as a copy of the session keeps the check. */
const remembered = new WeakMap<ActiveCheck, FastResponse>()

/** As `identityHeaders`, for a check that is shown again: the headers are made once. */
export function rememberedIdentityHeaders(check: ActiveCheck): FastResponse {
  let headers = remembered.get(check)
  if (!headers) remembered.set(check, (headers = identityHeaders(check)))
  return headers
}

/** The identity headers of a check. An unverified e-mail address is left out. */
export function identityHeaders({ session, user }: ActiveCheck): FastResponse {
  const headers = {
    'remote-user': user.id,
    'remote-email': user.emailVerified ? encode(user.email) : '',
    'remote-name': encode(user.name),
    'remote-groups': user.roles.map(encode).join(','),
    'x-session-id': session.id,
    ...always
  }
  return { headers, body: '' }
}

/**
 * Percent-encodes as UTF-8 what a header cannot carry, or a proxy might cut: control characters,
 * non-ASCII, outer spaces, and the percent sign itself.
 */
function encode(value: string): string {
  if (/^[!-$&-~]([ -$&-~]*[!-$&-~])?$/.test(value)) return value
  return Array.from(Buffer.from(value), (byte, index) => {
    const isPlain =
      byte > 0x20
        ? byte < 0x7f && byte !== 0x25
        : byte === 0x20 && index > 0 && index < Buffer.byteLength(value) - 1
    return isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }).join('')
}
