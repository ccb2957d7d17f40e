import type { Queryable } from '../database/database.js'
import type { MailFacts, MailKind } from '../mail/mail.js'
import type { MailOutbox } from '../mail/outbox.js'
import { deviceFacts } from '../mail/device-facts.js'
import { proofSeconds } from '../mail/proof.js'
import { requestProof, type ProofDetails, type WantedProof } from '../mail/proofs.js'
import type { Keys } from '../secrets/keys.js'
import { currentCall } from './call-context.js'

/** How long a notice without a proof may wait, in seconds. */
const NOTICE_SECONDS = 259_200

const nowhere = { address: null, userAgent: null }

/** The mails of better-auth's endpoints: proofs that somebody asks for, and notices. */
export class Mailing {
  readonly #outbox: MailOutbox
  readonly #keys: Keys

  constructor(outbox: MailOutbox, keys: Keys) {
    this.#outbox = outbox
    this.#keys = keys
  }

  /**
   * Asks for a proof, and for the mail that carries it. It reads no account: the worker does.
   *
   * @param db a transaction
   */
  async ask(
    db: Queryable,
    kind: MailKind,
    { details, ...wanted }: Omit<WantedProof, 'details'> & { details?: ProofDetails }
  ): Promise<void> {
    const { from, language } = currentCall()
    // Without a handle an administrator asks for another person, whose device it is not.
    const { address, userAgent } = wanted.handleHash === null ? nowhere : from
    const proofId = await requestProof(db, this.#keys, {
      ...wanted,
      details: {
        ...details,
        ...(address === null ? {} : { from: address }),
        ...(userAgent === null ? {} : { userAgent: userAgent.slice(0, 500) })
      }
    })
    await this.#outbox.add(db, [
      {
        kind,
        recipient: wanted.email,
        userId: wanted.userId ?? null,
        proofId,
        language,
        ttlSeconds: wanted.ttlSeconds ?? proofSeconds[wanted.purpose]
      }
    ])
  }

  /**
   * Tells a user what happened to the account, in the transaction in which it happens. Only a proven
   * address is told anything.
   *
   * @param notice `email`: the address that is told, where it is not the account's any more;
   *   `restores`: "this was not me" gives the account this address back; `removesFactor`: it removes
   *   the second factor with this id; `byAnother`: there is no
   *   "this was not me", because an administrator or operator did it
   */
  async tell(
    db: Queryable,
    userId: string,
    kind: MailKind,
    notice: {
      email?: string
      facts?: MailFacts
      restores?: string
      removesFactor?: string
      byAnother?: boolean
    } = {}
  ): Promise<void> {
    const { from, language } = currentCall()
    const [user] = await db.$queryRaw<
      { email: string; emailVerified: boolean; language: string | null; now: Date }[]
    >`SELECT "email", "emailVerified", "language", clock_timestamp() AS "now" FROM "user" WHERE "id" = ${userId}`
    if (!user || (notice.email === undefined && !user.emailVerified)) return
    const recipient = notice.email ?? user.email
    const { restores, removesFactor } = notice
    const proofId = notice.byAnother
      ? null
      : await requestProof(db, this.#keys, {
          purpose: 'not-me',
          email: recipient,
          userId,
          handleHash: null,
          details: {
            ...(restores === undefined ? {} : { restores }),
            ...(removesFactor === undefined ? {} : { removesFactor })
          }
        })
    await this.#outbox.add(db, [
      {
        kind,
        recipient,
        userId,
        proofId,
        language: user.language === 'de' || user.language === 'en' ? user.language : language,
        facts: {
          at: user.now.toISOString(),
          ...(notice.byAnother ? {} : deviceFacts(from.address, from.userAgent)),
          ...notice.facts
        },
        ttlSeconds: NOTICE_SECONDS
      }
    ])
  }
}
