import { APIError } from 'better-auth/api'
import { currentScope } from './scope.js'

const longest: Record<string, number> = { name: 256, email: 254, image: 2048, banReason: 1024, role: 1024, userAgent: 16_384 }
const ROLE = /^[A-Za-z0-9._:-]{1,64}$/

/**
 * Refuses values that the store cannot take or that would be dear to carry in every check: NUL characters, overlong names,
 * roles that cannot stand in a header.
 *
 * @throws APIError 400 INVALID_INPUT, and marks the scope: some endpoints swallow it
 */
export function checkInput(model: string, values: Record<string, unknown>): void {
  for (const [field, value] of Object.entries(values)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (typeof item !== 'string') continue
      if (item.includes('\0')) refuse(`${field} must not contain a NUL character`)
      const limit = longest[field]
      if (model !== 'session' && limit !== undefined && item.length > limit) refuse(`${field} must not be longer than ${limit} characters`)
      if (model === 'user' && field === 'role' && !item.split(',').every((role) => ROLE.test(role.trim()))) {
        refuse('a role must match [A-Za-z0-9._:-]{1,64}')
      }
    }
  }
}

function refuse(message: string): never {
  currentScope().invalidInput = true
  throw new APIError('BAD_REQUEST', { code: 'INVALID_INPUT', message })
}
