import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { planned } from './plan.js'

const { findBrokenWalls, readModules, rooms } = (await import(
  new URL('../../.ci/rooms.mjs', import.meta.url).href
)) as {
  rooms: readonly string[]
  findBrokenWalls: (files: ReadonlyMap<string, string>) => string[]
  readModules: (root: string) => Map<string, string>
}
const files = readModules(fileURLToPath(new URL('../../', import.meta.url)))

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

t.test('every plan is about a test file', async (t) => {
  for (const name of planned)
    t.ok(existsSync(new URL(`./${name}.test.js`, import.meta.url)), `${name}.test.ts`)
})
