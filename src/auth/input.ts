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
// PostgreSQL has no NUL in texts, and UTF-8 no lone surrogates: those would be stored as another
// character.
const UNSTORABLE = /[\0\p{Surrogate}]/u

const EMAIL = z.email()
const MAX_EMAIL_LENGTH = 254

/** Whether a text is an e-mail address, as better-auth checks it. */
export function isEmailAddress(text: string): boolean {
  return text.length <= MAX_EMAIL_LENGTH && EMAIL.safeParse(text).success
}

/** What somebody who asks for users sees of one, and may therefore find and sort them by. */
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

/**
 * What better-auth itself writes of a user. `credentialEpoch` is ours alone, and an id is never
 * chosen by anybody.
 */
const createdOfUser: ReadonlySet<string> = new Set(
  [...shownOfUser].filter((field) => field !== 'id')
)
const updatedOfUser: ReadonlySet<string> = new Set(
  [...createdOfUser].filter((field) => field !== 'createdAt')
)

/** What an administrator may write of a user in `data`, where better-auth takes any field. */
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
 * Refuses fields of a user that are no input, whoever asks.
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
 * Refuses what a client may not name in a call: better-auth passes these fields on as they are.
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
 * Refuses values that the store cannot take or that would be dear to carry in every check: objects,
 * NUL characters, overlong names.
 *
 * @throws APIError 400 INVALID_INPUT, and marks the scope: some endpoints swallow it
 */
export function checkInput(model: string, values: Record<string, unknown>): void {
  const fault = findInputFault(model, values)
  if (fault !== null) refuse(fault)
}

/** What is wrong with the values, in words; null where nothing is. */
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
 * What must not be in any text that a client sends: another character would be stored in its place,
 * or none.
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
 * Refuses pages that are none: PostgreSQL fails on a negative offset, and Prisma reads a negative
 * limit as "from the end".
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

/** @throws APIError 400 INVALID_INPUT, and marks the scope */
export function refuse(message: string): never {
  currentCall().invalidInput = true
  throw new APIError('BAD_REQUEST', { code: 'INVALID_INPUT', message })
}
