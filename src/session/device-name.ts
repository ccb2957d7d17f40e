import { AppError } from '../errors.js'

/** The longest name of a device, in Unicode characters. */
export const LONGEST_DEVICE_NAME = 64

/**
 * What moves the cursor or turns the direction of the text after it, and halves of surrogate pairs.
 */
const UNSHOWABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/**
 * A name that a device was given, as it is kept: in one line, without what nobody would see. Empty
 * where nothing is left of it.
 */
export function cleanDeviceName(name: string): string {
  return name.normalize('NFC').replaceAll(UNSHOWABLE, ' ').replaceAll(/\s+/g, ' ').trim()
}

/**
 * The name in a header `Device-Name`: UTF-8, percent-encoded (as JavaScript's `encodeURIComponent`
 * does) or as it is. What is too long is cut off: nobody's sign-in shall fail because of the name
 * of a phone.
 *
 * @param value as Node has it, a character for each byte
 * @returns null where nothing is left of it
 * @throws Refusal 400 where it is not UTF-8, or a percent sign stands by itself
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
