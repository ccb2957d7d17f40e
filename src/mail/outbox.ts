import { Prisma, type Queryable } from '../database/database.js'
import { afterCommit } from '../database/transaction.js'
import type { Language } from '../language.js'
import type { MailFacts, MailKind } from './mail.js'

/** A mail to be sent. */
export interface NewMail {
  kind: MailKind
  /** The address, in lower case. */
  recipient: string
  /** The account that it is about. Null where it must not be looked up yet. */
  userId: string | null
  /** The proof whose link and code it carries. */
  proofId?: string | null
  language: Language
  facts?: MailFacts
  /** For how long it is of use, in seconds. */
  ttlSeconds: number
}

/** Writes mails, each in the transaction of what it tells. Workers send them. */
export class MailOutbox {
  readonly #onAdded: () => void

  /** @param onAdded called when mails were committed, to wake the worker of this process */
  constructor(onAdded: () => void) {
    this.#onAdded = onAdded
  }

  /** @param db the transaction of what the mails tell */
  async add(db: Queryable, mails: readonly NewMail[]): Promise<void> {
    for (const { kind, recipient, userId, proofId = null, language, facts, ttlSeconds } of mails) {
      await db.$executeRaw`
        INSERT INTO "mail" ("kind", "recipient", "userId", "proofId", "language", "facts", "expiresAt")
        VALUES (${kind}, ${recipient}, ${userId}, ${proofId}, ${language}, ${facts === undefined ? Prisma.sql`NULL` : Prisma.sql`${JSON.stringify(facts)}::jsonb`},
          clock_timestamp() + ${ttlSeconds}::int * interval '1 second')`
    }
    if (mails.length > 0) await afterCommit(async () => this.#onAdded())
  }
}
