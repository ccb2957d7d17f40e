import t from 'tap'
import { makeCertificate } from '../support/certificate.js'
import { DROP, makeLatch, MailServer } from '../support/mail-server.js'
import {
  addMails,
  makeWorker,
  openMailStore,
  passPauses,
  rowsOf,
  SENDER,
  toContent,
  workOff
} from '../support/mails.js'
import { until } from '../support/poll.js'
import { watchFaults } from '../../src/database/fault.js'
import { StoreUnavailable } from '../../src/errors.js'
import { storage } from '../support/server.js'
import { MailRefused, type MailMessage } from '../../src/mail/mail.js'
import { createMailTransport } from '../../src/mail/transport.js'
import { purgeMails, readBacklog } from '../../src/mail/queue.js'
import { backoffMs } from '../../src/mail/worker.js'
import { TestClock } from '../support/clock.js'

const { db, openAgain } = await openMailStore(t)
t.beforeEach(() => db.mail.deleteMany())

const textOnly: MailMessage = {
  id: 'x',
  kind: 'test',
  from: SENDER,
  to: 'ada@example.com',
  language: 'en',
  subject: 'x',
  text: 'x',
  html: 'x'
}

const addresses = (count: number, prefix = 'person') =>
  Array.from({ length: count }, (_, n) => `${prefix}${String(n).padStart(3, '0')}@example.com`)

