import { assert, asyncProperty } from 'fast-check'
import t from 'tap'
import { histories, run, type Seen } from './model/history.js'

t.test('ten thousand histories keep every promise', async (t) => {
  const seen: Seen = { refreshes: 0, signOuts: 0, ends: 0, stale: 0 }
  await assert(
    asyncProperty(histories, (history) => run(history, undefined, seen)),
    { numRuns: 10_000 }
  )
  t.comment(JSON.stringify(seen))
  for (const [what, count] of Object.entries(seen)) t.ok(count > 1_000, `${what}: ${count}`)
})
