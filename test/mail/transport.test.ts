import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { simpleParser } from 'mailparser'
import t, { type Test } from 'tap'
import { makeCertificate } from '../support/certificate.js'
import { TestClock } from '../support/clock.js'
import { MailServer } from '../support/mail-server.js'
import { MailRefused, type MailMessage } from '../../src/mail/mail.js'
import { isMailAddress, parseMailbox } from '../../src/mail/mailbox.js'
import { parseSmtpUrl, SmtpUrlError } from '../../src/mail/smtp-url.js'
import { createMailTransport, type MailSettings } from '../../src/mail/transport.js'

const sendMail = async () => {}

const message: MailMessage = {
  id: '0198f3a2-7c1b-7def-8123-456789abcdef',
  kind: 'reset',
  from: 'Field Notes <no-reply@mail.example.com>',
  to: 'ada@example.com',
  language: 'en',
  subject: 'Set a new password',
  text: 'Follow the link.\n.\nThe line above is a dot.\n',
  html: '<p>Follow the link.</p>'
}

function transportFor(settings: Partial<MailSettings>, written: string[] = []) {
  const transport = createMailTransport({
    settings: { dataDir: 'unused', ...settings },
    clock: new TestClock(),
    onWritten: (path) => written.push(path)
  })
  if (!transport) throw new Error('mail is off')
  return transport
}

function makeFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-mail-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

t.test('mail is off on PostgreSQL without a server, and goes first to the option', async (t) => {
  const settings = { dataDir: 'unused', databaseUrl: 'postgresql://db/holdfast' }
  const options = { clock: new TestClock(), onWritten: () => {} }
  t.equal(createMailTransport({ settings, ...options }), null)
  t.equal(createMailTransport({ settings, sendMail, ...options })?.name, 'sendMail')
  const smtpUrl = 'smtp://user:secret@smtp.example.com:25'
  t.equal(
    createMailTransport({ settings: { ...settings, smtpUrl }, ...options })?.name,
    'smtp.example.com:25'
  )
  t.equal(
    createMailTransport({ settings: { ...settings, smtpUrl }, sendMail, ...options })?.name,
    'sendMail'
  )
  t.equal(createMailTransport({ settings: { dataDir: 'data' }, ...options })?.name, 'data/mail')
})

t.test('SMTP_URL is read, and TLS follows from it', async (t) => {
  const read: [url: string, target: object][] = [
    [
      'smtp://smtp.example.com',
      { host: 'smtp.example.com', port: 587, tls: 'offered', login: null, name: null }
    ],
    [
      'smtp://user:p%40ss%3A%2F@smtp.example.com:2525/',
      { port: 2525, tls: 'required', login: { user: 'user', password: 'p@ss:/' } }
    ],
    ['smtps://user:secret@smtp.example.com', { port: 465, tls: 'implicit' }],
    ['smtp://[2001:db8::1]:25', { host: '2001:db8::1', port: 25 }],
    ['smtp://user:secret@127.0.0.1', { tls: 'none' }],
    ['smtp://localhost:1025', { tls: 'none' }],
    ['smtp://localhost?requireTLS=true', { tls: 'required' }],
    [
      'smtp://relay.internal?ignoreTLS=true&name=app.internal',
      { tls: 'none', name: 'app.internal' }
    ]
  ]
  for (const [url, target] of read) t.match(parseSmtpUrl(url), target, url)
  const wrong = [
    'http://smtp.example.com',
    'smtp.example.com',
    'smtp://',
    'smtp://user:hunter2@',
    'smtp://user@smtp.example.com',
    'smtp://:hunter2@smtp.example.com',
    'smtp://user:hunt@er2@smtp.example.com',
    'smtp://user:hunt:er2@smtp.example.com',
    'smtp://user:hunt#er2@smtp.example.com',
    'smtp://user:hunt/er2@smtp.example.com',
    'smtp://user:hunt?er2=x@smtp.example.com',
    'smtp://user:%0d%0ahunter2@smtp.example.com',
    'smtp://user:%hunter2@smtp.example.com',
    'smtp://smtp.example.com:0',
    'smtp://smtp.example.com:hunter2',
    'smtp://smtp.example.com/hunter2',
    'smtp://smtp.example.com?tls.rejectUnauthorized=false',
    'smtp://smtp.example.com?requireTLS=false',
    'smtp://smtp.example.com?requireTLS=true&ignoreTLS=true',
    'smtps://smtp.example.com?ignoreTLS=true',
    'smtp://user:hunter2@smtp.example.com?ignoreTLS=true',
    'smtp://smtp.example.com?name=a%0d%0aRSET',
    'smtp://smtp.example.com?name=a&name=b'
  ]
  for (const url of wrong) {
    try {
      parseSmtpUrl(url)
      t.fail(`${url} was taken`)
    } catch (error) {
      t.ok(error instanceof SmtpUrlError, url)
      t.notMatch((error as Error).message, /hunt|er2/, 'the message has no part of the password')
    }
  }
})

