import { fastifyCookie } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuthCallContext } from '../../../src/auth/call-context.js'
import { isDeviceProof } from '../../../src/auth/device.js'
import type { Holdfast } from '../../../src/holdfast.js'

/** The header in which an app without cookies sends back its `device_token`. */
export const DEVICE_TOKEN_HEADER = 'device-token'
/**
 * The answer header with the device token, for a client that reads its session token from
 * `set-auth-token`.
 */
export const SET_DEVICE_TOKEN_HEADER = 'set-device-token'

/** Device cookies live as long as browsers allow. */
const DEVICE_COOKIE_SECONDS = 400 * 86_400

/**
 * Calls that verify the password of the acting session's user and change the user's credentials,
 * whether or not they begin a new session.
 */
const PROVES_PASSWORD = /\/(change-password|two-factor\/(enable|generate-backup-codes))$/

/** The device proof of a request. Undefined where there is none with the right form. */
export function deviceProofFrom(
  { auth }: Holdfast,
  { headers }: FastifyRequest
): string | undefined {
  const token = headers[DEVICE_TOKEN_HEADER]
  const proof =
    typeof token === 'string'
      ? token
      : headers.cookie === undefined
        ? undefined
        : fastifyCookie.parse(headers.cookie)[auth.deviceCookie.name]
  return proof !== undefined && isDeviceProof(proof) ? proof : undefined
}

/**
 * The device of a request, if it is known to the account with this e-mail address.
 *
 * @throws StoreUnavailable when the store does not answer
 */
export async function knownDevice(
  holdfast: Holdfast,
  request: FastifyRequest,
  email: string
): Promise<string | null> {
  const proof = deviceProofFrom(holdfast, request)
  if (proof === undefined) return null
  const user = await holdfast.prisma.user.findUnique({
    where: { email: email.toLowerCase() },
    select: { id: true, credentialEpoch: true }
  })
  return (
    user && holdfast.devices.find(proof, { userId: user.id, credentialEpoch: user.credentialEpoch })
  )
}

/** Whether the device of a request signed in to an account since its credentials changed. */
export function isKnownDevice(
  holdfast: Holdfast,
  request: FastifyRequest,
  account: { userId: string; credentialEpoch: number }
): boolean {
  const proof = deviceProofFrom(holdfast, request)
  return proof !== undefined && holdfast.devices.find(proof, account) !== null
}

/**
 * A new proof for the device on which the call has begun a session, or has verified the password of
 * its session. It has the epoch that the call read: a password that changes at the same time is not
 * vouched for.
 *
 * @param call `begunHere`: whether its answer gives the client a session
 */
export function newDeviceProof(
  holdfast: Holdfast,
  call: { request: FastifyRequest; scope: AuthCallContext; pathname: string; begunHere: boolean }
): string | null {
  const { request, scope, pathname, begunHere } = call
  const userId = begunHere
    ? scope.insertedFor
    : PROVES_PASSWORD.test(pathname)
      ? (scope.actor?.session.userId ?? null)
      : null
  const credentialEpoch = userId === null ? undefined : scope.epochs.get(userId)
  if (userId === null || credentialEpoch === undefined) return null
  return holdfast.devices.remember(deviceProofFrom(holdfast, request), { userId, credentialEpoch })
}

/** Stores the proof in a cookie. */
export function setDeviceCookie({ auth }: Holdfast, reply: FastifyReply, proof: string): void {
  const { name, attributes } = auth.deviceCookie
  void reply.header(
    'set-cookie',
    fastifyCookie.serialize(name, proof, { ...attributes, maxAge: DEVICE_COOKIE_SECONDS })
  )
}
