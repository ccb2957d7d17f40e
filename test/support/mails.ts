import type { Test } from 'tap'
import { resolveConfig } from '../../src/config.js'
import { Counters } from '../../src/counters.js'
import type { PrismaClient } from '../../src/database/database.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import type { MailContent, MailTexts } from '../../src/mail/mail.js'
import { MailOutbox, type NewMail } from '../../src/mail/outbox.js'
import type { ClaimedMail } from '../../src/mail/queue.js'
import { createMailTransport, type MailSettings } from '../../src/mail/transport.js'
import { MailWorker, type MailWorkerOptions } from '../../src/mail/worker.js'
import { systemClock } from '../../src/clock.js'
import { until } from './poll.js'
import { freshStore } from './server.js'

export const SENDER = 'Field Notes <no-reply@mail.example.com>'

/** A store of its own, without a server, whose mails a test sends. */
export async function openMailStore(
  t: Test
): Promise<{ db: PrismaClient; openAgain: () => Promise<PrismaClient> }> {
  const config = resolveConfig({ baseUrl: 'http://localhost:3000', ...(await freshStore(t)) })
  const open = async () => {
    const database = await openDatabase(config, { onWarning: () => {} })
    t.teardown(() => database.close())
    return database.prisma
  }
  return { db: await open(), openAgain: open }
}

/** Writes mails to these addresses. */
export async function addMails(
  db: PrismaClient,
  recipients: readonly string[],
  mail: Partial<NewMail> = {}
): Promise<void> {
  await new MailOutbox(() => {}).add(
    db,
    recipients.map((recipient) => ({
      kind: 'reset',
      recipient,
      userId: null,
      language: 'en',
      ttlSeconds: 86_400,
      ...mail
    }))
  )
}

/** What a mail says in these tests. */
export function toContent({
  kind,
  recipient,
  language
}: ClaimedMail): MailContent & { to: string } {
  return {
    to: recipient,
    kind,
    language,
    brand: 'Field Notes',
    origin: 'https://auth.example.com',
    account: recipient,
    link: 'https://auth.example.com/reset-password?token=abc',
    code: '123456',
    validUntil: null,
    notMeLink: null,
    facts: {}
  }
}

export function renderPlainly({ brand, code, link }: MailContent): MailTexts {
  return {
    subject: `${brand}: your code is ${code}`,
    text: `Your code is ${code}. Grüße!\n${link}\n`,
    html: `<!doctype html><p>Your code is <b>${code}</b>. Grüße! <a href="${link}">${link}</a></p>`
  }
}

/** A worker that sends to an SMTP server, with what it has counted and logged. */
export function makeWorker(
  t: Pick<Test, 'teardown'>,
  db: PrismaClient,
  settings: Omit<MailSettings, 'dataDir'>,
  options: Partial<MailWorkerOptions> = {}
) {
  const counters = new Counters()
  const log: string[] = []
  const transport =
    options.transport ??
    createMailTransport({
      settings: { dataDir: 'unused', ...settings },
      clock: systemClock,
      onWritten: () => {}
    })
  if (!transport) throw new Error('mail is off')
  const worker = new MailWorker({
    prisma: db,
    transport,
    from: SENDER,
    prepare: async (mail) => toContent(mail),
    render: renderPlainly,
    counters,
    random: () => 0.5,
    onError: (message, error) =>
      log.push(`${message}: ${error instanceof Error ? error.message : String(error)}`),
    onDebug: (message) => log.push(message),
    ...options
  })
  t.teardown(() => worker.stop())
  return { worker, transport, counters, log }
}

/** The rows of all mails, by recipient. */
export const rowsOf = (db: PrismaClient) => db.mail.findMany({ orderBy: { recipient: 'asc' } })

/** Has mails that wait tried at once, as if their pause had passed. */
export async function passPauses(db: PrismaClient): Promise<void> {
  await db.mail.updateMany({
    where: { sentAt: null, failedAt: null },
    data: { nextAt: new Date(0) }
  })
}

/** Runs the worker, again and again, until no mail waits that is due. */
export async function workOff(db: PrismaClient, worker: MailWorker): Promise<void> {
  await until(
    'the outbox to be worked off',
    async () => {
      await worker.run()
      await worker.idle()
      // A pause is longer than that: what is due now is what may be due on the store's clock.
      const soon = new Date(Date.now() + 1_000)
      const due = { sentAt: null, failedAt: null, nextAt: { lte: soon } }
      return (await db.mail.count({ where: due })) === 0
    },
    60_000
  )
}
