// The walls of the house, checked by `npm run lint`. A room is a folder or a file. It may import what
// stands below it in this list, types included, and nothing above. What decides reads no clock: one is
// passed to it.
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
  'src/mail/',
  'src/session/',
  'src/account/',
  'src/counters.ts',
  'src/database/',
  'src/redis/',
  'src/secrets/',
  // Imports nothing else of src/, as the lint rules say.
  'src/client/',
  'src/'
]

/** Who may read the machine's clock: programs, the edges of HTTP, and what opens the rooms. */
const clockReaders = [
  'src/clock.ts',
  'src/cli/',
  // Published for other programs. The clock of the device is its default.
  'src/client/',
  'src/server/',
  'src/operator/',
  'src/holdfast.ts',
  'plugins/',
  // What better-auth compares is on the clock that better-auth reads.
  'src/auth/better-auth-clock.ts',
  // One queue for the process.
  'src/auth/password.ts'
]

/** A direct read of a clock, and the name of the clock that makes one. */
const CLOCK_READ =
  /\bDate\.now\b|\bnew Date(?:\(\)|(?!\s*\())|(?<!new )\bDate\(|\bperformance\.(?:now|timeOrigin)\b|\bhrtime\b|\bsystemClock\b/

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

/**
 * Finds the lines that read a clock where one should be passed in.
 *
 * @param {Map<string, string>} files texts by path
 * @returns {string[]} what is wrong, a line for each
 */
export function findClockReads(files) {
  return [...files].flatMap(([path, text]) =>
    clockReaders.some((reader) => path.startsWith(reader))
      ? []
      : text
          .split('\n')
          .flatMap((line, i) =>
            CLOCK_READ.test(line)
              ? [`${path}:${i + 1} reads a clock, which should be passed in (src/clock.ts)`]
              : []
          )
  )
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
  const files = readModules('.')
  const broken = [...findBrokenWalls(files), ...findClockReads(files)]
  for (const line of broken) process.stderr.write(`${line}\n`)
  if (broken.length > 0) process.exitCode = 1
}
