import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'
import type { PrismaClient } from '../../src/database/database.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import type { MailChild, MailStep } from '../support/mail-child.js'
import { MailServer } from '../support/mail-server.js'
import { addMails, makeWorker, rowsOf, workOff } from '../support/mails.js'
import { freshStore } from '../support/server.js'

const script = fileURLToPath(new URL('../support/mail-child.js', import.meta.url))

/** Uses the store from this process, while no other holds it. */
async function withStore<T>(
  options: HoldfastOptions,
  use: (db: PrismaClient) => Promise<T>
): Promise<T> {
  const database = await openDatabase(resolveConfig(options), { onWarning: () => {} })
  try {
    return await use(database.prisma)
  } finally {
    await database.close()
  }
}

/** Runs a worker in a process of its own, and kills it at a step, as kill -9 does. */
async function killAt(t: Test, child: MailChild): Promise<void> {
  const worker = fork(script, [], {
    env: { ...process.env, HOLDFAST_MAIL_CHILD: JSON.stringify(child) }
  })
  t.teardown(() => worker.kill('SIGKILL'))
  const exited = once(worker, 'exit')
  const [reached] = (await Promise.race([
    once(worker, 'message'),
    exited.then(() => ['it ended by itself'])
  ])) as [string]
  t.equal(reached, child.stopAt)
  worker.kill('SIGKILL')
  await exited
}

/** What is expected after a worker was killed at a step. */
const steps: [stopAt: MailStep, taken: number, inAll: number, attempts: number][] = [
  ['claimed', 0, 1, 2],
  ['prepared', 0, 1, 2],
  // Nothing tells the next worker that the server has it: it goes out once more, the same.
  ['sent', 1, 2, 2],
  ['noted', 1, 1, 1]
]

for (const [stopAt, taken, inAll, attempts] of steps)
  t.test(`a worker that is killed when a mail is ${stopAt} loses none`, async (t) => {
    const server = await MailServer.start(t)
    const options = { baseUrl: 'http://localhost:3000', ...(await freshStore(t)) }
    await withStore(options, (db) => addMails(db, ['ada@example.com']))
    await killAt(t, { options, smtpUrl: server.url, stopAt })
    t.equal(server.received.length, taken)
    await withStore(options, async (db) => {
      const { worker } = makeWorker(t, db, { smtpUrl: server.url })
      await worker.run()
      await worker.idle()
      t.equal(server.received.length, taken, 'the claim of the dead worker stands for a while')
      await db.$executeRaw`UPDATE "mail" SET "claimedUntil" = clock_timestamp() - interval '1 second'`
      await worker.run()
      await workOff(db, worker)
      await worker.stop()
      t.match(await rowsOf(db), [{ sentAt: Date, failedAt: null, claim: null, attempts }])
    })
    t.equal(server.received.length, inAll)
    const ids = new Set((await server.parsed()).map(({ messageId }) => messageId))
    t.equal(ids.size, 1, 'a mail that was sent twice is the same')
  })
