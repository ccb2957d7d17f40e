import type { ErrorCode } from '../errors.js'

/** In Unicode characters, not in bytes or UTF-16 units (NIST SP 800-63B-4 3.1.1.2). */
const MIN_LENGTH = 8
const MAX_LENGTH = 128

/**
 * Limits for better-auth, which counts UTF-16 units and would call 65 emoji too long.
 * `findPasswordFault` decides what may be set. These limits bound what may be tried, with room for
 * every spelling of the longest password.
 */
export const passwordLengths = { minPasswordLength: 1, maxPasswordLength: 1024 }

/** Why a password must not be set. */
export type PasswordFault = Extract<ErrorCode, `password_${string}`>

let commonPasswords: Promise<Set<string>> | undefined

/**
 * Looks for a reason not to set a password. Call it wherever one is set. Signing in with an old
 * password still works.
 *
 * @param about texts that the password must not be, because attackers try them first: the e-mail
 *   address, the application's name
 */
export async function findPasswordFault(
  password: string,
  { email, appName }: { email?: string | undefined; appName?: string } = {}
): Promise<PasswordFault | null> {
  const normalized = password.normalize('NFKC') // as it is hashed
  const length = Array.from(normalized).length
  if (length < MIN_LENGTH) return 'password_too_short'
  if (length > MAX_LENGTH) return 'password_too_long'
  const folded = normalized.toLowerCase()
  const address = email?.toLowerCase()
  if (
    folded === 'holdfast' ||
    folded === appName?.toLowerCase() ||
    folded === address ||
    folded === address?.split('@', 1)[0]
  )
    return 'password_too_common'
  commonPasswords ??= loadCommonPasswords()
  return (await commonPasswords).has(folded) ? 'password_too_common' : null
}

/**
 * Loads the list when a password is set for the first time, because most processes only check
 * sessions. It takes about 3 MB.
 */
async function loadCommonPasswords(): Promise<Set<string>> {
  const { dictionary } = await import('@zxcvbn-ts/language-common')
  return new Set(
    dictionary['passwords-common']
      .map((each) => each.toLowerCase())
      .filter((each) => each.length >= MIN_LENGTH)
  )
}
