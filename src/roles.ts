/** The roles that there are without being set: everybody's, and the administrator's. */
const ALWAYS: readonly string[] = ['user', 'admin']

/**
 * What a role looks like. It stands in a header behind a proxy, and roles stand in a list with
 * commas.
 */
export const ROLE = /^[A-Za-z0-9._:-]{1,64}$/

/**
 * Roles as they are stored: separated by commas, without blanks, each once. better-auth splits them
 * at commas and compares; a blank would make another role of them for it than for `/verify`.
 */
export function normalizeRole(role: string): string {
  return [...new Set(parseRoles(role))].join(',')
}

/**
 * What is wrong with roles that are about to be stored; null when nothing is.
 *
 * @param configured the setting ROLES
 */
export function wrongRole(role: string, configured: readonly string[]): string | null {
  const names = role.split(',').map((name) => name.trim())
  if (!names.every((name) => ROLE.test(name))) return 'a role must match [A-Za-z0-9._:-]{1,64}'
  const unknown = names.find((name) => !ALWAYS.includes(name) && !configured.includes(name))
  return unknown === undefined
    ? null
    : `there is no role ${unknown}: ROLES lists the roles beside user and admin`
}

/** A role as it lies in the store, for better-auth: rows may be older than `normalizeRole`. */
export function storedRole(role: string | null): string | null {
  return role === null ? null : normalizeRole(role)
}

/** The roles in better-auth's comma-separated form. */
export function parseRoles(role: string | null): string[] {
  return role
    ? role
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean)
    : []
}
