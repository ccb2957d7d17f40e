// Builds in watch mode, and runs a program again whenever what it imports has changed.
//   node .ci/watch.mjs test/token/refresh.test.ts      node .ci/watch.mjs src/cli/main.ts start
import { spawn, spawnSync } from 'node:child_process'

const [source, ...args] = process.argv.slice(2)
if (source === undefined) {
  process.stderr.write('name a file: npm run test:watch -- test/token/refresh.test.ts\n')
  process.exit(2)
}
const program = `dist/${source.replace(/\.ts$/, '.js')}`
const tsc = 'node_modules/typescript/bin/tsc'
for (const step of [['prisma/generate.mjs'], [tsc]]) {
  const { status } = spawnSync(process.execPath, step, { stdio: 'inherit' })
  if (status !== 0 && step[0] !== tsc) process.exit(status ?? 1)
}
const children = [
  spawn(process.execPath, [tsc, '--watch', '--preserveWatchOutput'], { stdio: 'inherit' }),
  spawn(process.execPath, ['--watch', '--enable-source-maps', program, ...args], {
    stdio: 'inherit'
  })
]
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    for (const child of children) child.kill(signal)
  })
