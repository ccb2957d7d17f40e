// Known vulnerabilities in what production installs fail the build. A registry that cannot be asked is said, and fails nothing.
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
  console.log(`npm audit: not checked, for the registry gives no advisories (${report?.message ?? report?.error?.summary ?? 'no answer'})`)
} else if (found.total > 0) {
  console.error(JSON.stringify(report.vulnerabilities, null, 2))
  console.error(`npm audit: ${found.total} findings in production dependencies`)
  process.exit(1)
} else {
  console.log('npm audit: no findings in production dependencies')
}
