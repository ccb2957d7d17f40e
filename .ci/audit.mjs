// Known vulnerabilities in what production installs fail the build. A registry that cannot be asked
// is said, and fails nothing.
import { spawnSync } from 'node:child_process'

const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { encoding: 'utf8' })
let report = null
try {
  report = JSON.parse(stdout)
} catch {
  // no report at all
}
const found = report?.metadata?.vulnerabilities
if (!found) {
  process.stdout.write(
    `npm audit: not checked, for the registry gives no advisories (${report?.message ?? report?.error?.summary ?? 'no answer'})\n`
  )
} else if (found.total > 0) {
  process.stderr.write(JSON.stringify(report.vulnerabilities, null, 2) + '\n')
  process.stderr.write(`npm audit: ${found.total} findings in production dependencies\n`)
  process.exit(1)
} else {
  process.stdout.write('npm audit: no findings in production dependencies\n')
}
