import { originOutsideRequests, type Origin } from '../account/origin.js'
import { currentCall } from './call-context.js'

/**
 * The origin of what the running code does: the user of the call, or the administrator who acts
 * through it, with the client's address. Outside of a call it is the operator or the server itself.
 * An impersonation's acts are its administrator's.
 */
export function currentOrigin(): Origin {
  const { call, actor, from } = currentCall()
  if (!call) return originOutsideRequests()
  const session = actor?.session
  const actorId =
    session?.impersonatedBy ??
    (call.path.startsWith('/admin/') ? session?.userId : undefined) ??
    null
  return {
    actor: actorId === null ? 'person' : 'administrator',
    actorId,
    sessionId: session?.id ?? null,
    ipAddress: from.address,
    userAgent: from.userAgent
  }
}
