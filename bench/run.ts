import { parseArgs } from 'node:util'
import { families } from './figures/all.js'
import { measure } from './figure.js'
import { print, Results } from './results.js'
import { Stage } from './stage.js'

/*
 * `npm run bench`: every figure, compared with its peers, on this machine. `-- --quick` takes less
 * than a minute, skips long families, and keeps nothing. `-- --only verify` runs the families whose
 * names contain that. `-- --cpu-prof` makes the servers write profiles into the current directory.
 * `-- --to RESULTS-x.md` names the page in this folder that a whole run writes.
 */
const {
  values: { quick, only, to, 'cpu-prof': profile }
} = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    to: { type: 'string', default: 'RESULTS.md' },
    'cpu-prof': { type: 'boolean', default: false }
  }
})

const stage = await Stage.open({ quick, execArgv: profile ? ['--cpu-prof'] : [] })
const results = new Results()
const giveUp = (cause?: Error) => {
  if (cause) process.stderr.write(`${cause.stack}\n`)
  void stage.close().finally(() => process.exit(1))
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => giveUp())
// For example from a driver's socket. The stores must not outlive it.
process.once('uncaughtException', giveUp)
try {
  for (const family of families) {
    if (!family.name.includes(only) || (quick && family.long)) continue
    const started = performance.now()
    results.add(family, await measure(family, stage))
    await stage.clear()
    process.stderr.write(
      `${family.name}: ${((performance.now() - started) / 1_000).toFixed(1)} s\n`
    )
  }
} finally {
  await stage.close()
}
print(results)
if (!quick && only === '') await results.write(new URL(`../../bench/${to}`, import.meta.url))
process.exitCode = results.missed.length > 0 ? 1 : 0
