import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../clock.js'
import { composeMail, inOneLine, UnmailableAddress } from './compose.js'
import { MailRefused, type MailMessage, type MailTransport, type SendMail } from './mail.js'
import { isMailAddress } from './mailbox.js'
import { MailFolder } from './mail-folder.js'
import { SEND_MS, sendBySmtp } from './smtp.js'
import { parseSmtpUrl } from './smtp-url.js'

/** Why a mail to something that is no address is given up. */
const NO_ADDRESS = 'not an address'

/** The settings that say how mails are sent. */
export interface MailSettings {
  readonly smtpUrl?: string | undefined
  readonly smtpCaFile?: string | undefined
  readonly databaseUrl?: string | undefined
  readonly dataDir: string
}

/** What became of a mail that `holdfast mail test` has sent. */
export interface MailReceipt {
  /** What the server said, or the path of the file. Null where the option `sendMail` took it. */
  reply: string | null
  /** The version of TLS with which it was handed over. Null without TLS. */
  tls: string | null
}

/** A transport that also tells what became of a mail. */
export interface ReportingTransport extends MailTransport {
  /** @throws as `send` does */
  sendAndReport: (message: MailMessage) => Promise<MailReceipt>
}

export interface TransportOptions {
  settings: MailSettings
  clock: Clock
  /** Sends mails in place of SMTP. */
  sendMail?: SendMail | undefined
  /** Told of each mail that was written to a file. */
  onWritten: (path: string) => void
}

/**
 * How this process sends mails: by the option `sendMail`, else to the server of SMTP_URL, else, on
 * the embedded store, into files. Null where mail is off.
 */
export function createMailTransport({
  settings,
  clock,
  sendMail,
  onWritten
}: TransportOptions): ReportingTransport | null {
  if (sendMail) return toOption(sendMail)
  if (settings.smtpUrl !== undefined) return toServer(settings.smtpUrl, settings.smtpCaFile, clock)
  if (settings.databaseUrl === undefined)
    return toFiles(new MailFolder(join(settings.dataDir, 'mail')), clock, onWritten)
  return null
}

function reporting(
  name: string,
  sendAndReport: (message: MailMessage) => Promise<MailReceipt>,
  close: () => void = () => {}
): ReportingTransport {
  return {
    name,
    sendAndReport,
    async send(message) {
      await sendAndReport(message)
    },
    close: async () => close()
  }
}

function toServer(url: string, caFile: string | undefined, clock: Clock): ReportingTransport {
  const target = parseSmtpUrl(url)
  const ca = caFile === undefined ? undefined : readFileSync(caFile, 'utf8')
  const closing = new AbortController()
  return reporting(
    `${target.host}:${target.port}`,
    async (message) => sendBySmtp(target, ca, await composed(message, clock.now()), closing.signal),
    () => closing.abort()
  )
}

function toFiles(
  folder: MailFolder,
  clock: Clock,
  onWritten: (path: string) => void
): ReportingTransport {
  return reporting(folder.path, async (message) => {
    const now = clock.now()
    const { raw } = await composed(message, now)
    const path = await folder.write({ id: message.id, kind: message.kind, raw }, now)
    onWritten(path)
    return { reply: path, tls: null }
  })
}

function toOption(sendMail: SendMail): ReportingTransport {
  return reporting('sendMail', async (given) => {
    if (!isMailAddress(given.to)) throw new MailRefused(NO_ADDRESS)
    const message = { ...given, subject: inOneLine(given.subject) }
    let timer: NodeJS.Timeout | undefined
    const tooLong = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`sendMail took longer than ${SEND_MS / 1000} s`)),
        SEND_MS
      )
    })
    try {
      await Promise.race([sendMail(message), tooLong])
    } finally {
      clearTimeout(timer)
    }
    return { reply: null, tls: null }
  })
}

async function composed(message: MailMessage, now: number) {
  try {
    return await composeMail(message, now)
  } catch (error) {
    throw error instanceof UnmailableAddress ? new MailRefused(NO_ADDRESS, error) : error
  }
}
