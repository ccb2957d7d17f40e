import type { MailMessage } from './mail.js'
import { hostOfAddress, isMailAddress, parseMailbox, type Mailbox } from './mailbox.js'

/** A mail as SMTP and files carry it. */
export interface ComposedMail {
  /** The addresses of the envelope. */
  from: string
  to: string
  /** The message (RFC 5322): headers, a text part and an HTML part. */
  raw: Buffer
}

/** Where MAIL_FROM is not set, which only files allow. */
const NO_SENDER: Mailbox = { name: '', address: 'no-reply@localhost' }

/** A mail that cannot be composed: its recipient is not one plain address. */
export class UnmailableAddress extends Error {
  override readonly name = 'UnmailableAddress'
}

/** A subject without line breaks and other control characters. */
export function inOneLine(subject: string): string {
  return subject.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim()
}

/**
 * Composes a mail: multipart/alternative, with the id of its row in `Message-ID`, so that a mail that
 * is sent twice is the same. Whatever the texts and addresses hold, no header can be added.
 *
 * @param date milliseconds since 1970
 * @throws UnmailableAddress
 */
export async function composeMail(message: MailMessage, date: number): Promise<ComposedMail> {
  const { id, from, to, language, subject, text, html } = message
  const sender = from === null ? NO_SENDER : parseMailbox(from)
  if (!sender) throw new Error('the sender of a mail is no mailbox')
  if (!isMailAddress(to)) throw new UnmailableAddress('the recipient of a mail is no address')
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) throw new Error('the id of a mail has another form')
  // Loaded with the first mail, because most processes send none.
  const { default: MailComposer } = await import('nodemailer/lib/mail-composer')
  const raw = await new MailComposer({
    from: sender,
    to: { name: '', address: to },
    subject: inOneLine(subject),
    messageId: `<${id}@${hostOfAddress(sender.address)}>`,
    date: new Date(date),
    headers: {
      // RFC 3834, and what Exchange reads in its place: nothing answers by itself.
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'All',
      'Content-Language': language
    },
    text,
    html,
    disableFileAccess: true,
    disableUrlAccess: true
  })
    .compile()
    .build()
  return { from: sender.address, to, raw }
}
