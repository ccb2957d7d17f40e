import type { ActiveCheck } from '../../../src/session/session.js'
import type { FastResponse } from '../../fast-path/check-route.js'

/** No cache may keep an answer, which is about this moment; and there is no body. */
const always = { 'cache-control': 'no-store', 'content-length': '0' }

/**
 * The five headers, empty: every 200 has all of them, for a proxy that copies what it finds would
 * else let a client's own through.
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

/** The headers of checks that are shown again, for as long as a copy of the session keeps them. */
const remembered = new WeakMap<ActiveCheck, FastResponse>()

/** Whose session it is, in headers. An e-mail address that was not verified is left out. */
export function identityHeaders(check: ActiveCheck): FastResponse {
  let headers = remembered.get(check)
  if (!headers) remembered.set(check, (headers = identify(check)))
  return headers
}

function identify({ session, user }: ActiveCheck): FastResponse {
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
 * non-ASCII, outer spaces; and the percent sign.
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
