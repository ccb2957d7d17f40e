import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { languages, type Language } from '../../src/language.js'
import { mailKinds, type MailContent, type MailFacts } from '../../src/mail/mail.js'
import { proofKinds } from '../../src/mail/mail-blocks.js'
import { previewMails, sampleContent } from '../../src/mail/preview.js'
import { renderMail } from '../../src/mail/render-mail.js'
import { dictionaries } from '../../src/mail/texts/texts.js'
import { SOME_APPLE_DEVICE } from '../../src/session/device-words.js'
import { command } from '../support/command.js'
import { makeFolder } from '../support/folder.js'

const LINK = 'https://auth.example.com/proof/l1nk?a=1&b=2'
const NOT_ME = 'https://auth.example.com/not-me/n0tme'
const CODE = '271828'

/** All mails in all languages, with everything that a mail can have. */
const mails = mailKinds.flatMap((kind) =>
  languages.map(({ code: language }) => ({
    name: `${kind}.${language}`,
    content: {
      ...sampleContent(kind, language),
      link: LINK,
      code: CODE,
      notMeLink: NOT_ME,
      validUntil: new Date('2026-11-27T15:05:59.999Z')
    } satisfies MailContent
  }))
)

const english = (kind: MailContent['kind'], more: Partial<MailContent> = {}) =>
  renderMail({ ...sampleContent(kind, 'en'), ...more })

/** What a person sees of HTML, one line. */
const shown = (html: string) =>
  html
    .replace(/<head>[^]*<\/head>/, '')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll(/\s+/g, ' ')
    .trim()
const onOneLine = (text: string) => text.replaceAll(/\s+/g, ' ').trim()
const links = (html: string) =>
  [...html.matchAll(/href="([^"]*)"/g)].map(([, href = '']) => href.replaceAll('&amp;', '&'))

/** A device, as a mail describes it. */
const described = (language: Language, program: string | null, system: string | null) =>
  /^(?:Device|Gerät): (.*)$/m.exec(
    renderMail({
      ...sampleContent('new-device', language),
      facts: { device: { program, system }, from: '203.0.113.5' }
    }).text
  )?.[1]

