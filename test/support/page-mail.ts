import { simpleParser, type ParsedMail } from 'mailparser'
import type { Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import { MailServer, type ReceivedMail } from './mail-server.js'
import { until } from './poll.js'
import { build, type Running } from './server.js'

/** A mail, as its reader sees it. */
export interface ReadMail {
  subject: string
  text: string
  language: string
  /** The path of its link, with the token. Empty where it has none. */
  link: string
  /** Its code. Empty where it has none. */
  code: string
}

/** The mailboxes of all people of a test, behind one SMTP server. */
export class Mailboxes {
  readonly #server: MailServer
  readonly #read = new Set<ReceivedMail>()

  /** What a server is built with, so that its mails come here. */
  readonly settings: Pick<HoldfastOptions, 'smtpUrl' | 'mailFrom'>

  private constructor(server: MailServer) {
    this.#server = server
    this.settings = {
      smtpUrl: server.url,
      mailFrom: 'Field Notes <no-reply@mail.example.com>'
    }
  }

  /** Starts a server on loopback. It ends with the test. */
  static async open(t: Pick<Test, 'teardown'>): Promise<Mailboxes> {
    return new Mailboxes(await MailServer.start(t, { offersTls: false }))
  }

  /** Waits for a mail to an address that was not read yet, and reads it. */
  async read(address: string, subject: RegExp): Promise<ReadMail> {
    const { received, mail } = await until(`a mail to ${address} about ${subject}`, async () => {
      for (const each of this.#server.received) {
        if (this.#read.has(each) || !each.to.includes(address)) continue
        const parsed = await simpleParser(each.raw)
        if (subject.test(parsed.subject ?? '')) return { received: each, mail: parsed }
      }
      return null
    })
    this.#read.add(received)
    return toReadMail(mail)
  }
}

function toReadMail({ subject = '', text = '', headerLines }: ParsedMail): ReadMail {
  const link = /^(https?:\/\/\S+[?&]token=\S+)$/m.exec(text)?.[1]
  const url = link === undefined ? null : new URL(link)
  const language = headerLines.find(({ key }) => key === 'content-language')?.line
  return {
    subject,
    text,
    language: language?.split(':', 2)[1]?.trim() ?? '',
    link: url === null ? '' : url.pathname + url.search,
    code: /^(\d{6})$/m.exec(text)?.[1] ?? ''
  }
}

/** Builds a server that sends mails, on either store. */
export async function buildWithMail(
  t: Test,
  overrides: HoldfastOptions = {}
): Promise<Running & { mails: Mailboxes }> {
  const mails = await Mailboxes.open(t)
  return { ...(await build(t, { ...mails.settings, ...overrides })), mails }
}
