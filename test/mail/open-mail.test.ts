import t from 'tap'
import { resolveConfig } from '../../src/config.js'
import { openHoldfast, type Holdfast } from '../../src/holdfast.js'
import { MailServer } from '../support/mail-server.js'
import { addMails, rowsOf, SENDER } from '../support/mails.js'
import { until } from '../support/poll.js'
import { freePort } from '../support/ports.js'
import { freshStore } from '../support/server.js'

const silent = {
  onDebug: () => {},
  onWarning: () => {},
  onMail: () => {},
  onError: () => {},
  onUnfit: () => {}
}

async function open(
  options: Parameters<typeof resolveConfig>[0],
  serves = true
): Promise<Holdfast> {
  const config = resolveConfig({ baseUrl: 'http://localhost:3000', mailFrom: SENDER, ...options })
  const holdfast = await openHoldfast(config, '', silent, { serves })
  await holdfast.prepared
  return holdfast
}

t.test('a server is ready without its mail server, and sends when that is back', async (t) => {
  const port = await freePort()
  const holdfast = await open({ ...(await freshStore(t)), smtpUrl: `smtp://127.0.0.1:${port}` })
  try {
    t.equal(holdfast.ready(), true)
    await addMails(holdfast.prisma, ['ada@example.com'])
    await until('the job to have tried', async () =>
      (await rowsOf(holdfast.prisma)).some(({ failure }) => failure?.includes('ECONNREFUSED'))
    )
    t.equal(holdfast.accepting(), true)
    const server = await MailServer.start(t, { port })
    await until('it to be sent by the job alone', () => server.received.length === 1)
  } finally {
    await holdfast.close()
  }
})

t.test('a process that does not serve writes mails, and sends none', async (t) => {
  const server = await MailServer.start(t)
  const holdfast = await open({ ...(await freshStore(t)), smtpUrl: server.url }, false)
  try {
    t.equal(holdfast.mail?.worker, null)
    await holdfast.mail?.outbox.add(holdfast.prisma, [
      { kind: 'reset', recipient: 'ada@example.com', userId: null, language: 'en', ttlSeconds: 60 }
    ])
    t.match(await rowsOf(holdfast.prisma), [{ attempts: 0, sentAt: null }])
  } finally {
    await holdfast.close()
  }
})

t.test('a server that closes while its mail server hangs gives the mail back', async (t) => {
  const server = await MailServer.start(t)
  server.onRecipient = () => new Promise(() => {})
  const options = { ...(await freshStore(t)), smtpUrl: server.url }
  const first = await open(options)
  await first.mail?.outbox.add(first.prisma, [
    { kind: 'reset', recipient: 'ada@example.com', userId: null, language: 'en', ttlSeconds: 600 }
  ])
  await until('a connection', () => server.mostConnections === 1)
  const startedAt = performance.now()
  await first.close()
  const tookMs = performance.now() - startedAt
  t.ok(tookMs < 9_000, `${tookMs} ms`)
  server.onRecipient = () => null
  const second = await open(options)
  try {
    await until('the next server to send it', () => server.received.length === 1)
    await second.mail?.worker?.idle()
    t.match(await rowsOf(second.prisma), [{ sentAt: Date, claim: null }])
  } finally {
    await second.close()
  }
})
