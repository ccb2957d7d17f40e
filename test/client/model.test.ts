import { assert, asyncProperty, check } from 'fast-check'
import t from 'tap'
import { histories, run, type Seen } from './model/history.js'
import { weakened } from './model/weaken.js'

/*
 * Clients on networks that lose, delay, double and reorder; processes that are killed at any step;
 * clocks that jump by hours; storages that are slow or full; locks that hang. The true time is the
 * model's, and the verdicts are those of `judgeRefresh`.
 *
 * Assumed: no request arrives more than a minute after it was sent. At any time one of the two clocks
 * of a machine is right. No clock is set while a request is under way, nor set back to within the
 * minute in which a stored pair was made. Where a storage that takes nothing had to give up a session,
 * the sign-outs that lay there are known to one process alone: it must repeat them while it lives.
 */

t.test('no history ends a session, keeps a dead one, or forgets a sign-out', async (t) => {
  const seen: Seen = { refreshes: 0, signOuts: 0, ends: 0, stale: 0 }
  await assert(
    asyncProperty(histories, (history) => run(history, undefined, seen)),
    { numRuns: 400 }
  )
  t.comment(JSON.stringify(seen))
  for (const [what, count] of Object.entries(seen)) t.ok(count > 50, `${what}: ${count}`)
})

const rules: Record<string, [string, string][]> = {
  'the key is made anew for each attempt': [['`${session.k}.${session.n}`', 'newKey()']],
  'the wall clock alone is believed': [
    ['Math.max(now - lastNow, monotonic - lastMonotonic, 0)', 'now - lastNow'],
    ['if (step < 1000 && now >= lastNow && monotonic >= lastMonotonic) return', 'return']
  ],
  'the age of a stored pair is believed': [['age >= 0 && age < youngMs(session)', 'true']],
  'a refreshed pair is kept without a look at what is stored': [
    ['kept.session?.s === next.s && kept.session.n <= next.n && ended !== next.s', 'true'],
    ['if (!isOurs || ended === next.s) return\n', '']
  ],
  'a young pair is replaced': [['ageOf(pair) < youngMs(pair.saved)', 'false']],
  '429 signs out': [
    [
      "answer?.status === 400 && body?.error === 'invalid_grant' && OVER.test(cause)",
      'answer?.status === 429'
    ]
  ],
  'any cause signs out': [[' && OVER.test(cause))', ')']],
  'every 200 confirms a sign-out': [[" && answer.text === ''", '']],
  'a sign-out is not repeated': [
    ['repeating = setTimeout(repeatLater, ', 'repeating = setTimeout(() => {}, ']
  ],
  'a pair that cannot be stored is used': [['{ ...session, a, t, e }', 'next']]
}

for (const [rule, edits] of Object.entries(rules))
  t.test(`the model finds it where ${rule}`, async (t) => {
    const { createHoldfast } = await weakened(edits)
    const { failed, numRuns } = await check(
      asyncProperty(histories, (history) => run(history, createHoldfast)),
      { numRuns: 20_000, endOnFailure: true }
    )
    t.ok(failed, `a counterexample after ${numRuns} runs`)
  })
