import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { planned } from './plan.js'
import { makeFolder } from './support/folder.js'

const { findBrokenWalls, findClockReads, readModules, rooms } = (await import(
  new URL('../../.ci/rooms.mjs', import.meta.url).href
)) as {
  rooms: readonly string[]
  findBrokenWalls: (files: ReadonlyMap<string, string>) => string[]
  findClockReads: (files: ReadonlyMap<string, string>) => string[]
  readModules: (root: string) => Map<string, string>
}
const files = readModules(fileURLToPath(new URL('../../', import.meta.url)))

const clockReadsIn = (path: string, line: string) => findClockReads(new Map([[path, line]])).length

const pathIn = (room: string) => (room.endsWith('/') ? `${room}planted.ts` : room)

t.test('no module imports what stands above it, types included', async (t) => {
  t.ok(files.size > 150, `${files.size} modules`)
  t.strictSame(findBrokenWalls(files), [])
})

t.test('every room is lived in', async (t) => {
  for (const room of rooms)
    t.ok(
      [...files.keys()].some((path) => path.startsWith(room)),
      room
    )
})

t.test('a planted import into the room above is found, for each room and each kind', async (t) => {
  for (const [i, room] of rooms.entries()) {
    const above = rooms[i - 1]
    if (above === undefined) continue
    const path = pathIn(room)
    const up = '../'.repeat(path.split('/').length - 1)
    const target = `${up}${pathIn(above).replace(/\.ts$/, '.js')}`
    for (const statement of [
      `import { x } from '${target}'`,
      `import type { X } from '${target}'`,
      `export { x } from '${target}'`,
      `import {\n  x\n} from '${target}'`,
      `await import('${target}')`,
      `import '${target}'`
    ])
      t.equal(findBrokenWalls(new Map([[path, statement]])).length, 1, `${room}: ${statement}`)
  }
})

t.test('what decides reads no clock that was not passed to it', async (t) => {
  t.strictSame(findClockReads(files), [])
})

t.test('a planted read of a clock is found, in rooms that decide and for each kind', async (t) => {
  const reads = [
    'const now = Date.now()',
    'constructor(now = Date.now) {',
    'const now = new Date()',
    'const now = new Date',
    'const now = Date()',
    'const now = performance.now()',
    'const now = process.hrtime.bigint()',
    "import { systemClock } from '../clock.js'"
  ]
  const allowed = [
    'const then = new Date(time)',
    'const then = new Date(\n  time\n)',
    "import type { Clock } from '../clock.js'",
    'at: Date'
  ]
  const decides = rooms.filter(
    (room) =>
      room.startsWith('src/') &&
      !['src/cli/', 'src/client/', 'src/server/', 'src/operator/', 'src/holdfast.ts'].includes(room)
  )
  t.ok(decides.length > 10)
  for (const path of decides.map(pathIn)) {
    for (const line of reads) t.equal(clockReadsIn(path, line), 1, `${path}: ${line}`)
    for (const line of allowed) t.equal(clockReadsIn(path, line), 0, `${path}: ${line}`)
  }
})

t.test('every plan is about a test file', async (t) => {
  for (const name of planned)
    t.ok(existsSync(new URL(`./${name}.test.js`, import.meta.url)), `${name}.test.ts`)
})

t.test('the package keeps what was compiled from .ts and .tsx, and nothing else', async (t) => {
  const folder = makeFolder(t, {})
  for (const path of [
    'src/one.ts',
    'plugins/page.tsx',
    'prisma/client.ts',
    ...[
      'src/one.js',
      'src/gone.js',
      'plugins/page.js',
      'plugins/page.js.map',
      'prisma/client.d.ts'
    ].map((file) => `dist/${file}`)
  ]) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), '')
  }
  const prune = fileURLToPath(new URL('../../.ci/prune-dist.mjs', import.meta.url))
  execFileSync(process.execPath, [prune], { cwd: folder })
  for (const [file, stays] of [
    ['src/one.js', true],
    ['src/gone.js', false],
    ['plugins/page.js', true],
    ['plugins/page.js.map', true],
    ['prisma/client.d.ts', true]
  ] as const)
    t.equal(existsSync(join(folder, 'dist', file)), stays, file)
})
