import type { LoadHook, ResolveHook } from 'node:module'
import { parseProtections, weaken } from './protections.js'

/*
 * Hooks of Node's module loader, which runs them in a thread of its own. A weakened module passes
 * the parameter of its address to the modules of the product that it imports.
 */

/** The parameter of a module's address that names the protections it lacks. */
export const WITHOUT = 'without'

const build = new URL('../../', import.meta.url).href

/** The path of a module of the product in the build, else null. */
function pathOf(url: string): string | null {
  const path = url.startsWith(build) ? url.slice(build.length).replace(/\?.*$/, '') : ''
  return /^(?:src|plugins)\//.test(path) ? path : null
}

function withoutOf(url: string | undefined): string | null {
  return url === undefined || pathOf(url) === null ? null : new URL(url).searchParams.get(WITHOUT)
}

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const resolved = await nextResolve(specifier, context)
  const without = withoutOf(context.parentURL)
  if (without === null || pathOf(resolved.url) === null) return resolved
  const url = new URL(resolved.url)
  url.searchParams.set(WITHOUT, without)
  return { ...resolved, url: url.href }
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context)
  const [path, without] = [pathOf(url), withoutOf(url)]
  if (path === null || without === null || !loaded.source) return loaded
  const text =
    typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
  return { ...loaded, source: weaken(path, text, parseProtections(without.split(','))) }
}
