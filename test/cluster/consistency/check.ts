import { parseArgs } from 'node:util'
import { runChecker } from './run.js'

/*
 * npm run check:consistency -- [--minutes N] [--seed S] [--without protection,…] [--no-faults]
 * Ends with status 0 if the history held, with 1 if it did not.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    without: { type: 'string', default: '' },
    'no-faults': { type: 'boolean', default: false }
  }
})
const seconds = Number(values.minutes) * 60
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
if (!(seconds > 0) || !Number.isInteger(seed)) {
  process.stderr.write(
    'usage: npm run check:consistency -- [--minutes N] [--seed S] [--without protection,…] [--no-faults]\n'
  )
  process.exit(2)
}
process.stdout.write(`seed ${seed}: ${seconds} s\n`)
const report = await runChecker({
  seconds,
  seed,
  leaveOut: values.without.split(',').filter(Boolean),
  withFaults: !values['no-faults'],
  onFault: ({ kind, node, start }) => {
    process.stdout.write(
      `  ${(start / 1_000).toFixed(1)} s  ${kind}${node ? `: ${node.name}` : ''}\n`
    )
  }
})
if (!report) {
  process.stderr.write('PostgreSQL (initdb, postgres) and redis-server are needed\n')
  process.exit(2)
}
process.stdout.write(report.text)
process.exit(
  report.violations.length > 0 ||
    report.interleavings.some(({ problem }) => problem !== null) ||
    report.cachesInUse < 3
    ? 1
    : 0
)
