import t from 'tap'
import { runChecker } from './consistency/run.js'
import { protectionNames } from '../support/protections.js'
import { storage } from '../support/server.js'
import { createPostgres, findPostgresPrograms } from '../support/postgres.js'

// A checker that cannot fail proves nothing: without any one of the cache's protections its normal
// run must report violations. Here it ends with the first one. consistency.test.ts tests that it
// reports none with all of them.
const skip = storage === 'embedded' && 'an embedded store has one node and no Redis'

t.test('the checker notices', { skip }, async (t) => {
  const programs = findPostgresPrograms()
  if (!programs) throw new Error('PostgreSQL (initdb, postgres) is needed')
  const postgres = await createPostgres(programs)
  t.teardown(() => postgres.remove())
  await postgres.start()
  for (const name of protectionNames) {
    const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Date.now() / 1_000) % 1_000_000)
    const report = await runChecker({
      seconds: 60,
      seed,
      leaveOut: [name],
      untilViolation: true,
      postgres
    })
    t.equal(
      report?.violations[0]?.kind,
      'active after an acknowledged revocation',
      `that ${name} is left out: npm run check:consistency -- --seed ${seed} --without ${name}`
    )
    t.comment(report?.text ?? '')
  }
})
