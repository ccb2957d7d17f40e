import { readFileSync } from 'node:fs'
import t from 'tap'
import { build, databaseServer, storage } from '../support/server.js'
import { compare, lineOf, type Difference } from './compat/compare.js'
import { rules, rulesFor } from './compat/differences.js'
import { gather, play } from './compat/drive.js'
import { normalise } from './compat/normalise.js'
import { described, scenes } from './compat/scenario.js'
import { Side } from './compat/side.js'
import { startStock } from './compat/stock.js'

/*
 * Holdfast compared with an unmodified better-auth 1.7.25. Both get the same requests. Exactly one
 * rule of compat/differences.ts must explain each difference, and each rule must explain one. New
 * differences are printed, a line each.
 */
const skip = storage === 'postgres' ? false : 'better-auth as it comes needs PostgreSQL'

t.test('Holdfast answers as better-auth does, but for what is on the list', { skip }, async (t) => {
  const stock = await startStock(t, databaseServer)
  const running = await build(t, { oneTimeTokens: true })
  const there = new Side({
    url: stock.url,
    cookiePrefix: 'better-auth',
    makeAdmin: stock.makeAdmin
  })
  const here = new Side({
    url: running.url,
    cookiePrefix: 'holdfast',
    makeAdmin: async (userId) => {
      await running.app.holdfast.auth.users.update(userId, { role: 'admin' })
    }
  })
  t.teardown(() => {
    there.close()
    here.close()
  })
  const [companyThere, companyHere] = await Promise.all([gather(there), gather(here)])
  const differences: Difference[] = []
  for (const scene of scenes) {
    const [theirs, ours] = await Promise.all([
      play(there, scene, companyThere),
      play(here, scene, companyHere)
    ])
    for (const [index, { step, answer }] of theirs.entries()) {
      const our = ours[index]
      if (our)
        differences.push(
          ...compare(scene.name, step, normalise(answer, there), normalise(our.answer, here))
        )
    }
  }
  const unexplained = differences.flatMap((difference) => {
    const names = rulesFor(difference).map(({ name }) => name)
    return names.length === 1 ? [] : [`${lineOf(difference)} [${names.join(' and ') || 'no rule'}]`]
  })
  if (unexplained.length > 0)
    process.stderr.write(`differences that no rule explains, or two:\n${unexplained.join('\n')}\n`)
  t.equal(unexplained.length, 0, 'every difference is explained by one rule')
  const seen = new Set(differences.flatMap(rulesFor))
  t.strictSame(
    rules.filter((rule) => !seen.has(rule)).map(({ name }) => name),
    [],
    'every rule explains a difference'
  )
  const served = stock.endpoints.flatMap(({ path, methods }) =>
    methods.map((method) => `${method} ${path}`)
  )
  t.strictSame(
    described.toSorted(),
    served.toSorted(),
    'the scenario calls every endpoint of better-auth'
  )
})

t.test('docs/better-auth.md lists every rule with its reason, and no other', (t) => {
  const page = readFileSync(
    new URL('../../../docs/better-auth.md', import.meta.url),
    'utf8'
  ).replaceAll(/\s+/g, ' ')
  const listed = [...page.matchAll(/- \*\*(.+?)\.\*\* (.+?)(?= - \*\*| ?$)/g)].map(
    ([, name, reason]) => `${name}: ${reason}`
  )
  t.strictSame(listed.toSorted(), rules.map(({ name, reason }) => `${name}: ${reason}`).toSorted())
  t.end()
})

t.test('there are 300 requests and more', (t) => {
  const requests = scenes.reduce((sum, { steps }) => sum + steps.length, 0)
  t.ok(requests >= 300, `${requests} requests`)
  t.end()
})
