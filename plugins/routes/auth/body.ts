import type { FastifyRequest } from 'fastify'
import { AppError } from '../../../src/errors.js'

/** The body of a request to better-auth, parsed: an object of JSON values. */
export type AuthBody = Readonly<Record<string, unknown>>

const JSON_TYPE = 'application/json'
const FORM_TYPE = 'application/x-www-form-urlencoded'

/** Deepest nesting of a body. The deepest that an endpoint takes is three. */
const MAX_DEPTH = 16

// Own properties with these names become a prototype in a library that copies them.
const refusedKeys = new Set(['__proto__', 'constructor', 'prototype'])

const bodies = new WeakMap<FastifyRequest, AuthBody>()

/** The body that limits, field checks and better-auth all see. Null where there is none. */
export function authBody(request: FastifyRequest): AuthBody | null {
  return bodies.get(request) ?? null
}

/** Replaces the body for everything that reads it from now on. */
export function setAuthBody(request: FastifyRequest, body: AuthBody): void {
  bodies.set(request, body)
}

/**
 * Parses a body once. better-auth gets the result and never the bytes, so that no second parser can
 * read another value from them: by another media type, the other one of two fields of a name, or
 * another charset.
 *
 * @param takesForms whether the endpoint takes forms; another site's page can send a form without a
 *   preflight, so only endpoints that check the origin themselves may take one
 * @throws AppError 415 for a type, charset or encoding that is not supported; 400 for a body that
 *   is not an object
 */
export function readAuthBody(
  request: FastifyRequest,
  bytes: Buffer,
  { takesForms }: { takesForms: boolean }
): AuthBody {
  const type = mediaType(request)
  if (type !== JSON_TYPE && (type !== FORM_TYPE || !takesForms)) {
    throw new AppError(
      'unsupported_media_type',
      takesForms
        ? `A body must be ${JSON_TYPE} or ${FORM_TYPE}`
        : `A body must be ${JSON_TYPE} here`
    )
  }
  const body = type === JSON_TYPE ? parseJson(bytes) : parseForm(bytes)
  setAuthBody(request, body)
  return body
}

/**
 * The media type without its parameters (RFC 9110 8.3.1). The only charset is UTF-8. Two types were
 * refused earlier (`faultOfHeaders`).
 */
function mediaType(request: FastifyRequest): string {
  const [essence = '', ...parameters] = (request.headers['content-type'] ?? '').split(';')
  for (const parameter of parameters) {
    const [, charset] = /^\s*charset\s*=\s*"?([^"]*?)"?\s*$/i.exec(parameter) ?? []
    if (charset !== undefined && !/^utf-?8$/i.test(charset))
      throw new AppError('unsupported_media_type', 'The charset of a body must be UTF-8')
  }
  return essence.trim().toLowerCase()
}

function parseJson(bytes: Buffer): AuthBody {
  const value = toJson(decodeUtf8(bytes, { ignoreBOM: false }))
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new AppError('invalid_input', 'The body must be a JSON object')
  checkShape(value, MAX_DEPTH)
  return value as AuthBody
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new AppError('invalid_input', 'The body is not valid JSON')
  }
}

/**
 * As URLSearchParams, except that invalid UTF-8 is refused instead of replaced. The last field of a
 * name counts.
 */
function parseForm(bytes: Buffer): AuthBody {
  const fields = new Map<string, string>()
  for (const pair of bytes.toString('latin1').split('&')) {
    if (pair === '') continue
    const at = pair.includes('=') ? pair.indexOf('=') : pair.length
    fields.set(decodeField(pair.slice(0, at)), decodeField(pair.slice(at + 1)))
  }
  const value = Object.fromEntries(fields)
  checkShape(value, MAX_DEPTH)
  return value
}

function decodeField(encoded: string): string {
  const bytes = encoded
    .replaceAll('+', ' ')
    .replaceAll(/%([0-9a-f]{2})/gi, (_escape, hex: string) =>
      String.fromCharCode(parseInt(hex, 16))
    )
  return decodeUtf8(Buffer.from(bytes, 'latin1'), { ignoreBOM: true })
}

function decodeUtf8(bytes: Buffer, { ignoreBOM }: { ignoreBOM: boolean }): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM }).decode(bytes)
  } catch {
    throw new AppError('invalid_input', 'The body is not valid UTF-8')
  }
}

/** Checks the nesting depth, so that later code may recurse. */
function checkShape(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return
  if (depth === 0)
    throw new AppError(
      'invalid_input',
      `The body must not be nested deeper than ${MAX_DEPTH} levels`
    )
  for (const [key, item] of Object.entries(value)) {
    if (refusedKeys.has(key))
      throw new AppError('invalid_input', `The body must not have a field named ${key}`)
    checkShape(item, depth - 1)
  }
}