t.test('MAIL_FROM is one mailbox, and nothing else', async (t) => {
  const address = 'no-reply@example.com'
  t.strictSame(parseMailbox(address), { name: '', address })
  t.strictSame(parseMailbox(`Field Notes <${address}>`), { name: 'Field Notes', address })
  t.strictSame(parseMailbox(`"Notes, Field" <${address}>`), { name: 'Notes, Field', address })
  t.strictSame(parseMailbox(`Grüße <${address}>`), { name: 'Grüße', address })
  for (const wrong of [
    '',
    'Field Notes',
    'a@b@example.com',
    'a@example.com, b@example.com',
    'a@example.com b@example.com',
    'Field\r\nBcc: x@example.com <a@example.com>',
    'Field <a@example.com>\r\nBcc: x@example.com',
    'Field <a@example.com>, x@example.com',
    'Field <<a@example.com>>',
    'a@exa mple.com',
    'a@.example.com',
    `${'a'.repeat(65)}@example.com`
  ])
    t.equal(parseMailbox(wrong), null, JSON.stringify(wrong))
  t.ok(isMailAddress("o'hara+x@example.com"))
  t.ok(isMailAddress('jürgen@bücher.example'))
  t.notOk(isMailAddress('a@example.com\n'))
})

t.test('no text can add a header, a part or a recipient', async (t) => {
  const server = await MailServer.start(t)
  const transport = transportFor({ smtpUrl: server.url })
  const evil = 'x\r\nBcc: eve@example.com\r\nX-Evil: 1\r\n\r\nbody'
  await transport.send({ ...message, subject: evil, text: `${evil}\r\n.\r\nQUIT\r\n`, html: evil })
  const { to, raw } = server.received[0] ?? { to: [], raw: '' }
  t.strictSame(to, ['ada@example.com'])
  const [head = ''] = raw.split('\r\n\r\n')
  t.notMatch(head, /^(bcc|x-evil):/im)
  const mail = await simpleParser(raw)
  t.equal(mail.subject, 'x Bcc: eve@example.com X-Evil: 1 body')
  t.equal(mail.bcc, undefined)
  t.match(mail.text, /QUIT/, 'a line with a dot alone ends nothing')
  t.equal(server.received.length, 1)
  for (const to of [
    'a@example.com\r\nBcc: b@example.com',
    'a@example.com,b@example.com',
    '',
    'a'
  ]) {
    await t.rejects(transport.send({ ...message, to }), MailRefused)
  }
  await t.rejects(transport.send({ ...message, from: 'A\r\nBcc: b@c.example <a@example.com>' }))
  await t.rejects(transport.send({ ...message, id: 'x>\r\nBcc: eve@example.com' }))
  await transport.send({ ...message, language: 'en\r\nBcc: eve@example.com' as 'en' })
  t.notMatch(server.received[1]?.raw, /^bcc:/im)
  t.notOk(server.received.some(({ to }) => to.length !== 1 || to[0] !== 'ada@example.com'))
})

