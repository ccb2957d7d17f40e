import { AppError } from '../errors.js'

/** The longest name of a device, in Unicode characters. */
export const LONGEST_DEVICE_NAME = 64

/**
 * Control characters, line ends, direction marks that reorder the text after them, and halves of
 * surrogate pairs.
 */
const UNSHOWABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/**
 * Cleans a device name for storage: one line, without invisible characters. Empty where nothing is
 * left.
 */
export function cleanDeviceName(name: string): string {
  return name.normalize('NFC').replaceAll(UNSHOWABLE, ' ').replaceAll(/\s+/g, ' ').trim()
}

/**
 * Reads the name in a header `Device-Name`: UTF-8, percent-encoded (as JavaScript's
 * `encodeURIComponent` does) or raw. A long name is cut: a sign-in must not fail because of a
 * phone's name.
 *
 * @param value as Node has it, one character for each byte
 * @returns null where nothing is left of it
 * @throws AppError 400 for invalid UTF-8, or a percent sign that encodes nothing
 */
export function deviceNameFrom(value: string): string | null {
  if (/%(?![0-9a-f]{2})/i.test(value)) throw notEncoded()
  const bytes = Buffer.from(
    value.replaceAll(/%(..)/g, (_escape, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    'latin1'
  )
  const name = cleanDeviceName(decode(bytes))
  return Array.from(name).slice(0, LONGEST_DEVICE_NAME).join('').trimEnd() || null
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw notEncoded(error)
  }
}

function notEncoded(cause?: unknown): AppError {
  return new AppError(
    'invalid_input',
    'Device-Name must be UTF-8, percent-encoded: encodeURIComponent(name)',
    { cause }
  )
}
