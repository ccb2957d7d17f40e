import { simpleParser, type ParsedMail } from 'mailparser'
import type { Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
import { MailServer } from './mail-server.js'
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

/** The mailboxes of all people of a test of pages, behind one SMTP server. */
export class Mailboxes {
  readonly #server: MailServer
  readonly #mails: ParsedMail[] = []
  readonly #read = new Set<ParsedMail>()
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
    const mail = await until(`a mail to ${address} about ${subject}`, async () =>
      (await this.#all()).find(
        (each) => !this.#read.has(each) && isTo(each, address) && subject.test(each.subject ?? '')
      )
    )
    this.#read.add(mail)
    const text = mail.text ?? ''
    const link = /^(https?:\/\/\S+[?&]token=\S+)$/m.exec(text)?.[1]
    return {
      subject: mail.subject ?? '',
      text,
      language: headerOf(mail, 'content-language'),
      link: link === undefined ? '' : new URL(link).pathname + new URL(link).search,
      code: /^(\d{6})$/m.exec(text)?.[1] ?? ''
    }
  }

  /** How many mails an address was sent. */
  count(address: string): number {
    return this.#server.received.filter(({ to }) => to.includes(address)).length
  }

  async #all(): Promise<ParsedMail[]> {
    for (const { raw } of this.#server.received.slice(this.#mails.length))
      this.#mails.push(await simpleParser(raw))
    return this.#mails
  }
}

/** A header that is a text. Empty where it is missing. */
function headerOf({ headers }: Pick<ParsedMail, 'headers'>, name: string): string {
  const value = headers.get(name)
  return typeof value === 'string' ? value : ''
}

function isTo({ to }: ParsedMail, address: string): boolean {
  return [to ?? []]
    .flat()
    .some(({ value }) => value.some((each) => each.address?.toLowerCase() === address))
}

/** Builds a server that sends mails. */
export async function buildWithMail(
  t: Test,
  overrides: HoldfastOptions = {}
): Promise<Running & { mails: Mailboxes }> {
  const mails = await Mailboxes.open(t)
  return { ...(await build(t, { ...mails.settings, ...overrides })), mails }
}
