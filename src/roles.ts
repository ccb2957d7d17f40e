/** The roles that always exist: every user's, and the administrator's. */
const ALWAYS: readonly string[] = ['user', 'admin']

/**
 * The form of a role. Behind a proxy it is part of a header, and lists of roles are separated by
 * commas.
 */
export const ROLE = /^[A-Za-z0-9._:-]{1,64}$/

/**
 * Roles as they are stored: separated by commas, without spaces, each once. better-auth splits them
 * at commas and compares: with a space it would see another role than `/verify`.
 */
export function normalizeRole(role: string): string {
  return [...new Set(parseRoles(role))].join(',')
}

/**
 * Describes what is wrong with roles that are about to be stored. Null when nothing is.
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

/** A stored role in better-auth's form: rows may be older than `normalizeRole`. */
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
