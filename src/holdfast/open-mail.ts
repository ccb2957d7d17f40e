import { randomUUID } from 'node:crypto'
import { checkVerificationMail } from '../config/rules.js'
import type { Config } from '../config.js'
import type { Language } from '../language.js'
import type { MailContent, MailTexts, SendMail } from '../mail/mail.js'
import { MailOutbox } from '../mail/outbox.js'
import { MailPreparer } from '../mail/prepare.js'
import {
  createMailTransport,
  type MailReceipt,
  type ReportingTransport
} from '../mail/transport.js'
import { MailWorker } from '../mail/worker.js'
import type { Events } from './events.js'
import type { Store } from './open-store.js'

/** How often mails that are due are looked for, in milliseconds. A commit here does not wait. */
export const MAILS_MS = 1_000

/** Loads the texts with the first mail: most processes only check sessions. */
async function render(content: MailContent): Promise<MailTexts> {
  const { renderMail } = await import('../mail/render-mail.js')
  return renderMail(content)
}

/** Mail, where this process can send it. */
export interface Mail {
  readonly transport: ReportingTransport
  readonly outbox: MailOutbox
  /** Null in a process that does not serve: another one sends what it writes. */
  readonly worker: MailWorker | null
  /**
   * Sends the mail `test` now, and tells what became of it.
   *
   * @throws MailRefused, or any other error, where it was not sent
   */
  sendTest(to: string, language: Language): Promise<MailReceipt>
  /** Ends the worker and the connections. */
  close(): Promise<void>
}

export interface MailContext {
  config: Config
  prefix: string
  events: Events
  serves: boolean
  /** The option of the plugin. */
  sendMail?: SendMail | undefined
}

/**
 * Opens mail. Null where it is off: on PostgreSQL without SMTP_URL and the option `sendMail`. No
 * server is asked yet, so that one that is away holds nothing up.
 *
 * @throws ConfigError where a setting needs mail that is off
 */
export function openMail(
  { prisma, keys, counters, clock }: Store,
  { config, prefix, events, serves, sendMail }: MailContext
): Mail | null {
  const transport = createMailTransport({
    settings: config,
    clock,
    sendMail,
    onWritten: (path) => events.onMail(path)
  })
  checkVerificationMail(config, transport !== null)
  if (!transport) return null
  const from = config.mailFrom ?? null
  const pages = config.pages ? config.baseUrl + prefix : null
  const preparer = new MailPreparer({
    prisma,
    keys,
    brand: config.brandName ?? config.appName,
    origin: config.baseUrl,
    pages,
    signInPage: config.signInUrl ?? (pages === null ? null : `${pages}/sign-in`),
    signUpIsOpen: config.signUp === 'open'
  })
  const worker = serves
    ? new MailWorker({
        prisma,
        transport,
        from,
        prepare: (mail) => preparer.prepare(mail),
        render,
        counters,
        random: Math.random,
        onError: events.onError,
        onDebug: events.onDebug
      })
    : null
  return {
    transport,
    worker,
    outbox: new MailOutbox(() => worker?.wakeSoon()),
    async sendTest(to, language) {
      const content: MailContent = {
        kind: 'test',
        language,
        brand: config.brandName ?? config.appName,
        origin: new URL(config.baseUrl).origin + prefix,
        account: to,
        link: null,
        code: null,
        validUntil: null,
        notMeLink: null,
        facts: {}
      }
      const { kind } = content
      return transport.sendAndReport({
        ...(await render(content)),
        id: randomUUID(),
        kind,
        from,
        to,
        language
      })
    },
    async close() {
      await worker?.stop()
      await transport.close()
    }
  }
}
