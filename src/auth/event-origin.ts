import { originOutsideRequests, type Origin } from '../account/origin.js'
import { currentCall } from './call-context.js'

/**
 * Who does what the running code does: the person of the call, or the administrator who acts
 * through it, with the client's address; outside of a call, the operator or the server itself. An
 * impersonation is its administrator's doing.
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
