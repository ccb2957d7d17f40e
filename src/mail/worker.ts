import { AsyncResource } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Counters } from '../counters.js'
import type { PrismaClient } from '../database/database.js'
import {
  isMailKind,
  MailRefused,
  type MailContent,
  type MailTexts,
  type MailTransport
} from './mail.js'
import {
  claimMails,
  drop,
  noteFailed,
  noteSent,
  postpone,
  release,
  type Claim,
  type ClaimedMail
} from './queue.js'

/** Mails that one process sends at once. */
const AT_ONCE = 5
const FIRST_BACKOFF_MS = 5_000
const LONGEST_BACKOFF_MS = 15 * 60_000
/** How long a stop waits for mails under way, and then for those that were broken off. */
const DRAIN_MS = 5_000
const BREAK_OFF_MS = 1_000
/** How often it is tried to note what became of a mail, and the pause between. */
const NOTE_TRIES = 4
const NOTE_PAUSE_MS = 1_000

/** How a mail ended, or one attempt. */
export const mailOutcomes = ['sent', 'retried', 'refused', 'expired', 'dropped'] as const
export type MailOutcome = (typeof mailOutcomes)[number]

/**
 * What a mail says, and to whom, found out when it is sent. Null where nothing is to be sent: there
 * is no such account, or the proof was used.
 */
export type PrepareMail = (mail: ClaimedMail) => Promise<(MailContent & { to: string }) | null>

export interface MailWorkerOptions {
  prisma: PrismaClient
  transport: MailTransport
  /** MAIL_FROM. */
  from: string | null
  prepare: PrepareMail
  render: (content: MailContent) => Promise<MailTexts> | MailTexts
  counters: Counters
  /** A number from 0 up to 1, for the jitter of pauses. */
  random: () => number
  onError: (message: string, error: unknown) => void
  onDebug: (message: string) => void
  /** How long a stop waits for mails under way, in milliseconds. */
  drainMs?: number
}

/** How long a request has for its answer, before its mail is written. */
const SOON_MS = 100

/**
 * Sends the mails of the outbox, up to five at once. Several processes share one outbox: a mail
 * belongs to the worker whose claim it carries, until the claim ends. A crash between the sending
 * and its note sends a mail twice, with the same `Message-ID`.
 */
export class MailWorker {
  readonly #options: MailWorkerOptions
  readonly #underWay = new Set<Promise<void>>()
  // A wake comes from a request, whose transaction and faults are no concern of this work.
  readonly #apart = new AsyncResource('MailWorker')
  #round: Promise<void> | null = null
  #waking: NodeJS.Timeout | null = null
  #isWoken = false
  #isStopping = false
  /** The last problem that was logged. A server that is away is one line, not one for each try. */
  #problem: string | null = null

  constructor(options: MailWorkerOptions) {
    this.#options = options
  }

