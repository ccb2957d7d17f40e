import { Command, Option } from '@commander-js/extra-typings'
import { AppError } from '../errors.js'
import type { Holdfast } from '../holdfast.js'
import { languages, type Language } from '../language.js'
import { isMailAddress } from '../mail/mailbox.js'
import { MailRefused } from '../mail/mail.js'
import {
  listMails,
  mailStates,
  retryFailedMails,
  retryMail,
  type MailState
} from '../mail/queue.js'
import { SmtpFailed } from '../mail/smtp.js'
import type { MailReceipt } from '../mail/transport.js'
import { after, filled, limit, operation, type Operation } from './operation.js'

/** Mails that one `mail retry --failed` has tried again. */
const MAX_RETRIED = 1_000

const retryCommand = new Command()
  .description(
    `Has mails sent at once that failed or wait, unless they have expired. --failed takes the ${MAX_RETRIED} that failed last.`
  )
  .usage('<id> | --failed')
  .argument('[id]', 'the mail, by its id in `mail list`')
  .option('--failed', 'all that failed')

/** What an operator may do with mails. None of it shows a link or a code. */
export const mailOperations: Record<string, Operation> = {
  'mail list': operation(
    new Command()
      .description(
        'Lists mails, newest first: those that wait, those that failed in the last 14 days, and those that were sent in the last day.'
      )
      .addOption(new Option('--state <state>', 'those in one state').choices(mailStates))
      .addOption(limit)
      .addOption(after),
    ({ prisma }, _args, { state, limit, after }) => listMails(prisma, { state, limit, after }),
    {
      row: ({ id, kind, recipient, state, attempts, nextAt, failure }) => ({
        id,
        kind,
        recipient,
        state,
        attempts,
        next: nextAt,
        failure
      })
    }
  ),
  'mail retry': operation(retryCommand, async (holdfast, [id], { failed }) => {
    needMail(holdfast)
    const { prisma, mail } = holdfast
    if ((id === undefined) === (failed === undefined))
      return retryCommand.error('name either a mail or --failed')
    if (id === undefined) {
      const retried = await retryFailedMails(prisma, MAX_RETRIED)
      mail?.worker?.wake()
      return { retried }
    }
    const found = await retryMail(prisma, id)
    if (!found) throw new AppError('not_found', `there is no mail ${id}`)
    const why = notRetried[found.state]
    if (why !== undefined) throw new Error(`the mail ${id} is not sent again: ${why}`)
    mail?.worker?.wake()
    return { retried: 1 }
  }),
  'mail test': operation(
    new Command()
      .description(
        'Sends a mail now, with the settings that this has, and shows what the mail server said.'
      )
      .argument('<e-mail>', 'where to', filled)
      .addOption(
        new Option('--language <language>', 'of the mail')
          .choices(languages.map(({ code }) => code))
          .default('en' satisfies Language)
      ),
    async (holdfast, [to], { language }) => {
      const mail = needMail(holdfast)
      if (!isMailAddress(to)) throw new AppError('invalid_input', `${to} is no e-mail address`)
      const { reply, tls } = await sendTest(() => mail.sendTest(to, language))
      return { to, through: mail.transport.name, reply, tls: tls ?? 'none' }
    }
  )
}

/** Why a mail in this state is not tried again. */
const notRetried: Partial<Record<MailState | 'expired' | 'under way', string>> = {
  sent: 'it was sent',
  expired: 'it has expired, and its link with it',
  'under way': 'a server is sending it now'
}

function needMail({ mail }: Holdfast) {
  if (!mail)
    throw new Error(
      'mail is off: set SMTP_URL and MAIL_FROM (a Fastify application may also give the option sendMail, which this command does not know)'
    )
  return mail
}

/** The reply of the server is for the operator who asked, and for no log. */
async function sendTest(send: () => Promise<MailReceipt>): Promise<MailReceipt> {
  try {
    return await send()
  } catch (error) {
    const failure = error instanceof MailRefused ? error.cause : error
    const reply = failure instanceof SmtpFailed ? failure.reply : null
    const said = reply === null ? '' : ` (it said: ${reply.replaceAll(/\s+/g, ' ').trim()})`
    throw new Error(`${error instanceof Error ? error.message : 'it failed'}${said}`, {
      cause: error
    })
  }
}
