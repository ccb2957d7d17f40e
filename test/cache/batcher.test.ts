import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { Batcher, type BatcherOptions } from '../../src/cache/batcher.js'
import { until } from '../support/poll.js'

/** A loader that answers when the test says so. Each result tells which load it came from. */
function asking(options?: BatcherOptions) {
  const asked: { questions: readonly string[]; answer: () => void; fail: () => void }[] = []
  const batcher = new Batcher(
    (questions: readonly string[]) =>
      new Promise<string[]>((resolve, reject) => {
        const number = asked.length
        asked.push({
          questions,
          answer: () => {
            resolve(questions.map((question) => `${question}${number}`))
          },
          fail: () => {
            reject(new Error('gone'))
          }
        })
      }),
    options
  )
  return { asked, ask: (question: string) => batcher.load(question, (answer) => answer) }
}

const settled = async () =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

t.test(
  'items that arrive together are one batch, and later ones are sent after they arrived',
  async (t) => {
    const { asked, ask } = asking({ maxWaitMs: 10_000 })
    const first = [ask('a'), ask('b'), ask('a')]
    await settled()
    t.strictSame(
      asked.map(({ questions }) => questions),
      [['a', 'b', 'a']]
    )
    const second = [ask('a')]
    await settled()
    second.push(ask('c'))
    t.equal(asked.length, 1, 'requests are collected while a batch is in flight')
    asked[0]?.answer()
    t.strictSame(await Promise.all(first), ['a0', 'b0', 'a0'])
    await settled()
    t.strictSame(asked[1]?.questions, ['a', 'c'])
    asked[1]?.answer()
    t.strictSame(
      await Promise.all(second),
      ['a1', 'c1'],
      'no request is answered by a batch that began before it'
    )
    const third = ask('d')
    await settled()
    asked[2]?.answer()
    t.equal(await third, 'd2')
  }
)

t.test(
  'four are worth a journey of their own, as long as no more are under way than may be',
  async (t) => {
    const { asked, ask } = asking({ maxConcurrent: 4, maxWaitMs: 10_000 })
    const all = [ask('a')]
    for (let inFlight = 1; inFlight < 4; inFlight++) {
      await settled()
      for (const question of ['b', 'c', 'd']) all.push(ask(question))
      await settled()
      t.equal(asked.length, inFlight, 'three requests wait')
      all.push(ask('e'))
      await settled()
      t.equal(asked.length, inFlight + 1, 'the fourth request sends the batch')
    }
    for (const question of ['f', 'g', 'h', 'i', 'j']) all.push(ask(question))
    await settled()
    t.equal(asked.length, 4)
    asked[2]?.answer()
    await until('those who waited to be asked', async () => asked.length === 5)
    t.strictSame(asked[4]?.questions, ['f', 'g', 'h', 'i', 'j'])
    for (const { answer } of asked) answer()
    t.equal((await Promise.all(all)).length, 18)
  }
)

t.test(
  'who is not answered keeps the others waiting for a while, and a crowd from becoming many questions',
  async (t) => {
    const { asked, ask } = asking()
    const all: Promise<unknown>[] = []
    for (const maxWaitMs of [0, 10, 20, 40]) {
      const began = performance.now()
      all.push(ask('a'), ask('b'))
      await until('the question to be on its way', async () => asked.length === all.length / 2)
      // a timer may fire a fraction of a millisecond early
      t.ok(performance.now() - began >= maxWaitMs - 1, `not before ${maxWaitMs} ms`)
    }
    for (const { answer } of asked) answer()
    await Promise.all(all)
  }
)

t.test('a fault rejects all items of its batch, and no others', async (t) => {
  const { asked, ask } = asking()
  const first = [ask('a'), ask('b')]
  await settled()
  const second = ask('c')
  asked[0]?.fail()
  for (const { status } of await Promise.allSettled(first)) t.equal(status, 'rejected')
  await settled()
  asked[1]?.answer()
  t.equal(await second, 'c1')
})

t.test("a batch runs in no caller's context, and each caller keeps its own", async (t) => {
  const context = new AsyncLocalStorage<string>()
  const seen: (string | undefined)[] = []
  const batcher = new Batcher(async (questions: readonly string[]) => {
    seen.push(context.getStore())
    return questions
  })
  const ask = (who: string) => context.run(who, () => batcher.load(who, () => context.getStore()))
  t.strictSame(await Promise.all([ask('ada'), ask('bob')]), ['ada', 'bob'])
  t.strictSame(seen, [undefined])
})