t.test('a server with a certificate that is trusted gets mails over TLS', async (t) => {
  const certificate = makeCertificate(['127.0.0.1'])
  const smtpCaFile = join(makeFolder(t), 'ca.pem')
  writeFileSync(smtpCaFile, certificate.cert)
  const login = { user: 'holdfast', password: 'secret' }
  const starting = await MailServer.start(t, { certificate, login })
  const implicit = await MailServer.start(t, { certificate, login, secure: true })
  for (const [server, smtpUrl] of [
    [starting, `smtp://holdfast:secret@127.0.0.1:${starting.port}?requireTLS=true`],
    [implicit, `smtps://holdfast:secret@127.0.0.1:${implicit.port}`]
  ] as const) {
    const transport = transportFor({ smtpUrl, smtpCaFile })
    t.match(await transport.sendAndReport(message), { reply: /^250 .*taken/, tls: /^TLSv1\.[23]$/ })
    t.match(server.received, [{ secure: true, user: 'holdfast' }])
    await transport.close()
    await t.rejects(transport.send(message), /stopping/)
  }
})

t.test('without STARTTLS a server that must have it gets neither password nor mail', async (t) => {
  const server = await MailServer.start(t, {
    offersTls: false,
    login: { user: 'holdfast', password: 'secret' }
  })
  const transport = transportFor({
    smtpUrl: `smtp://holdfast:secret@127.0.0.1:${server.port}?requireTLS=true`
  })
  await t.rejects(transport.send(message), { name: 'SmtpFailed' })
  t.equal(server.logins, 0)
  t.equal(server.received.length, 0)
})

t.test('on loopback a mail goes without TLS, and the receipt says so', async (t) => {
  const server = await MailServer.start(t)
  const transport = transportFor({ smtpUrl: server.url })
  t.match(await transport.sendAndReport(message), { reply: /^250/, tls: null })
  t.match(server.received, [{ secure: false }])
})

t.test('the embedded store writes mails to files that only its user can read', async (t) => {
  const dataDir = makeFolder(t)
  const written: string[] = []
  const transport = transportFor({ dataDir }, written)
  await Promise.all([
    transport.send({ ...message, from: null }),
    transport.send({ ...message, id: 'second', kind: 'verify' })
  ])
  const folder = join(dataDir, 'mail')
  t.strictSame(readdirSync(folder).toSorted(), [
    '20260102T030405678Z-reset-0198f3a2-7c1b-7def-8123-456789abcdef.eml',
    '20260102T030405678Z-verify-second.eml'
  ])
  t.strictSame(
    written.toSorted(),
    readdirSync(folder)
      .map((name) => join(folder, name))
      .toSorted()
  )
  t.equal(statSync(folder).mode & 0o777, 0o700)
  for (const path of written) t.equal(statSync(path).mode & 0o777, 0o600)
  const mail = await simpleParser(readFileSync(written[0] ?? '', 'utf8'))
  t.match(mail.to, { text: 'ada@example.com' })
  t.match(mail.text, /The line above is a dot/)
  t.strictSame(mail.date, new Date('2026-01-02T03:04:05.000Z'))
})

t.test('only the newest 500 files are kept, and no other file is touched', async (t) => {
  const dataDir = makeFolder(t)
  const transport = transportFor({ dataDir })
  await transport.send(message)
  const folder = join(dataDir, 'mail')
  writeFileSync(join(folder, '20250101T000000000Z-x.eml.tmp'), 'half a ma')
  t.equal(readdirSync(folder).length, 2)
  const after = transportFor({ dataDir })
  writeFileSync(join(folder, 'mine.eml'), '')
  for (let n = 0; n < 520; n++)
    writeFileSync(join(folder, `20250101T000000${String(n).padStart(3, '0')}Z-reset-x${n}.eml`), '')
  await after.send({ ...message, id: 'last' })
  const names = readdirSync(folder).toSorted()
  t.equal(names.length, 501)
  t.ok(names.includes('mine.eml'))
  t.ok(names.some((name) => name.endsWith('-last.eml')))
  t.equal(names[0], '20250101T000000022Z-reset-x22.eml')
})
