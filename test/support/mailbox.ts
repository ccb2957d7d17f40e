import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { simpleParser, type ParsedMail } from 'mailparser'
import { SMTPServer } from 'smtp-server'
import type { Test } from 'tap'
import type { HoldfastOptions } from '../../src/config.js'
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
  readonly #mails: ParsedMail[] = []
  readonly #read = new Set<ParsedMail>()
  readonly settings: Pick<HoldfastOptions, 'smtpUrl' | 'mailFrom'>

  private constructor(port: number) {
    this.settings = {
      smtpUrl: `smtp://127.0.0.1:${port}`,
      mailFrom: 'Field Notes <no-reply@mail.example.com>'
    }
  }

  /** Starts a server on loopback. It ends with the test. */
  static async open(t: Pick<Test, 'teardown'>): Promise<Mailboxes> {
    const parsed = async (raw: Buffer) => boxes.#mails.push(await simpleParser(raw))
    const server = new SMTPServer({
      authOptional: true,
      disableReverseLookup: true,
      hideSTARTTLS: true,
      onData(stream, _session, done) {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.once('end', () => {
          parsed(Buffer.concat(chunks)).then(
            () => done(),
            (error: unknown) => done(error as Error)
          )
        })
      }
    })
    const listening = server.listen(0, '127.0.0.1')
    await once(listening, 'listening')
    t.teardown(() => new Promise<void>((resolve) => void server.close(() => resolve())))
    const boxes = new Mailboxes((listening.address() as AddressInfo).port)
    return boxes
  }

  /** Waits for a mail to an address that was not read yet, and reads it. */
  async read(address: string, subject: RegExp): Promise<ReadMail> {
    const mail = await until(`a mail to ${address} about ${subject}`, () =>
      this.#mails.find(
        (each) => !this.#read.has(each) && isTo(each, address) && subject.test(each.subject ?? '')
      )
    )
    this.#read.add(mail)
    const text = mail.text ?? ''
    const link = /^(https?:\/\/\S+[?&]token=\S+)$/m.exec(text)?.[1]
    return {
      subject: mail.subject ?? '',
      text,
      language: String(mail.headers.get('content-language') ?? ''),
      link: link === undefined ? '' : new URL(link).pathname + new URL(link).search,
      code: /^(\d{6})$/m.exec(text)?.[1] ?? ''
    }
  }

  /** How many mails an address was sent. */
  count(address: string): number {
    return this.#mails.filter((mail) => isTo(mail, address)).length
  }
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
