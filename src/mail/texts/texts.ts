import type { Language } from '../../language.js'
import type { MailKind } from '../mail.js'
import { de } from './de.js'
import { en } from './en.js'

/** The texts of one kind of mail. Each is whole sentences. */
export interface KindTexts {
  /** Also the heading. */
  subject: (names: { brand: string }) => string
  /** What happened, or was asked for. */
  what: (names: { brand: string }) => string
  /** What to do with the link or the code. Null where the button says it. */
  next: string | null
  /** What the button says. */
  action: string
  /** What to do if it was not the reader. Null where there is nothing to say. */
  notYou: string | null
  /** The same, with the link "this was not me". Null where the kind never has one. */
  notMe: string | null
}

/** What a sentence is about. */
export type LinkOrCode = 'link' | 'code' | 'both'

/** The texts of the mails. A language that lacks one does not compile. */
export interface MailDictionary {
  kinds: Record<MailKind, KindTexts>
  facts: { account: string; newEmail: string; at: string; device: string; from: string }
  device: {
    on: (names: { program: string; system: string }) => string
    onApple: (names: { program: string }) => string
    apple: string
  }
  /** Each with a time such as `time` makes. */
  validUntil: Record<LinkOrCode | 'notMe', (values: { time: string }) => string>
  /** Before the code. */
  code: string
  /** Before the code, where a link stands above it. */
  orCode: string
  keepCode: string
  /** Before the link as text, below its button. */
  button: string
  notMe: string
  footer: (names: { brand: string }) => string
  /** @param day in words; `hour` is 00:00 to 23:59 */
  time: (values: { day: string; hour: string }) => string
}

export const dictionaries: Record<Language, MailDictionary> = { en, de }
