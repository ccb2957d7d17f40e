import { hashHandle, newHandle } from '../mail/proof.js'
import { currentCall } from './call-context.js'

/*
 * The handle of a request for a mail: it tells the browser or app that asked from every other one.
 * A code counts only with it, and a sign-up recognises its owner by it. Browsers keep it in a
 * cookie, apps send it back as a header.
 */

/** The hash of the client's handle. A client without one is given one with the answer. */
export function mailHandleHash(): string {
  const scope = currentCall()
  return hashHandle(scope.newMailHandle ?? scope.mailHandle ?? makeMailHandle())
}

/** Gives the client a new handle, whatever it held before. Returns its hash. */
export function newMailHandleHash(): string {
  return hashHandle(makeMailHandle())
}

/** The hash of the handle that the client has sent. Null where it sent none. */
export function sentMailHandleHash(): string | null {
  const { mailHandle } = currentCall()
  return mailHandle === null ? null : hashHandle(mailHandle)
}

function makeMailHandle(): string {
  return (currentCall().newMailHandle = newHandle())
}
