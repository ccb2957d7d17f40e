import { protections } from '../../src/cluster/protections.js'

const names = Object.keys(protections)

/**
 * Leaves protections out of the caches that this process opens from now on.
 *
 * @throws Error for a name that is no protection's
 */
export function leaveOut(left: readonly string[]): void {
  for (const name of left)
    if (!names.includes(name)) throw new Error(`there is no protection ${name}`)
  Object.assign(protections, Object.fromEntries(names.map((name) => [name, !left.includes(name)])))
}
