import t from 'tap'
import { describeViolation } from './consistency/history.js'
import { runChecker } from './consistency/run.js'
import { storage } from '../support/server.js'

const skip = storage === 'embedded' && 'an embedded store has one node and no Redis'

t.test('no answer is stale and no user is signed out, whatever fails', { skip }, async (t) => {
  const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Date.now() / 1_000) % 1_000_000)
  const report = await runChecker({ seconds: 30, seed })
  if (!report) throw new Error('PostgreSQL (initdb, postgres) and redis-server are needed')
  t.comment(report.text)
  t.strictSame(
    report.violations.map(describeViolation),
    [],
    `npm run check:consistency -- --minutes 0.5 --seed ${seed}`
  )
  t.strictSame(
    report.interleavings.filter(({ problem }) => problem !== null),
    [],
    'every interleaving was reached'
  )
  t.equal(report.cachesInUse, 3, 'every node uses its caches again')
  t.ok(report.history.counts.checksAfterRevocation > 200, 'enough checks followed a revocation')
  t.ok(report.faults.length >= 5, 'there were enough faults')
})
