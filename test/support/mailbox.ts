import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { simpleParser, type ParsedMail } from 'mailparser'
import type { Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import { languages } from '../../src/language.js'
import { mailKinds, type MailKind } from '../../src/mail/mail.js'
import { dictionaries } from '../../src/mail/texts/texts.js'
import { MailServer } from './mail-server.js'
import { until } from './poll.js'
import { freshStore, storage } from './server.js'

/** A mail, as its reader sees it. */
export interface ReadMail {
  kind: MailKind
  to: string
  subject: string
  text: string
  html: string
  language: string
  /** The address of its link, with the token. Empty where it has none. */
  link: string
  /** The token of its link. Empty where it has none. */
  token: string
  /** Its code. Empty where it has none. */
  code: string
}

/** The mailboxes of all people of a test. */
export class Mailbox {
  readonly #source: MailSource
  readonly #mails: ReadMail[] = []
  readonly #read = new Set<ReadMail>()
  #seen = 0
  /** What the server is built with, so that its mails come here. */
  readonly settings: HoldfastOptions

  constructor(source: MailSource, settings: HoldfastOptions) {
    this.#source = source
    this.settings = settings
  }

  /** Waits for a mail of a kind to an address that was not read yet, and reads it. */
  async next(kind: MailKind, to: string): Promise<ReadMail> {
    const mail = await until(`a mail ${kind} to ${to}`, async () =>
      (await this.all(to)).find((each) => each.kind === kind && !this.#read.has(each))
    )
    this.#read.add(mail)
    return mail
  }

  /** All mails that an address was sent so far, those that were read included. */
  async all(to: string): Promise<ReadMail[]> {
    const raw = this.#source()
    for (const mail of raw.slice(this.#seen)) this.#mails.push(toReadMail(await simpleParser(mail)))
    this.#seen = Math.max(this.#seen, raw.length)
    return this.#mails.filter((mail) => mail.to === to)
  }
}

/** All mails so far, as they were sent. The order does not change. */
type MailSource = () => readonly Buffer[]

/**
 * Opens the mailboxes. On the embedded store the server writes files; on PostgreSQL an SMTP server
 * of the test takes the mails.
 */
export async function openMailbox(t: Pick<Test, 'teardown'>): Promise<Mailbox> {
  if (storage === 'postgres') return openSmtpMailbox(t)
  const store = await freshStore(t)
  const folder = join(store.dataDir ?? '', 'mail')
  const known = new Map<string, Buffer>()
  return new Mailbox(() => {
    for (const name of namesIn(folder))
      if (!known.has(name)) known.set(name, readFileSync(join(folder, name)))
    return [...known.values()]
  }, store)
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.eml'))
      .toSorted()
  } catch {
    return [] // no mail was written yet
  }
}

async function openSmtpMailbox(t: Pick<Test, 'teardown'>): Promise<Mailbox> {
  const server = await MailServer.start(t, { offersTls: false })
  return new Mailbox(() => server.received.map(({ raw }) => Buffer.from(raw)), {
    smtpUrl: server.url,
    mailFrom: 'Field Notes <no-reply@mail.example.com>'
  })
}

function toReadMail({ subject = '', text = '', html, headers, to }: ParsedMail): ReadMail {
  const language = headers.get('content-language')
  const link = /^(https?:\/\/\S+[?&]token=\S+)$/m.exec(text)?.[1] ?? ''
  return {
    kind: kindFrom(subject),
    to: [to ?? []].flat()[0]?.value[0]?.address ?? '',
    subject,
    text,
    html: typeof html === 'string' ? html : '',
    language: typeof language === 'string' ? language : '',
    link,
    token: link === '' ? '' : (new URL(link).searchParams.get('token') ?? ''),
    code: /^(\d{6})$/m.exec(text)?.[1] ?? ''
  }
}

/** The kind of a mail, by its subject in any language. */
function kindFrom(subject: string): MailKind {
  const kind = mailKinds.find((each) =>
    languages.some(({ code }) => {
      const [before = '', after = ''] = dictionaries[code].kinds[each]
        .subject({ brand: '\0' })
        .split('\0')
      return subject.startsWith(before) && subject.endsWith(after)
    })
  )
  if (kind === undefined) throw new Error(`a mail has another subject: ${subject}`)
  return kind
}
