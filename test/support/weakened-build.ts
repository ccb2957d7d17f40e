import { register } from 'node:module'
import type holdfast from '../../plugins/holdfast.js'
import { parseProtections } from './protections.js'
import { WITHOUT } from './weakened-build-hooks.js'

let registered = false

/**
 * The plugin, without some of its protections. They are taken out of the text of its modules while
 * Node loads them (`weakened-build-hooks.ts`). The product itself can leave none out. A weakened
 * plugin has modules of its own, so that several may run in one process, beside the real one.
 *
 * @param without names of protections
 * @throws Error for a name that is no protection's, and when the code of one is not found
 */
export async function loadHoldfast(without: readonly string[]): Promise<typeof holdfast> {
  const address = new URL('../../plugins/holdfast.js', import.meta.url)
  const names = parseProtections(without)
  if (names.length > 0) {
    if (!registered) register('./weakened-build-hooks.js', import.meta.url)
    registered = true
    address.searchParams.set(WITHOUT, names.join())
  }
  return ((await import(address.href)) as { default: typeof holdfast }).default
}
