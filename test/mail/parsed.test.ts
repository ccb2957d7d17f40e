import { simpleParser } from 'mailparser'
import t from 'tap'
import { languages } from '../../src/language.js'
import { composeMail } from '../../src/mail/compose.js'
import { mailKinds } from '../../src/mail/mail.js'
import { sampleContent } from '../../src/mail/preview.js'
import { renderMail } from '../../src/mail/render-mail.js'

const SENT_AT = Date.parse('2026-11-27T14:05:30Z')

t.test('a mail program reads every mail, in both languages', async (t) => {
  for (const kind of mailKinds) {
    for (const { code: language } of languages) {
      const content = sampleContent(kind, language)
      const texts = renderMail(content)
      const { raw } = await composeMail(
        {
          ...texts,
          id: '01a21e2b-3cdd-7487-8aea-3386dad96021',
          kind,
          language,
          from: 'Field Notes <no-reply@example.com>',
          to: content.account
        },
        SENT_AT
      )
      const mail = await simpleParser(raw)
      const name = `${kind} in ${language}`
      t.equal(mail.subject, texts.subject, `${name}: the subject`)
      t.match(mail.from?.value, [{ name: 'Field Notes', address: 'no-reply@example.com' }], name)
      t.match(mail.to, { value: [{ address: 'ada@example.com' }] }, `${name}: one recipient`)
      t.notOk(mail.cc ?? mail.bcc ?? mail.replyTo, `${name}: no other recipient`)
      t.equal(mail.date?.getTime(), SENT_AT, `${name}: the date`)
      t.equal(mail.messageId, '<01a21e2b-3cdd-7487-8aea-3386dad96021@example.com>', name)
      t.equal(mail.headers.get('auto-submitted'), 'auto-generated', `${name}: RFC 3834`)
      t.equal(mail.headers.get('content-language'), language, `${name}: the language`)
      t.match(mail.headers.get('content-type'), { value: 'multipart/alternative' }, name)
      t.equal(mail.text?.trimEnd(), texts.text.trimEnd(), `${name}: the text part`)
      t.equal(
        typeof mail.html === 'string' ? mail.html.trimEnd() : null,
        texts.html.trimEnd(),
        `${name}: the HTML part`
      )
      t.strictSame(mail.attachments, [], `${name}: no attachment`)
      // Only what a person clicks on leads anywhere: a mail program loads nothing by itself.
      t.notMatch(
        texts.html,
        /<(?:img|script|iframe|object|embed|link|video|audio|base|form|input)\b|url\(|@import|\b(?:src|srcset|background|poster|action)\s*=/i,
        `${name}: no remote content`
      )
    }
  }
})
