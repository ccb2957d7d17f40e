import type { FastifyRequest } from 'fastify'
import { deviceNameFrom } from '../../../src/session/device-name.js'

/** The header in which a client says what the device is called on which a session begins. */
export const DEVICE_NAME_HEADER = 'device-name'

/**
 * What the client calls the device; null where it does not say.
 *
 * @throws Refusal 400 where it is not encoded as it should be
 */
export function deviceNameOf({ headers }: FastifyRequest): string | null {
  const value = headers[DEVICE_NAME_HEADER]
  return value === undefined ? null : deviceNameFrom(String(value))
}
