import { readFileSync } from 'node:fs'
import { simpleParser } from 'mailparser'
import t, { type Test } from 'tap'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'
import { openHoldfast, type Holdfast } from '../../src/holdfast.js'
import { runCommand } from '../../src/operator/commands.js'
import { command } from '../support/command.js'
import { MailServer } from '../support/mail-server.js'
import { addMails, SENDER } from '../support/mails.js'
import { until } from '../support/poll.js'
import { freshStore, storage } from '../support/server.js'

const store = await freshStore(t)

/** Opens a Holdfast that may send mails. It is closed when the test ends. */
async function open(
  t: Pick<Test, 'teardown'>,
  options: HoldfastOptions = {},
  { serves = true, ...stores }: HoldfastOptions & { serves?: boolean } = {}
): Promise<{ holdfast: Holdfast; written: string[] }> {
  const written: string[] = []
  const holdfast = await openHoldfast(
    resolveConfig({
      baseUrl: 'http://localhost:3000',
      ...(Object.keys(stores).length > 0 ? stores : await freshStore(t)),
      ...options
    }),
    '',
    {
      onDebug: () => {},
      onWarning: () => {},
      onMail: (path) => written.push(path),
      onError: () => {},
      onUnfit: () => {}
    },
    { serves }
  )
  await holdfast.prepared
  t.teardown(() => holdfast.close())
  return { holdfast, written }
}

const run = (holdfast: Holdfast, operation: string, ...args: string[]) =>
  runCommand(holdfast, { operation, args })

t.test('mail test sends at once, and shows what the server said', async (t) => {
  const server = await MailServer.start(t)
  const { holdfast } = await open(
    t,
    { smtpUrl: server.url, mailFrom: SENDER },
    { serves: false, ...store }
  )
  t.match(await run(holdfast, 'mail test', 'ada@example.com', '--language', 'de'), {
    to: 'ada@example.com',
    through: `127.0.0.1:${server.port}`,
    reply: '250 2.0.0 taken',
    tls: 'none'
  })
  t.match(server.received, [{ to: ['ada@example.com'], from: 'no-reply@mail.example.com' }])
  t.equal(await holdfast.prisma.mail.count(), 0, 'it does not pass the outbox')
  server.onRecipient = () => '550 5.1.1 no such user'
  await t.rejects(run(holdfast, 'mail test', 'gone@example.com'), {
    message: 'the mail was refused: smtp 550 5.1.1 (it said: 550 5.1.1 no such user)'
  })
  await t.rejects(run(holdfast, 'mail test', 'a@example.com, b@example.com'), {
    code: 'invalid_input',
    message: /no e-mail address/
  })
  await t.rejects(run(holdfast, 'mail test', 'a@example.com', '--language', 'xx'), {
    code: 'invalid_input'
  })
  await server.stop()
  await t.rejects(run(holdfast, 'mail test', 'ada@example.com'), { message: /ECONNREFUSED/ })
})

t.test('without a server the embedded store has files, and PostgreSQL no mail', async (t) => {
  const { holdfast, written } = await open(t)
  if (storage === 'embedded') {
    const { reply } = (await run(holdfast, 'mail test', 'ada@example.com')) as { reply: string }
    t.strictSame(written, [reply])
    t.match(await simpleParser(readFileSync(reply, 'utf8')), { to: { text: 'ada@example.com' } })
    await addMails(holdfast.prisma, ['bob@example.com'])
    await until('the job to write it', () => written.length === 2)
  } else {
    t.equal(holdfast.mail, null)
    for (const words of [
      ['mail test', 'ada@example.com'],
      ['mail retry', '--failed']
    ])
      await t.rejects(run(holdfast, words[0] ?? '', ...words.slice(1)), {
        message: /mail is off: set SMTP_URL and MAIL_FROM/
      })
    t.strictSame(await run(holdfast, 'mail list'), [])
  }
})

t.test('a server that needs verified addresses does not start without mail', async (t) => {
  if (storage === 'embedded') {
    t.pass('there are files')
    return
  }
  await t.rejects(open(t, { requireEmailVerification: true }), {
    name: 'ConfigError',
    message: /^REQUIRE_EMAIL_VERIFICATION: needs SMTP_URL and MAIL_FROM/
  })
})

t.test('mails are listed without links, and tried again', async (t) => {
  const server = await MailServer.start(t)
  let refuses = true
  server.onRecipient = (address) =>
    refuses && address.startsWith('gone')
      ? '550 5.1.1 no'
      : refuses && address.startsWith('busy')
        ? '451 4.3.0 later'
        : null
  const { holdfast } = await open(t, { smtpUrl: server.url, mailFrom: SENDER })
  const { prisma, mail } = holdfast
  const list = async (...args: string[]) =>
    (await run(holdfast, 'mail list', ...args)) as Record<string, unknown>[]
  await addMails(prisma, ['ada@example.com'])
  await addMails(prisma, ['gone@example.com'])
  await addMails(prisma, ['busy@example.com'])
  mail?.worker?.wake()
  await until('all to be tried', async () => (await list()).every(({ attempts }) => attempts === 1))
  await mail?.worker?.idle()
  const states = Object.fromEntries(
    (await list()).map(({ recipient, state, failure, nextAt }) => [
      recipient,
      [state, failure, nextAt !== null]
    ])
  )
  t.match(states, {
    'ada@example.com': ['sent', null, false],
    'gone@example.com': ['failed', 'smtp 550 5.1.1', false],
    'busy@example.com': ['waiting', /451 4\.3\.0/, true]
  })
  t.notMatch(JSON.stringify(await list()), /proofId|userId|token|facts/)
  t.match(await list('--state', 'failed'), [{ recipient: 'gone@example.com', kind: 'reset' }])
  const [newest] = await list('--limit', '1')
  t.equal((await list('--after', String(newest?.['id']))).length, 2)
  await t.rejects(run(holdfast, 'mail list', '--state', 'lost'), { code: 'invalid_input' })

  const idOf = async (recipient: string) =>
    String((await list()).find((row) => row['recipient'] === recipient)?.['id'])
  await t.rejects(run(holdfast, 'mail retry'), { code: 'invalid_input' })
  await t.rejects(run(holdfast, 'mail retry', 'x', '--failed'), { code: 'invalid_input' })
  await t.rejects(run(holdfast, 'mail retry', 'x'), { code: 'not_found' })
  await t.rejects(run(holdfast, 'mail retry', await idOf('ada@example.com')), {
    message: /it was sent/
  })
  refuses = false
  t.strictSame(await run(holdfast, 'mail retry', '--failed'), { retried: 1 })
  t.strictSame(await run(holdfast, 'mail retry', await idOf('busy@example.com')), { retried: 1 })
  await until('both to be sent', async () => (await list('--state', 'sent')).length === 3)
  t.equal(server.received.length, 3)

  await addMails(prisma, ['late@example.com'])
  const late = await idOf('late@example.com')
  await prisma.$executeRaw`UPDATE "mail" SET "sentAt" = NULL, "failedAt" = clock_timestamp(), "failure" = 'expired', "expiresAt" = clock_timestamp() - interval '1 hour' WHERE "id" = ${late}`
  await t.rejects(run(holdfast, 'mail retry', late), { message: /has expired/ })
  t.strictSame(await run(holdfast, 'mail retry', '--failed'), { retried: 0 })
})

t.test('the words of the command line list them', async (t) => {
  const listed = await command(store, ['mail', 'list', '--json'])
  t.match(listed, { status: 0, stdout: '[]\n' })
  t.match(await command(store, ['mail', 'test']), {
    status: 2,
    stderr: /missing required argument/
  })
})
