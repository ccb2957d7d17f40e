import type { ActiveCheck, Session } from '../../src/session/session.js'

/** No cache may keep an answer: it is about this moment. */
const uncached = { 'cache-control': 'no-store' }

/** The five headers, empty: every 200 has all of them, for a proxy that copies what it finds would else let a client's own through. */
export const noIdentity = { 'remote-user': '', 'remote-email': '', 'remote-name': '', 'remote-groups': '', 'x-session-id': '', ...uncached }

/** Where a session that is shown again and again keeps what was made of it. */
const HEADERS = Symbol('identity headers')

/**
 * Who a request comes from, for what stands behind the proxy. An e-mail address that nobody has verified is left out. Remembered for as
 * long as the copy of the session is.
 */
export function identityHeaders({ session, user }: Pick<ActiveCheck, 'user'> & { session: Session & { [HEADERS]?: typeof noIdentity } }): typeof noIdentity {
  session[HEADERS] ??= {
    'remote-user': user.id,
    'remote-email': user.emailVerified ? encode(user.email) : '',
    'remote-name': encode(user.name),
    'remote-groups': user.roles.map(encode).join(','),
    'x-session-id': session.id,
    ...uncached
  }
  return session[HEADERS]
}

/** Percent-encodes as UTF-8 what a header cannot carry, or a proxy might cut: control characters, non-ASCII, outer spaces; and the percent sign. */
function encode(value: string): string {
  if (/^[!-$&-~]([ -$&-~]*[!-$&-~])?$/.test(value)) return value
  return Array.from(Buffer.from(value), (byte, index) => {
    const isPlain = byte > 0x20 ? byte < 0x7f && byte !== 0x25 : byte === 0x20 && index > 0 && index < Buffer.byteLength(value) - 1
    return isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }).join('')
}
