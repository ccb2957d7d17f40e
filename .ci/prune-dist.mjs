// Removes from dist what was compiled from a file that is gone: it would be packed.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

for (const folder of ['src', 'plugins', 'prisma']) {
  for (const name of readdirSync(join('dist', folder), { recursive: true, encoding: 'utf8' })) {
    const [, source] = /^(.+?)(?:\.js|\.js\.map|\.d\.ts)$/.exec(name) ?? []
    if (source === undefined) continue
    if (!['ts', 'tsx'].some((ending) => existsSync(join(folder, `${source}.${ending}`))))
      rmSync(join('dist', folder, name))
  }
}
