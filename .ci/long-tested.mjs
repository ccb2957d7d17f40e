// Whether the long tests have passed on the code that they guard. Ends with status 1 where that code
// has changed since. `--record` notes the code as it is: `npm run test:long` does so when
// all have passed in every mode.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

const RECORD = '.ci/long-tested'
const guarded = [
  'src',
  'plugins',
  'prisma',
  'test',
  'package.json',
  'package-lock.json',
  'tsconfig.json'
]

// The plan says when a file runs, and not what it shows.
const left = ':!test/plan.ts'

const paths = execFileSync('git', ['ls-files', ...guarded, left], { encoding: 'utf8' })
  .trim()
  .split('\n')
const digest = createHash('sha256')
for (const path of paths) digest.update(path).update(readFileSync(path))
const now = digest.digest('hex')

if (process.argv.includes('--record')) writeFileSync(RECORD, `${now}\n`)
else {
  const isTested = readFileSync(RECORD, 'utf8').trim() === now
  process.stdout.write(
    isTested
      ? 'the long tests have passed on this code\n'
      : 'the code that the long tests guard has changed\n'
  )
  process.exitCode = isTested ? 0 : 1
}
