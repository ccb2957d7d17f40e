import { findInputFault, findTextFault, isEmailAddress } from '../../../src/auth/input.js'
import { findPasswordFault } from '../../../src/auth/new-password.js'
import type { Config } from '../../../src/config.js'
import { AppError } from '../../../src/errors.js'
import type { AuthBody } from './body.js'

/** Endpoints that write their input into a user. */
const writesUser = new Set([
  '/sign-up/email',
  '/update-user',
  '/admin/create-user',
  '/admin/update-user'
])

/** The endpoints that set a password, and in which field. */
const setsPassword: Record<string, string> = {
  '/sign-up/email': 'password',
  '/change-password': 'newPassword',
  '/reset-password': 'newPassword',
  '/email-otp/reset-password': 'password',
  '/verify-email': 'newPassword',
  '/email-otp/verify-email': 'newPassword',
  '/admin/create-user': 'password',
  '/admin/set-user-password': 'newPassword'
}

const texts = ['name', 'image', 'banReason']
/**
 * Fields with an address that the client is redirected to. better-auth puts it into a header
 * unchanged.
 */
const addresses = ['callbackURL', 'errorCallbackURL', 'newUserCallbackURL', 'redirectTo']

/**
 * Checks the fields of a body before any look-up. Otherwise an address with an account and one
 * without would get different answers, depending on whether the fault is found before or after the
 * look-up. better-auth reports missing fields.
 *
 * @param path of the endpoint
 * @throws AppError 400
 */
export async function checkFields(
  path: string,
  body: AuthBody,
  { appName }: Pick<Config, 'appName'>
): Promise<void> {
  refuseFor(findTextFault(body, 'the body'))
  const { data } = body
  const groups = [body, ...(isObject(data) ? [data] : [])]
  for (const fields of groups) {
    for (const field of ['email', 'newEmail']) checkEmail(fields[field])
    if (writesUser.has(path)) checkUser(fields)
  }
  for (const field of addresses) {
    const address = body[field]
    if (typeof address === 'string' && /[^\0-\x7f]/.test(address))
      throw new AppError('invalid_input', `${field} must be percent-encoded`)
  }
  const field = setsPassword[path]
  const password = field === undefined ? undefined : body[field]
  if (typeof password !== 'string') return
  const fault = await findPasswordFault(password, {
    email: typeof body['email'] === 'string' ? body['email'] : undefined,
    appName
  })
  if (fault !== null) throw new AppError(fault)
}

/** Before it is put into lower case. */
function checkEmail(email: unknown): void {
  if (typeof email === 'string' && !isEmailAddress(email)) throw new AppError('invalid_email')
}

function checkUser({ data: _data, ...fields }: AuthBody): void {
  for (const field of texts) {
    const value = fields[field] ?? null
    if (value !== null && typeof value !== 'string')
      throw new AppError('invalid_input', `${field} must be a string`)
  }
  refuseFor(findInputFault('user', fields))
}

function isObject(value: unknown): value is AuthBody {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function refuseFor(fault: string | null): void {
  if (fault !== null) throw new AppError('invalid_input', fault)
}
