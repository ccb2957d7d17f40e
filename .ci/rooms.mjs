// The walls of the house: which room may import which, types included. Run it by `npm run lint`.
// A room is a folder or a file. It may import what stands below it in this list, and nothing above.
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize, sep } from 'node:path'
import { pathToFileURL } from 'node:url'

/** From the top to the bottom. A line is a room: all paths that begin so. */
export const rooms = [
  'src/cli/',
  'src/server/',
  'plugins/holdfast.ts',
  'plugins/host-application/',
  'plugins/routes/all-routes.ts',
  'plugins/pages/',
  'plugins/openapi.ts',
  'plugins/openapi/',
  'plugins/routes/auth/',
  'plugins/routes/account/',
  'plugins/routes/sessions/',
  'plugins/routes/token/',
  'plugins/routes/verify/',
  'plugins/routes/session-check/',
  'plugins/routes/introspection/',
  'plugins/routes/well-known/',
  'plugins/routes/health/',
  'plugins/guard.ts',
  'plugins/gateway.ts',
  'plugins/security.ts',
  'plugins/trusted-proxy.ts',
  'plugins/errors.ts',
  'plugins/metrics/',
  'plugins/tracing/',
  'plugins/fast-path/',
  'plugins/limits/',
  'plugins/http/',
  'src/operator/',
  'src/holdfast.ts',
  'src/holdfast/',
  'src/public.ts',
  'src/auth/',
  'src/user/',
  'src/check/',
  'src/token/',
  'src/revocation/',
  'src/cache/',
  'src/cluster/',
  'src/config.ts',
  'src/config/',
  'src/gateway/',
  'src/session/',
  'src/account/',
  'src/counters.ts',
  'src/database/',
  'src/redis/',
  'src/secrets/',
  'src/'
]

const roomOf = (path) => rooms.findIndex((room) => path.startsWith(room))

/**
 * Finds the imports that go up.
 *
 * @param {Map<string, string>} files texts by path
 * @returns {string[]} what is wrong, a line for each
 */
export function findBrokenWalls(files) {
  const broken = []
  for (const [path, text] of files) {
    for (const [, specifier] of text.matchAll(/(?:from|import)[\s(]+'(\.[^']+)'/g)) {
      const target = normalize(join(dirname(path), specifier))
        .replaceAll(sep, '/')
        .replace(/\.js$/, '.ts')
      if (/^(?:src|plugins)\//.test(target) && roomOf(target) < roomOf(path))
        broken.push(`${path} imports ${target}, which stands above it`)
    }
  }
  return broken
}

/** Reads every module of the product below a folder. */
export function readModules(root) {
  const paths = ['src', 'plugins'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .filter((path) => /\.tsx?$/.test(path))
      .map((path) => join(folder, path).replaceAll(sep, '/'))
  )
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const broken = findBrokenWalls(readModules('.'))
  for (const line of broken) process.stderr.write(`${line}\n`)
  if (broken.length > 0) process.exitCode = 1
}
