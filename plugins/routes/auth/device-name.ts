import type { FastifyRequest } from 'fastify'
import { deviceNameFrom } from '../../../src/session/device-name.js'

/** The header in which a client names the device on which a session begins. */
export const DEVICE_NAME_HEADER = 'device-name'

/**
 * The device's name in a request. Null where there is none.
 *
 * @throws AppError 400 where it is not encoded correctly
 */
export function readDeviceName({ headers }: FastifyRequest): string | null {
  const value = headers[DEVICE_NAME_HEADER]
  return value === undefined ? null : deviceNameFrom(String(value))
}
