// A process with a worker that stops at one step, for the test to kill it there.
import { setTimeout as sleep } from 'node:timers/promises'
import { resolveConfig, type HoldfastOptions } from '../../src/config.js'
import { openDatabase } from '../../src/holdfast/open-store.js'
import { systemClock } from '../../src/clock.js'
import { createMailTransport } from '../../src/mail/transport.js'
import { Counters } from '../../src/counters.js'
import { MailWorker } from '../../src/mail/worker.js'
import { renderPlainly, SENDER, toContent } from './mails.js'

/** Where the worker stops. */
export const mailSteps = ['claimed', 'prepared', 'sent', 'noted'] as const
export type MailStep = (typeof mailSteps)[number]

export interface MailChild {
  options: HoldfastOptions
  smtpUrl: string
  stopAt: MailStep
}

/** Tells the test, and waits to be killed. */
async function reached(step: MailStep, stopAt: MailStep): Promise<void> {
  if (step !== stopAt) return
  process.send?.(step)
  await sleep(60_000)
}

const given = process.env['HOLDFAST_MAIL_CHILD']
if (given !== undefined) {
  const { options, smtpUrl, stopAt } = JSON.parse(given) as MailChild
  const { prisma } = await openDatabase(resolveConfig(options), { onWarning: () => {} })
  const transport = createMailTransport({
    settings: { dataDir: 'unused', smtpUrl },
    clock: systemClock,
    onWritten: () => {}
  })
  if (!transport) throw new Error('mail is off')
  const worker = new MailWorker({
    prisma,
    transport: {
      ...transport,
      async send(message) {
        await reached('prepared', stopAt)
        await transport.send(message)
        await reached('sent', stopAt)
      }
    },
    from: SENDER,
    prepare: async (mail) => {
      await reached('claimed', stopAt)
      return toContent(mail)
    },
    render: renderPlainly,
    counters: new Counters(),
    random: Math.random,
    onError: (message, error) => process.stderr.write(`${message}: ${String(error)}\n`),
    onDebug: () => {}
  })
  await worker.run()
  await worker.idle()
  await reached('noted', stopAt)
}
