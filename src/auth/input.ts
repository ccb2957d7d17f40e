import { APIError } from 'better-auth/api'
import * as z from 'zod'
import { currentCall } from './call-context.js'

const longest: Record<string, number> = {
  name: 256,
  email: 254,
  image: 2048,
  banReason: 1024,
  role: 1024,
  userAgent: 16_384
}
// PostgreSQL has no NUL in texts, and UTF-8 has no lone surrogates: another character would be
// stored.
const UNSTORABLE = /[\0\p{Surrogate}]/u

const EMAIL = z.email()
const MAX_EMAIL_LENGTH = 254

/** Whether a text is an e-mail address, as better-auth checks it. */
export function isEmailAddress(text: string): boolean {
  return text.length <= MAX_EMAIL_LENGTH && EMAIL.safeParse(text).success
}

/** The fields of a user that a client may see in lists, and so may filter and sort by. */
const shownOfUser: ReadonlySet<string> = new Set([
  'id',
  'name',
  'email',
  'emailVerified',
  'image',
  'role',
  'banned',
  'banReason',
  'banExpires',
  'twoFactorEnabled',
  'createdAt',
  'updatedAt'
])
/** A field that a user writes, and lists do not show. */
const LANGUAGE = 'language'

/**
 * The fields that better-auth itself writes. `credentialEpoch` is ours alone, and clients never
 * choose an id.
 */
const createdOfUser: ReadonlySet<string> = new Set(
  [...shownOfUser, LANGUAGE].filter((field) => field !== 'id')
)
const updatedOfUser: ReadonlySet<string> = new Set(
  [...createdOfUser].filter((field) => field !== 'createdAt')
)

/** The fields that an administrator may write in `data`, where better-auth takes any. */
const writtenByAdministrator: ReadonlySet<string> = new Set([
  'name',
  'email',
  'emailVerified',
  'image',
  'role',
  'banned',
  'banReason',
  'banExpires'
])
/** better-auth has codes of its own for these. */
const refusedByBetterAuth = ['id', 'password']

/**
 * Refuses fields of a user that no client may write.
 *
 * @throws APIError 400 INVALID_INPUT
 */
export function checkUserFields(
  use: 'create' | 'update' | 'find',
  fields: readonly string[]
): void {
  const allowed = { create: createdOfUser, update: updatedOfUser, find: shownOfUser }[use]
  const wrong = fields.find((field) => !allowed.has(field))
  if (wrong !== undefined)
    refuse(`${wrong} is not a field of a user that can be ${use === 'find' ? 'searched' : 'set'}`)
}

/**
 * Refuses fields that a client may not name in a call, because better-auth passes them on
 * unchanged.
 *
 * @throws APIError 400 INVALID_INPUT
 */
export function checkClientFields(path: string, body: unknown, query: unknown): void {
  if (path === '/admin/create-user' || path === '/admin/update-user') {
    const left = path === '/admin/update-user' ? refusedByBetterAuth : []
    const wrong = Object.keys(objectAt(body, 'data')).find(
      (field) => !writtenByAdministrator.has(field) && !left.includes(field)
    )
    if (wrong !== undefined) refuse(`${wrong} is not a field of a user that can be set`)
  }
  if (path === '/admin/list-users') {
    for (const parameter of ['searchField', 'filterField', 'sortBy']) {
      const field =
        typeof query === 'object' && query !== null
          ? (query as Record<string, unknown>)[parameter]
          : undefined
      if (typeof field === 'string' && field !== '') checkUserFields('find', [field])
    }
  }
}

function objectAt(value: unknown, field: string): object {
  const found: unknown =
    typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[field] : null
  return typeof found === 'object' && found !== null ? found : {}
}

/**
 * Refuses values that the store cannot take, or that would be expensive to carry in every check:
 * objects, NUL characters, overlong names.
 *
 * @throws APIError 400 INVALID_INPUT, and marks the call context, because some endpoints swallow it
 */
export function checkInput(model: string, values: Record<string, unknown>): void {
  const fault = findInputFault(model, values)
  if (fault !== null) refuse(fault)
}

/** Describes what is wrong with the values. Null where nothing is. */
export function findInputFault(model: string, values: Record<string, unknown>): string | null {
  for (const [field, value] of Object.entries(values)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      // Prisma would read an object as an operator: { set: … }, { increment: … }.
      if (typeof item === 'object' && item !== null && !(item instanceof Date))
        return `${field} must not be an object`
      if (typeof item !== 'string') continue
      if (UNSTORABLE.test(item)) return unstorable(field)
      const limit = longest[field]
      if (model !== 'session' && limit !== undefined && item.length > limit)
        return `${field} must not be longer than ${limit} characters`
    }
  }
  return null
}

/**
 * Looks for characters that must not be in any client text, because the store would replace or drop
 * them.
 */
export function findTextFault(value: unknown, field: string): string | null {
  if (typeof value === 'string') return UNSTORABLE.test(value) ? unstorable(field) : null
  if (typeof value !== 'object' || value === null) return null
  for (const [key, item] of Object.entries(value)) {
    const fault = UNSTORABLE.test(key) ? unstorable('a name of a field') : findTextFault(item, key)
    if (fault !== null) return fault
  }
  return null
}

function unstorable(field: string): string {
  return `${field} must not contain a NUL character or half of a surrogate pair`
}

/**
 * Refuses invalid pages: PostgreSQL fails on a negative offset, and Prisma reads a negative limit
 * as "from the end".
 *
 * @throws APIError 400 INVALID_INPUT
 */
export function checkPage(page: { limit?: number | undefined; offset?: number | undefined }): void {
  for (const [field, value = 0] of Object.entries(page)) {
    if (
      (field === 'limit' || field === 'offset') &&
      (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    )
      refuse(`${field} must be a whole number, and not negative`)
  }
}

/** @throws APIError 400 INVALID_INPUT, and marks the call context */
export function refuse(message: string): never {
  currentCall().invalidInput = true
  throw new APIError('BAD_REQUEST', { code: 'INVALID_INPUT', message })
}
