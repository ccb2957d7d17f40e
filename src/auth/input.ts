import { APIError } from 'better-auth/api'
import { currentScope } from './scope.js'

const longest: Record<string, number> = { name: 256, email: 254, image: 2048, banReason: 1024, role: 1024, userAgent: 16_384 }
// PostgreSQL has no NUL in texts, and UTF-8 no lone surrogates: those would be stored as another character.
const UNSTORABLE = /[\0\p{Surrogate}]/u
const ROLE = /^[A-Za-z0-9._:-]{1,64}$/

/**
 * Refuses values that the store cannot take or that would be dear to carry in every check: objects, NUL characters,
 * overlong names, roles that cannot stand in a header.
 *
 * @throws APIError 400 INVALID_INPUT, and marks the scope: some endpoints swallow it
 */
export function checkInput(model: string, values: Record<string, unknown>): void {
  for (const [field, value] of Object.entries(values)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      // Prisma would read an object as an operator: { set: … }, { increment: … }.
      if (typeof item === 'object' && item !== null && !(item instanceof Date)) refuse(`${field} must not be an object`)
      if (typeof item !== 'string') continue
      if (UNSTORABLE.test(item)) refuse(`${field} must not contain a NUL character or half of a surrogate pair`)
      const limit = longest[field]
      if (model !== 'session' && limit !== undefined && item.length > limit) refuse(`${field} must not be longer than ${limit} characters`)
      if (model === 'user' && field === 'role' && !item.split(',').every((role) => ROLE.test(role.trim()))) {
        refuse('a role must match [A-Za-z0-9._:-]{1,64}')
      }
    }
  }
}

/**
 * Refuses pages that are none: PostgreSQL fails on a negative offset, and Prisma reads a negative limit as "from the end".
 *
 * @throws APIError 400 INVALID_INPUT
 */
export function checkPage(page: { limit?: number | undefined, offset?: number | undefined }): void {
  for (const [field, value = 0] of Object.entries(page)) {
    if ((field === 'limit' || field === 'offset') && (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)) refuse(`${field} must be a whole number, and not negative`)
  }
}

function refuse(message: string): never {
  currentScope().invalidInput = true
  throw new APIError('BAD_REQUEST', { code: 'INVALID_INPUT', message })
}