  /**
   * One round: claims mails that are due, as many as can be sent at once, and begins to send them.
   * Returns when they are claimed. During a round it asks for another.
   *
   * @throws StoreUnavailable
   */
  run(): Promise<void> {
    this.#isWoken = true
    this.#round ??= this.#apart
      .runInAsyncScope(() => this.#rounds())
      .finally(() => {
        this.#round = null
        // Asked for after the last look at the outbox.
        if (this.#isWoken && !this.#isStopping) this.wake()
      })
    return this.#round
  }

  /**
   * Begins a round in a moment. For the outbox, after a commit: the request that has added a mail is
   * answered first. Else its time would tell whether a mail is written, and so whether there is such
   * an account.
   */
  wakeSoon(): void {
    if (this.#waking !== null) return
    this.#waking = setTimeout(() => {
      this.#waking = null
      this.wake()
    }, SOON_MS).unref()
  }

  /** Begins a round. */
  wake(): void {
    setImmediate(() => {
      this.run().catch(() => {}) // the job tries again
    })
  }

  /** Resolves when no mail is under way. */
  async idle(): Promise<void> {
    while (this.#round !== null || this.#underWay.size > 0)
      await Promise.allSettled([this.#round, ...this.#underWay])
  }

  /**
   * Claims no more, and waits for the mails under way, for some seconds. Those that take longer are
   * broken off, and any worker may send them.
   */
  async stop(): Promise<void> {
    this.#isStopping = true
    const { drainMs = DRAIN_MS, transport } = this.#options
    if (await this.#idleWithin(drainMs)) return
    await transport.close()
    await this.#idleWithin(BREAK_OFF_MS)
  }

  async #idleWithin(ms: number): Promise<boolean> {
    const timer = new AbortController()
    try {
      return await Promise.race([
        this.idle().then(() => true),
        sleep(ms, false, { signal: timer.signal }).catch(() => false)
      ])
    } finally {
      timer.abort()
    }
  }

  async #rounds(): Promise<void> {
    while (this.#isWoken && !this.#isStopping) {
      this.#isWoken = false
      const free = AT_ONCE - this.#underWay.size
      // A mail that ends begins the next round.
      if (free === 0) return
      const claims = await claimMails(this.#options.prisma, randomUUID(), free)
      for (const claim of claims) this.#begin(claim)
      if (claims.length === free) this.#isWoken = true
    }
  }

  #begin(claim: Claim): void {
    const work = this.#deliver(claim).finally(() => {
      this.#underWay.delete(work)
      this.wake()
    })
    this.#underWay.add(work)
  }

  /** Never throws. */
  async #deliver(claim: Claim): Promise<void> {
    const { prisma, counters, onDebug } = this.#options
    if (this.#isStopping) return this.#note(() => release(prisma, claim))
    try {
      const outcome = await this.#send(claim)
      if (outcome === 'sent') await this.#note(() => noteSent(prisma, claim))
      else if (outcome === 'dropped') await this.#note(() => drop(prisma, claim))
      else await this.#note(() => noteFailed(prisma, claim, outcome))
      counters.mailed(claim.kind, outcome)
      if (outcome === 'sent') this.#problem = null
    } catch (error) {
      if (error instanceof MailRefused) {
        counters.mailed(claim.kind, 'refused')
        onDebug(`mail ${claim.id} (${claim.kind}) was refused: ${error.failure}`)
        await this.#note(() => noteFailed(prisma, claim, error.failure))
      } else await this.#tryLater(claim, error)
    }
  }

  async #send(claim: Claim): Promise<Extract<MailOutcome, 'sent' | 'expired' | 'dropped'>> {
    if (claim.isExpired) return 'expired'
    const { prepare, render, transport, from } = this.#options
    const { attempts: _attempts, isExpired: _isExpired, claim: _claim, ...mail } = claim
    if (!isMailKind(mail.kind)) throw new Error('the kind of a mail is one of a newer version')
    const content = await prepare(mail)
    if (!content) return 'dropped'
    await transport.send({
      ...(await render(content)),
      id: mail.id,
      kind: mail.kind,
      from,
      to: content.to,
      language: content.language
    })
    return 'sent'
  }

  async #tryLater(claim: Claim, error: unknown): Promise<void> {
    const { prisma, counters, random, onError, onDebug } = this.#options
    if (this.#isStopping) return this.#note(() => release(prisma, claim))
    counters.mailed(claim.kind, 'retried')
    const problem = error instanceof Error ? error.message : 'something was thrown that is no error'
    const afterMs = backoffMs(claim.attempts, random())
    if (problem !== this.#problem)
      onError('mails cannot be sent: they are kept and tried again', error)
    this.#problem = problem
    onDebug(`mail ${claim.id} (${claim.kind}) is tried again in ${Math.round(afterMs / 1000)} s`)
    await this.#note(() => postpone(prisma, claim, afterMs, failureFrom(error)))
  }

  /**
   * Notes what became of a mail. Without the note it is sent again when the claim ends, so it is
   * tried a few times while the store is away.
   */
  async #note(write: () => Promise<boolean>): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await write()
        return
      } catch (error) {
        if (tries === NOTE_TRIES || this.#isStopping) {
          this.#options.onError('what became of a mail could not be noted', error)
          return
        }
        await sleep(NOTE_PAUSE_MS)
      }
    }
  }
}

/** The pause after an attempt: from 5 s, doubled each time, up to 15 minutes, with jitter. */
export function backoffMs(attempts: number, random: number): number {
  const full = Math.min(FIRST_BACKOFF_MS * 2 ** Math.min(attempts - 1, 20), LONGEST_BACKOFF_MS)
  return full * (0.75 + random / 4)
}

/** Why a mail waits, in words that name no address: of our own errors only. */
function failureFrom(error: unknown): string {
  if (error instanceof Error && error.name === 'SmtpFailed') return error.message.slice(0, 200)
  return error instanceof Error ? error.name : 'error'
}
