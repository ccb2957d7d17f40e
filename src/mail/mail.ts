import type { Language } from '../language.js'

/** The mails that the server sends. `test` is sent by `holdfast mail test`. */
export const mailKinds = [
  /** Proves the address of an account, or of one that begins with the proof. */
  'verify',
  'reset',
  /** Sets the first password of an account that an administrator has made. */
  'invitation',
  'sign-in',
  /** To the old address: whether the new one is wanted. */
  'change-confirm',
  /** To the new address. */
  'change-verify',
  /** Somebody tried to sign up, or to take an address, that has an account. */
  'already-account',
  'password-changed',
  'email-changed',
  'factor-added',
  'factor-removed',
  'passkey-added',
  'passkey-removed',
  'new-device',
  'refresh-reused',
  'test'
] as const

export type MailKind = (typeof mailKinds)[number]

export function isMailKind(text: string): text is MailKind {
  return (mailKinds as readonly string[]).includes(text)
}

/** What a mail tells, beside its link and code: never a secret. */
export interface MailFacts {
  /** When it happened, or was asked for (RFC 3339). */
  at?: string
  /** The browser or app, and the system, from which it was done. See `describeDevice`. */
  device?: { program: string | null; system: string | null }
  /** The network address from which it was done. */
  from?: string
  /** The new address of an account. */
  newEmail?: string
}

/** What the texts of a mail are made from. */
export interface MailContent {
  kind: MailKind
  language: Language
  /** The name of the product: BRAND_NAME, else APP_NAME. */
  brand: string
  /** The origin of the server, as its reader knows it. */
  origin: string
  /** The address of the account that the mail is about. */
  account: string
  /** Where the mail leads, with its token. Null where there is no such page. */
  link: string | null
  /** Six digits, to be typed where one began. Null where the mail has none. */
  code: string | null
  /**
   * When link and code end. In a notice, which has neither, when `notMeLink` ends. Null where nothing
   * ends.
   */
  validUntil: Date | null
  /** Leads to "this was not me". Null where the mail has none. */
  notMeLink: string | null
  facts: MailFacts
}

/** The texts of a mail. */
export interface MailTexts {
  subject: string
  text: string
  html: string
}

/** A mail as it is handed to SMTP, to a file, or to the option `sendMail`. */
export interface MailMessage extends MailTexts {
  /** The id of its row. A mail that is sent twice has the same one. */
  id: string
  kind: MailKind
  /** A mailbox such as `Holdfast <no-reply@example.com>`. Null where MAIL_FROM is not set. */
  from: string | null
  to: string
  language: Language
}

/**
 * The option `sendMail` of the plugin: sends a mail in place of SMTP.
 *
 * @throws MailRefused where the mail can never be sent
 * @throws Error for anything else: it is called again later
 */
export type SendMail = (message: MailMessage) => Promise<void>

/** Sends a mail. */
export interface MailTransport {
  /** Where mails go, for the log: "smtp.example.com:587", the path of a folder, "sendMail". */
  readonly name: string
  /**
   * @throws MailRefused where the mail can never be sent: an address that does not exist
   * @throws Error for anything else: it is tried again
   */
  send: (message: MailMessage) => Promise<void>
  close: () => Promise<void>
}

/** The recipient's server, or ours, has refused a mail for good (an SMTP reply of the 500s). */
export class MailRefused extends Error {
  override readonly name = 'MailRefused'
  /** Such as `smtp 550 5.1.1`. It names nobody. */
  readonly failure: string

  constructor(failure: string, cause?: unknown) {
    super(`the mail was refused: ${failure}`, { cause })
    this.failure = failure
  }
}
