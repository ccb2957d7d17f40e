import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { disableWhenIdle } from '../../src/async-local-storage-node20.js'

t.test('a call finds its value wherever it goes on, whatever other calls do', async (t) => {
  const storage = disableWhenIdle(new AsyncLocalStorage<string>())
  const call = (value: string, turns: number) =>
    storage.run(value, async () => {
      for (let i = 0; i < turns; i++) {
        await turn()
        if (storage.getStore() !== value) return `${storage.getStore()} in place of ${value}`
      }
      return value
    })
  const short = Array.from({ length: 20 }, (_none, index) => call(`short ${index}`, index % 3))
  t.strictSame(await Promise.all([call('long', 20), ...short]), [
    'long',
    ...short.map((_none, index) => `short ${index}`)
  ])
  t.equal(storage.getStore(), undefined)
  t.equal(await call('later', 3), 'later', 'the storage is enabled again')
})

t.test('a call within another gives its value back', async (t) => {
  const storage = disableWhenIdle(new AsyncLocalStorage<string>())
  await storage.run('outer', async () => {
    t.equal(await storage.run('inner', async () => storage.getStore()), 'inner')
    await turn()
    t.equal(storage.getStore(), 'outer')
    t.equal(
      storage.run('at once', () => storage.getStore()),
      'at once'
    )
    t.equal(storage.getStore(), 'outer')
  })
})

t.test(
  'it is off whenever no call runs, on a Node that would watch every promise for it',
  { skip: 'enabled' in new AsyncLocalStorage() ? false : 'this one does not' },
  async (t) => {
    const storage = new AsyncLocalStorage<string>() as AsyncLocalStorage<string> & {
      enabled: boolean
    }
    disableWhenIdle(storage)
    disableWhenIdle(storage) // another copy of Holdfast
    const gate: { open?: () => void } = {}
    const long = storage.run(
      'long',
      () =>
        new Promise<void>((resolve) => {
          gate.open = resolve
        })
    )
    await storage.run('short', async () => turn())
    t.ok(storage.enabled, 'the storage is enabled while one of two calls runs')
    gate.open?.()
    await long
    t.notOk(storage.enabled)
    storage.run('at once', () => 0)
    t.notOk(storage.enabled)
    const used = new AsyncLocalStorage<string>() as AsyncLocalStorage<string> & { enabled: boolean }
    used.enterWith('a host that does so')
    disableWhenIdle(used)
    used.run('another', () => 0)
    t.ok(used.enabled, 'a storage that was in use before the counting stays enabled')
  }
)

t.test('a call that fails has ended, too', async (t) => {
  const storage = disableWhenIdle(new AsyncLocalStorage<string>())
  const fault = new Error('a fault')
  t.throws(
    () =>
      storage.run('value', () => {
        throw fault
      }),
    fault
  )
  await t.rejects(
    storage.run('value', async () => {
      throw fault
    }),
    fault
  )
  t.equal(storage.getStore(), undefined)
  t.equal(await storage.run('value', async () => turn(storage.getStore())), 'value')
})
