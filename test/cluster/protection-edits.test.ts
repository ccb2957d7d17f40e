import { readFileSync } from 'node:fs'
import t from 'tap'
import { protectionNames, protections, weaken } from '../support/protections.js'
import { loadHoldfast } from '../support/weakened-build.js'

const textOf = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
const files = new Set(protectionNames.flatMap((name) => protections[name].edits.map((e) => e.file)))

t.test('each protection can be taken out of this build', async (t) => {
  for (const name of protectionNames) {
    const touched = [...files].filter((file) => weaken(file, textOf(file), [name]) !== textOf(file))
    t.strictSame(
      touched.toSorted(),
      [...new Set(protections[name].edits.map(({ file }) => file))].toSorted(),
      name
    )
  }
})

t.test('so can all of them at once', async (t) => {
  for (const file of files) t.not(weaken(file, textOf(file), protectionNames), textOf(file), file)
})

t.test('an edit whose code is missing, or there twice, is an error', async (t) => {
  const [file = ''] = files
  const names = protectionNames.filter((name) => protections[name].edits[0]?.file === file)
  for (const name of names) {
    t.throws(() => weaken(file, '', [name]), { message: `the code of ${name} is 0 times` })
    t.throws(() => weaken(file, textOf(file).repeat(2), [name]), {
      message: `the code of ${name} is 2 times`
    })
  }
})

t.test('a weakened plugin is another one, and the product stays as it is', async (t) => {
  const real = await loadHoldfast([])
  const weakened = await loadHoldfast(protectionNames)
  t.type(weakened, 'function')
  t.not(weakened, real)
  t.equal(await loadHoldfast(protectionNames), weakened)
  t.equal((await import('../../plugins/holdfast.js')).default, real)
})

t.test('an unknown name is an error', async (t) => {
  await t.rejects(loadHoldfast(['fillLeese']), { message: 'there is no protection fillLeese' })
})