t.test('a mail is sent once, whole, and its row says so', async (t) => {
  const server = await MailServer.start(t)
  const { worker, counters } = makeWorker(t, db, { smtpUrl: server.url })
  await addMails(db, ['ada@example.com'], { language: 'de' })
  await workOff(db, worker)
  await workOff(db, worker)
  const [row] = await rowsOf(db)
  t.match(row, { attempts: 1, claim: null, claimedUntil: null, failedAt: null, failure: null })
  t.ok(row?.sentAt)
  t.equal(counters.mails.get('reset')?.get('sent'), 1)
  t.equal(server.received.length, 1)
  t.match(server.received[0], { from: 'no-reply@mail.example.com', to: ['ada@example.com'] })
  const [mail] = await server.parsed()
  t.equal(mail?.from?.text, '"Field Notes" <no-reply@mail.example.com>')
  t.match(mail?.to, { text: 'ada@example.com' })
  t.equal(mail?.subject, 'Field Notes: your code is 123456')
  t.match(mail?.text, /Your code is 123456\. Grüße!/)
  t.match(mail?.html, /<b>123456<\/b>\. Grüße!/)
  t.equal(mail?.messageId, `<${row?.id}@mail.example.com>`)
  t.ok(mail?.date)
  t.equal(mail?.headers.get('auto-submitted'), 'auto-generated')
  t.equal(mail?.headers.get('content-language'), 'de')
  t.match(mail?.headers.get('content-type'), { value: 'multipart/alternative' })
  t.strictSame(mail?.attachments, [])
  t.notMatch(mail?.html, /src=|url\(|<link|<script/, 'nothing is loaded from elsewhere')
})

t.test('more mails than are sent at once are all sent, each once', async (t) => {
  const server = await MailServer.start(t)
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  const people = addresses(23)
  await addMails(db, people)
  await worker.run()
  await until('all to be sent', () => server.received.length === people.length)
  await worker.idle()
  t.strictSame(server.recipients(), people, 'a round leads to the next')
  t.ok(server.mostConnections <= 5, `${server.mostConnections} connections at once`)
})

t.test('a temporary refusal is tried again later, and not at once', async (t) => {
  const server = await MailServer.start(t)
  let refusals = 0
  server.onRecipient = () => (refusals++ < 2 ? '451 4.3.0 ada@example.com: come back later' : null)
  const { worker, counters, log } = makeWorker(t, db, { smtpUrl: server.url })
  await addMails(db, ['ada@example.com'])
  await workOff(db, worker)
  let [row] = await rowsOf(db)
  t.match(row, { attempts: 1, sentAt: null, failedAt: null, claim: null })
  t.match(row?.failure, /451 4\.3\.0/)
  const pauseMs = (row?.nextAt.getTime() ?? 0) - Date.now()
  t.ok(pauseMs > 2_000 && pauseMs <= 5_000, `${pauseMs} ms`)
  await passPauses(db)
  await workOff(db, worker)
  ;[row] = await rowsOf(db)
  t.match(row, { attempts: 2, sentAt: null })
  t.ok((row?.nextAt.getTime() ?? 0) - Date.now() > 6_000, 'the second pause is longer')
  await passPauses(db)
  await workOff(db, worker)
  t.equal(server.received.length, 1)
  t.strictSame(
    [...(counters.mails.get('reset') ?? [])],
    [
      ['retried', 2],
      ['sent', 1]
    ]
  )
  t.notMatch(log.join('\n'), /@example\.com|abc|123456/, 'no address, link or code in the log')
  t.equal(log.filter((line) => line.startsWith('mails cannot be sent')).length, 1)
})

t.test('a refusal for good gives up, says why, and names nobody', async (t) => {
  const server = await MailServer.start(t)
  server.onRecipient = (address) =>
    address.startsWith('gone') ? '550 5.1.1 no such user gone@example.com' : null
  server.onMail = (mail) => (mail.to[0]?.startsWith('spam') ? '554 5.7.1 not wanted' : null)
  const { worker, counters, log } = makeWorker(t, db, { smtpUrl: server.url })
  await addMails(db, ['gone@example.com', 'spam@example.com', 'ada@example.com'])
  await workOff(db, worker)
  const rows = await rowsOf(db)
  t.strictSame(
    rows.map(({ recipient, failure, attempts }) => [recipient, failure, attempts]),
    [
      ['ada@example.com', null, 1],
      ['gone@example.com', 'smtp 550 5.1.1', 1],
      ['spam@example.com', 'smtp 554 5.7.1', 1]
    ]
  )
  t.strictSame(
    rows.map(({ failedAt, sentAt }) => [failedAt !== null, sentAt !== null]),
    [
      [false, true],
      [true, false],
      [true, false]
    ]
  )
  t.equal(counters.mails.get('reset')?.get('refused'), 2)
  t.notMatch(log.join('\n'), /@example\.com/)
})

t.test('a connection that is lost after the mail was taken sends it again, the same', async (t) => {
  const server = await MailServer.start(t)
  let drops = 0
  server.onMail = () => (drops++ === 0 ? DROP : null)
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  await addMails(db, ['ada@example.com'])
  await workOff(db, worker)
  t.match(await rowsOf(db), [{ sentAt: null, failedAt: null, attempts: 1 }])
  await passPauses(db)
  await workOff(db, worker)
  t.match(await rowsOf(db), [{ sentAt: Date, attempts: 2 }])
  const [first, second] = await server.parsed()
  t.equal(server.received.length, 2)
  t.ok(first?.messageId)
  t.equal(first?.messageId, second?.messageId)
})

t.test('a server that was down for an hour gets each mail once, and none is lost', async (t) => {
  const before = await MailServer.start(t)
  const { port, url } = before
  await before.stop()
  const { worker, log, counters } = makeWorker(t, db, { smtpUrl: url })
  const people = addresses(20)
  await addMails(db, people)
  for (let tries = 0; tries < 3; tries++) {
    await workOff(db, worker)
    await passPauses(db)
  }
  const rows = await rowsOf(db)
  t.equal(rows.filter(({ sentAt, failedAt }) => sentAt === null && failedAt === null).length, 20)
  t.equal(counters.mails.get('reset')?.get('retried'), 60)
  t.equal(log.filter((line) => line.startsWith('mails cannot be sent')).length, 1)
  t.match(log[0], /ECONNREFUSED/)
  await db.$executeRaw`UPDATE "mail" SET "createdAt" = "createdAt" - interval '1 hour', "nextAt" = "nextAt" - interval '1 hour'`
  const after = await MailServer.start(t, { port })
  await workOff(db, worker)
  t.strictSame(after.recipients(), people)
  t.equal(await db.mail.count({ where: { sentAt: { not: null } } }), 20)
})

t.test('a slow recipient holds up no other', async (t) => {
  const server = await MailServer.start(t)
  const { opened: released, open: letGo } = makeLatch()
  server.onMail = async (mail) => {
    if (mail.to[0]?.startsWith('slow')) await released
    return null
  }
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  const people = addresses(12)
  await addMails(db, ['slow0@example.com', 'slow1@example.com', ...people])
  await worker.run()
  await until('the others to be sent', () => server.received.length === people.length)
  t.strictSame(server.recipients(), people)
  letGo()
  await worker.idle()
  t.equal(await db.mail.count({ where: { sentAt: { not: null } } }), 14)
})

t.test('a wrong password is a failure of ours: tried again, and never given up', async (t) => {
  const login = { user: 'holdfast', password: 'p@ss:word' }
  const server = await MailServer.start(t, { login })
  const { worker, log } = makeWorker(t, db, {
    smtpUrl: `smtp://holdfast:hunter2hunter2@127.0.0.1:${server.port}`
  })
  await addMails(db, ['ada@example.com'])
  for (let tries = 0; tries < 3; tries++) {
    await passPauses(db)
    await workOff(db, worker)
  }
  t.match(await rowsOf(db), [{ attempts: 3, failedAt: null, sentAt: null }])
  t.equal(server.logins, 3)
  t.match(log[0], /535 5\.7\.8/)
  t.notMatch(log.join('\n'), /hunter2/)
  const right = makeWorker(t, db, {
    smtpUrl: `smtp://holdfast:p%40ss%3Aword@127.0.0.1:${server.port}`
  })
  await passPauses(db)
  await workOff(db, right.worker)
  t.match(server.received, [{ user: 'holdfast', to: ['ada@example.com'] }])
})

t.test('a server without authentication is not given a mail in the place of ours', async (t) => {
  const server = await MailServer.start(t, { login: { user: 'a', password: 'b' } })
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  await addMails(db, ['ada@example.com'])
  await workOff(db, worker)
  t.match(await rowsOf(db), [{ attempts: 1, failedAt: null, sentAt: null, failure: /530/ }])
})

t.test('a certificate that is not trusted is a failure that is tried again', async (t) => {
  const server = await MailServer.start(t)
  for (const smtpUrl of [`${server.url}?requireTLS=true`]) {
    const { worker, log } = makeWorker(t, db, { smtpUrl })
    await addMails(db, ['ada@example.com'])
    await workOff(db, worker)
    t.match(await rowsOf(db), [{ attempts: 1, failedAt: null, sentAt: null }])
    t.match(log[0], /self-signed certificate/i)
  }
  t.equal(server.received.length, 0)
})

t.test('a server whose certificate has another name gets nothing', async (t) => {
  const certificate = makeCertificate(['mail.example.com'])
  const server = await MailServer.start(t, { certificate, secure: true })
  const { worker, log } = makeWorker(t, db, { smtpUrl: `smtps://127.0.0.1:${server.port}` })
  await addMails(db, ['ada@example.com'])
  await workOff(db, worker)
  t.match(await rowsOf(db), [{ attempts: 1, failedAt: null, sentAt: null }])
  t.match(log[0], /certificate/i)
  t.equal(server.received.length, 0)
})

t.test('several workers at one outbox send each mail once', async (t) => {
  const server = await MailServer.start(t)
  const people = addresses(60)
  await addMails(db, people)
  const stores = [db, storage === 'postgres' ? await openAgain() : db]
  const workers = [...stores, ...stores].map(
    (store) => makeWorker(t, store, { smtpUrl: server.url }).worker
  )
  await Promise.all(workers.map((worker) => workOff(db, worker)))
  await Promise.all(workers.map((worker) => worker.idle()))
  t.strictSame(server.recipients(), people)
  t.equal(await db.mail.count({ where: { sentAt: { not: null }, attempts: 1 } }), 60)
})

t.test('a worker whose claim has ended changes nothing while another has the mail', async (t) => {
  const server = await MailServer.start(t)
  const [first, second] = [makeLatch(), makeLatch()]
  let taken = 0
  server.onMail = async () => {
    taken += 1
    if (taken > 1) {
      await second.opened
      return null
    }
    await first.opened
    return '550 5.1.1 late'
  }
  const [late, other] = [1, 2].map(() => makeWorker(t, db, { smtpUrl: server.url }).worker)
  await addMails(db, ['ada@example.com'])
  await late?.run()
  await until('the first to be sending', () => taken === 1)
  await other?.run()
  await other?.idle()
  t.equal(taken, 1, 'the claim keeps others away')
  await db.$executeRaw`UPDATE "mail" SET "claimedUntil" = clock_timestamp() - interval '1 second'`
  await other?.run()
  await until('the second to be sending', () => taken === 2)
  first.open()
  await late?.idle()
  t.match(await rowsOf(db), [{ failedAt: null, claim: String, failure: null }])
  second.open()
  await other?.idle()
  t.match(await rowsOf(db), [{ sentAt: Date, failedAt: null, failure: null, attempts: 2 }])
})

t.test('a stop waits for a mail under way, and takes no other', async (t) => {
  const server = await MailServer.start(t)
  const { opened: released, open: letGo } = makeLatch()
  server.onMail = async () => {
    await released
    return null
  }
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  const people = addresses(8)
  await addMails(db, people)
  await worker.run()
  await until('five to be claimed', () => db.mail.count({ where: { claim: { not: null } } }))
  const stopped = worker.stop()
  await worker.run()
  letGo()
  await stopped
  t.equal(server.received.length, 5)
  t.equal(await db.mail.count({ where: { sentAt: { not: null } } }), 5)
  t.equal(await db.mail.count({ where: { claim: { not: null } } }), 0)
  const next = makeWorker(t, db, { smtpUrl: server.url })
  await workOff(db, next.worker)
  t.strictSame(server.recipients(), people)
})

t.test('a stop breaks off what hangs, and gives it back at once', async (t) => {
  const server = await MailServer.start(t)
  server.onRecipient = () => new Promise(() => {})
  const { worker, counters } = makeWorker(t, db, { smtpUrl: server.url }, { drainMs: 100 })
  await addMails(db, ['ada@example.com'])
  await worker.run()
  await until('a connection', () => server.mostConnections === 1)
  const startedAt = performance.now()
  await worker.stop()
  t.ok(performance.now() - startedAt < 3_000)
  t.match(await rowsOf(db), [{ claim: null, claimedUntil: null, sentAt: null, failedAt: null }])
  t.equal(counters.mails.get('reset'), undefined, 'that was no failure')
  server.onRecipient = () => null
  const next = makeWorker(t, db, { smtpUrl: server.url })
  await workOff(db, next.worker)
  t.equal(server.received.length, 1)
})

t.test('what is of no use any more, or was never to be sent, is not', async (t) => {
  const server = await MailServer.start(t)
  const { worker, counters } = makeWorker(
    t,
    db,
    { smtpUrl: server.url },
    { prepare: async (mail) => (mail.recipient === 'nobody@example.com' ? null : toContent(mail)) }
  )
  await addMails(db, ['late@example.com', 'nobody@example.com'])
  await db.$executeRaw`UPDATE "mail" SET "expiresAt" = clock_timestamp() - interval '1 second' WHERE "recipient" = 'late@example.com'`
  await workOff(db, worker)
  t.match(await rowsOf(db), [{ recipient: 'late@example.com', failure: 'expired', sentAt: null }])
  t.equal(await db.mail.count({ where: { failedAt: { not: null } } }), 1)
  t.equal(server.received.length, 0)
  t.strictSame(Object.fromEntries(counters.mails.get('reset') ?? []), { dropped: 1, expired: 1 })
})

t.test('a mail that fails until its end is noted as expired then', async (t) => {
  const server = await MailServer.start(t)
  server.onRecipient = () => '451 4.3.0 later'
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  await addMails(db, ['ada@example.com'], { ttlSeconds: 3 })
  await workOff(db, worker)
  const [row] = await rowsOf(db)
  t.strictSame(row?.nextAt, row?.expiresAt, 'it is looked at once more at its end')
  await db.$executeRaw`UPDATE "mail" SET "nextAt" = clock_timestamp() - interval '1 second', "expiresAt" = clock_timestamp() - interval '1 second'`
  await workOff(db, worker)
  t.match(await rowsOf(db), [{ failure: 'expired', failedAt: Date }])
})

t.test('a fault in what a mail is made from backs off, and stops no other mail', async (t) => {
  const server = await MailServer.start(t)
  let calls = 0
  const { worker, log } = makeWorker(
    t,
    db,
    { smtpUrl: server.url },
    {
      prepare: async (mail) => {
        if (mail.recipient !== 'fault@example.com') return toContent(mail)
        calls++
        throw new TypeError('a bug')
      },
      render: (content) => {
        if (content.account === 'text@example.com') throw new RangeError('another bug')
        return { subject: 'x', text: 'x', html: 'x' }
      }
    }
  )
  await addMails(db, ['fault@example.com', 'text@example.com', ...addresses(10)])
  await workOff(db, worker)
  await workOff(db, worker)
  t.equal(calls, 1, 'not tried again before its pause has passed')
  t.strictSame(server.recipients(), addresses(10))
  t.match(
    (await rowsOf(db))
      .filter(({ sentAt }) => sentAt === null)
      .map(({ attempts, failure }) => [attempts, failure]),
    [
      [1, 'TypeError'],
      [1, 'RangeError']
    ]
  )
  t.match(log.join('\n'), /a bug/)
})

t.test('an address that is more than one, or adds a header, is never sent to', async (t) => {
  const server = await MailServer.start(t)
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  const wrong = [
    'a@example.com, b@example.com',
    'a@example.com\r\nBcc: b@example.com',
    '<a@example.com> b@example.com',
    'a@example.com>\r\nRCPT TO:<b@example.com',
    'a@@example.com',
    'undisclosed:a@example.com;'
  ]
  const told: string[] = []
  const option = createMailTransport({
    settings: { dataDir: 'unused' },
    clock: new TestClock(),
    sendMail: async ({ to }) => void told.push(to),
    onWritten: () => {}
  })
  await t.rejects(
    option?.send({ ...textOnly, to: wrong[0] ?? '' }) ?? Promise.resolve(),
    MailRefused
  )
  t.strictSame(told, [])
  await addMails(db, wrong)
  await workOff(db, worker)
  t.equal(server.received.length, 0)
  t.strictSame(
    new Set((await rowsOf(db)).map(({ failure }) => failure)),
    new Set(['not an address'])
  )
})

t.test('a wake sends without the job, and apart from the request that woke', async (t) => {
  const server = await MailServer.start(t)
  const { worker } = makeWorker(t, db, { smtpUrl: server.url })
  await addMails(db, ['ada@example.com'])
  for (let wakes = 0; wakes < 50; wakes++) worker.wake()
  await until('it to be sent', () => server.received.length === 1)
  await worker.idle()
  await addMails(db, ['bob@example.com'])
  // The request has failed: its further statements would fail at once.
  const scope = { fault: new StoreUnavailable(null), refusedValue: false, onFault: () => {} }
  await watchFaults(scope, async () => {
    worker.wake()
    await until('the next to be sent', () => server.received.length === 2)
  })
  await worker.idle()
})

t.test('the option sendMail gets the whole message, and its errors are tried again', async (t) => {
  const messages: unknown[] = []
  let calls = 0
  const transport = createMailTransport({
    settings: { dataDir: 'unused', smtpUrl: 'smtp://127.0.0.1:1' },
    clock: new TestClock(),
    sendMail: async (message) => {
      if (calls++ === 0) throw new Error('not now')
      messages.push(message)
    },
    onWritten: () => {}
  })
  t.equal(transport?.name, 'sendMail')
  const { worker } = makeWorker(t, db, {}, transport ? { transport } : {})
  await addMails(db, ['ada@example.com'])
  await workOff(db, worker)
  t.match(await rowsOf(db), [{ attempts: 1, failure: 'Error', sentAt: null }])
  await passPauses(db)
  await workOff(db, worker)
  const [row] = await rowsOf(db)
  t.match(messages, [
    {
      id: row?.id,
      kind: 'reset',
      from: SENDER,
      to: 'ada@example.com',
      language: 'en',
      subject: 'Field Notes: your code is 123456',
      text: /Grüße/,
      html: /Grüße/
    }
  ])
})

t.test('old rows are removed: sent ones after a day, failed ones after 14', async (t) => {
  await addMails(db, addresses(6))
  const [a, b, c, d] = await rowsOf(db)
  for (const [id, column, age] of [
    [a?.id, 'sentAt', '23 hours'],
    [b?.id, 'sentAt', '25 hours'],
    [c?.id, 'failedAt', '13 days'],
    [d?.id, 'failedAt', '15 days']
  ] as const)
    await db.$executeRawUnsafe(
      `UPDATE "mail" SET "createdAt" = clock_timestamp() - interval '20 days', "${column}" = clock_timestamp() - interval '${age}' WHERE "id" = $1`,
      id
    )
  t.equal(await purgeMails(db, () => performance.now()), 2)
  const kept = (await rowsOf(db)).map(({ id }) => id)
  t.equal(kept.length, 4)
  t.notOk(kept.includes(b?.id ?? '') || kept.includes(d?.id ?? ''))
})

t.test('the backlog is what waits, and how long the oldest has', async (t) => {
  t.strictSame(await readBacklog(db), { waiting: 0, oldestSeconds: 0 })
  await addMails(db, addresses(4))
  const [old, sent] = await rowsOf(db)
  await db.$executeRaw`UPDATE "mail" SET "createdAt" = clock_timestamp() - interval '11 minutes', "nextAt" = clock_timestamp() + interval '5 minutes' WHERE "id" = ${old?.id}`
  await db.$executeRaw`UPDATE "mail" SET "sentAt" = clock_timestamp() WHERE "id" = ${sent?.id}`
  const { waiting, oldestSeconds } = await readBacklog(db)
  t.equal(waiting, 3)
  t.ok(oldestSeconds >= 660 && oldestSeconds < 720, `${oldestSeconds} s`)
})

t.test('pauses double from 5 s to 15 minutes, with jitter', async (t) => {
  t.equal(backoffMs(1, 1), 5_000)
  t.equal(backoffMs(2, 1), 10_000)
  t.equal(backoffMs(3, 0), 15_000)
  for (const attempts of [9, 20, 1_000_000]) t.equal(backoffMs(attempts, 1), 900_000)
})