/** What must stand in no mail, whatever it is made from. */
function isClean(t: Test, { subject, text, html }: ReturnType<typeof renderMail>): void {
  for (const part of [subject, text, shown(html)]) {
    t.notMatch(part, /undefined|\bnull\b|\[object|NaN|Invalid|\$\{|\{\{|\{[a-z]+\}/)
    t.notMatch(part, / [.,:]|\.\.|,,/, 'no sentence lacks a word')
  }
  t.notMatch(html, /<p[^>]*><\/p>|<div[^>]*><\/div>|<b><\/b>/, 'nothing is empty')
  t.notMatch(html, /<(?:img|script|style|link|iframe|object|form|svg|base)\b|url\(|@import|src=/i)
  t.notMatch(text, /\n{3}|^\n/)
}

t.test('text and HTML of every mail say the same', async (t) => {
  for (const { name, content } of mails) {
    const mail = renderMail(content)
    isClean(t, mail)
    const asText = shown(mail.html).replaceAll(` ${dictionaries[content.language].button} `, ': ')
    t.equal(asText, onOneLine(mail.text.replace('\n-- \n', '\n')), name)
    t.ok(mail.html.startsWith(`<!doctype html><html lang="${content.language}" `), name)
    t.ok(mail.html.includes(`<title>${mail.subject}</title>`), name)
    t.match(mail.subject, /Example/, 'the subject names the product')
  }
})

t.test('link, code and address are in both parts, and no other address', async (t) => {
  for (const { name, content } of mails) {
    const { subject, text, html } = renderMail(content)
    const lines = text.split('\n')
    t.ok(lines.includes(LINK), `${name}: the link is a line`)
    t.ok(lines.includes(CODE), `${name}: the code is a line`)
    t.match(html, new RegExp(`>${CODE}</p>`), `${name}: the code is one word`)
    t.notMatch(subject, CODE, `${name}: the code is not in the subject`)
    const hasNotMe = dictionaries[content.language].kinds[content.kind].notMe !== null
    t.equal(lines.includes(NOT_ME), hasNotMe, name)
    t.strictSame(links(html), [LINK, LINK, ...(hasNotMe ? [NOT_ME, NOT_ME] : [])], name)
    for (const part of [text, shown(html)])
      for (const [address] of part.matchAll(/\bhttps?:\S+/g))
        t.ok([LINK, NOT_ME, content.origin].includes(address), `${name}: ${address}`)
    if (!['change-verify', 'test'].includes(content.kind))
      for (const part of [text, html]) t.ok(part.includes(content.account), name)
  }
})

t.test('lines of text have 72 columns, but for links', async (t) => {
  for (const { name, content } of mails)
    for (const line of renderMail(content).text.split('\n'))
      t.ok(line.length <= 72 || line === LINK || line === NOT_ME, `${name}: ${line}`)
})

t.test('times are exact, in UTC, and never later than the end', async (t) => {
  for (const { name, content } of mails) {
    const { text } = renderMail(content)
    const [at, until] =
      content.language === 'en'
        ? ['27 November 2026, 14:05 UTC', '27 November 2026, 15:05 UTC']
        : ['27. November 2026, 14:05 Uhr UTC', '27. November 2026, 15:05 Uhr UTC']
    t.ok(onOneLine(text).includes(at), name)
    const { notMe } = dictionaries[content.language].kinds[content.kind]
    const ends = proofKinds.has(content.kind) || notMe !== null
    t.equal(onOneLine(text).includes(until), ends, name)
  }
})

t.test('a mail without link, code or both says only what it has', async (t) => {
  for (const { name, content } of mails) {
    const words = dictionaries[content.language]
    const { action, notYou, notMe } = words.kinds[content.kind]
    const codeOnly = renderMail({ ...content, link: null, notMeLink: null })
    isClean(t, codeOnly)
    t.ok(codeOnly.text.includes(words.code.slice(0, 20)), name)
    t.notMatch(codeOnly.text.toLowerCase(), /\blink\b/, `${name}: no link`)
    t.strictSame(links(codeOnly.html), [], name)
    t.notOk(shown(codeOnly.html).includes(`${action} `) && codeOnly.text.includes(`${action}:`))
    if (notYou !== null) t.ok(onOneLine(codeOnly.text).includes(notYou), name)

    const linkOnly = renderMail({ ...content, code: null })
    isClean(t, linkOnly)
    t.notMatch(linkOnly.text, /\bCode\b/i, `${name}: no code`)
    if (notMe !== null) t.ok(onOneLine(linkOnly.text).includes(notMe), name)

    const neither = renderMail({ ...content, link: null, code: null, notMeLink: null })
    isClean(t, neither)
    t.notMatch(neither.text, /\bCode\b|\blink\b|15:05/i, name)
  }
})

t.test('a mail without one of its facts is whole', async (t) => {
  const facts: MailFacts = {
    at: '2026-11-27T14:05:00.000Z',
    device: { program: 'Firefox', system: 'Linux' },
    from: '203.0.113.5',
    newEmail: 'lovelace@example.com'
  }
  const variants: MailFacts[] = [
    {},
    ...Object.keys(facts).map((left) =>
      Object.fromEntries(Object.entries(facts).filter(([name]) => name !== left))
    ),
    { ...facts, at: 'soon' },
    { ...facts, from: '' },
    { ...facts, device: { program: null, system: null } },
    { ...facts, device: { program: 'curl', system: null } },
    { ...facts, device: { program: null, system: 'iPad' } }
  ]
  for (const { content } of mails) {
    for (const some of variants) isClean(t, renderMail({ ...content, facts: some }))
    isClean(t, renderMail({ ...content, facts: {}, validUntil: null, link: null, code: null }))
  }
})

t.test('devices are described in the language of the mail', async (t) => {
  t.equal(described('en', 'Firefox', 'Linux'), 'Firefox on Linux, 203.0.113.5')
  t.equal(described('de', 'Firefox', 'Linux'), 'Firefox unter Linux, 203.0.113.5')
  t.equal(described('de', 'Safari', 'iPhone'), 'Safari auf dem iPhone, 203.0.113.5')
  t.equal(described('en', 'Notes', SOME_APPLE_DEVICE), 'Notes on an Apple device, 203.0.113.5')
  t.equal(described('de', 'Notes', SOME_APPLE_DEVICE), 'Notes auf einem Apple-Gerät, 203.0.113.5')
  t.equal(described('en', null, SOME_APPLE_DEVICE), 'an Apple device, 203.0.113.5')
  t.equal(described('en', 'curl', null), 'curl, 203.0.113.5')
  t.equal(described('en', null, null), undefined)
  t.match(english('new-device', { facts: { from: '2001:db8::5' } }).text, /: 2001:db8::5$/m)
})

t.test('no program or system is shown of which a mail program makes a link', async (t) => {
  for (const name of ['evil.example', 'www.evil', 'http://evil', 'a@evil', '+1(555)', '<b>x</b>'])
    for (const device of [
      { program: name, system: 'Linux' },
      { program: 'Firefox', system: name }
    ])
      for (const part of Object.values(english('reset', { facts: { device } })))
        t.notOk(String(part).includes(name), name)
})

t.test('mails to an unproven address carry nothing that the requester chose', async (t) => {
  const typed = {
    facts: {
      device: { program: 'Cheap-Pills', system: 'Spam' },
      newEmail: 'cheap-pills@example.org'
    }
  }
  for (const kind of ['verify', 'change-verify', 'already-account'] as const)
    for (const { code: language } of languages) {
      const mail = renderMail({ ...sampleContent(kind, language), ...typed })
      for (const part of Object.values(mail)) t.notMatch(part, /pills|spam/i, kind)
    }
  for (const part of Object.values(english('invitation')))
    t.notMatch(
      part,
      /203\.0\.113|Firefox/,
      'an invitation does not tell where the administrator is'
    )
  // The account that wants the address has one that its owner chose.
  for (const part of Object.values(english('change-verify', { account: 'pills@example.org' })))
    t.notMatch(part, /pills/)
})

t.test('what comes from outside is escaped, and stays on its line', async (t) => {
  const payload = `"'><script>alert(1)</script>\r\nBcc: eve@example.org\u2028\u202e\0\ud800\n\n<img src=x>`
  for (const { name, content } of mails) {
    const mail = renderMail({
      ...content,
      brand: payload,
      origin: payload,
      account: payload,
      link: `${LINK}&"><script>`,
      notMeLink: `${NOT_ME}"><script>`,
      facts: {
        at: payload,
        from: payload,
        newEmail: payload,
        device: { program: payload, system: payload }
      }
    })
    t.notMatch(mail.html, /<(?:script|img)|"'>|\0/, name)
    t.match(mail.html, /&quot;'>&lt;script>alert\(1\)&lt;\/script> Bcc: eve@example.org/, name)
    t.ok(links(mail.html).length >= 2, name)
    t.match(mail.subject, /^[^\p{Cc}\p{Cs}\p{Zl}\u202e]+$/u, name)
    t.notMatch(mail.text, /^Bcc: eve@example\.org\s*$|[\r\0\u2028\u202e]/m, name)
    t.equal(mail.text.split('\n\n')[0]?.replaceAll('\n', ' '), mail.subject, name)
  }
})

t.test('notices offer "this was not me", and say until when', async (t) => {
  for (const kind of mailKinds) {
    const { notMe } = dictionaries.en.kinds[kind]
    if (notMe === null) continue
    t.match(
      onOneLine(english(kind).text),
      /signs you out on every device, and sends you a mail/,
      kind
    )
    const ends = /This works once, until 30 November 2026, 14:05 UTC\./
    t.equal(ends.test(english(kind).text), kind !== 'change-confirm', kind)
    t.match(english(kind, { notMeLink: null }).text, /change your password/, kind)
  }
})

t.test('mail preview writes what it is asked for, without store or settings', async (t) => {
  const folder = join(makeFolder(t, {}), 'new')
  const none = {}
  const one = await command(none, ['mail', 'preview', 'reset', '--out', folder])
  t.equal(one.status, 0, one.stderr)
  t.strictSame(readdirSync(folder).toSorted(), [
    'reset.de.html',
    'reset.de.txt',
    'reset.en.html',
    'reset.en.txt'
  ])
  t.match(JSON.parse(one.stdout), [
    { file: join(folder, 'reset.en.html'), subject: 'Set a new password at Example' },
    { file: join(folder, 'reset.de.html') }
  ])
  const written = readFileSync(join(folder, 'reset.de.html'), 'utf8')
  t.equal(written, renderMail(sampleContent('reset', 'de')).html)

  t.equal((await previewMails(folder)).length, mailKinds.length * languages.length)
  t.equal(readdirSync(folder).length, mailKinds.length * languages.length * 2)

  const unknown = await command(none, ['mail', 'preview', 'nope', '--out', folder])
  t.equal(unknown.status, 2)
  for (const name of [...mailKinds, 'all']) t.ok(unknown.stderr.includes(name), name)
})
