import { isIP } from 'node:net'
import type { Language } from '../language.js'
import { SOME_APPLE_DEVICE } from '../session/device-words.js'
import type { MailContent, MailFacts, MailKind } from './mail.js'
import { dictionaries, type MailDictionary } from './texts/texts.js'

/** A piece of a mail. Its text and its HTML show the same ones, in this order. */
export type MailBlock =
  | { type: 'paragraph'; text: string }
  | { type: 'facts'; rows: readonly { label: string; value: string }[] }
  | { type: 'link'; label: string; href: string; isMain: boolean }
  | { type: 'code'; code: string }

/** What a mail shows, in the words of its language. */
export interface MailBlocks {
  language: Language
  /** The subject, and the heading. */
  subject: string
  blocks: readonly MailBlock[]
  /** Before the address of a button, in the HTML. */
  buttonHint: string
  /** From whom the mail is, in words, and the origin of the server. */
  footer: { sentBy: string; origin: string }
}

/**
 * Mails to an address that is not proven yet, or whose owner may not have asked for them. They carry
 * nothing that the requester can choose: a name is an advertisement. A user agent is chosen, too, and
 * so is the present address of an account that wants this one.
 */
const toStrangers: ReadonlySet<MailKind> = new Set(['verify', 'change-verify', 'already-account'])

/** Mails whose link and code end. In others the time is that of "this was not me". */
export const proofKinds: ReadonlySet<MailKind> = new Set([
  'verify',
  'reset',
  'invitation',
  'sign-in',
  'change-confirm',
  'change-verify'
])

/** Mails that name no account: the reader does not know it, or there is none. */
const withoutAccount: ReadonlySet<MailKind> = new Set(['change-verify', 'test'])

/** A program or a system that no mail program makes a link of. Others count as unknown. */
const DEVICE_NAME = /^[\p{L}\p{N}][\p{L}\p{N} +_-]{0,39}$/u
/** Also what ends a line in Unicode, what turns the direction of text, and lone surrogates. */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]+/gu

/** Says in words what a mail tells. */
export function toBlocks(content: MailContent): MailBlocks {
  const { kind, language } = content
  const t = dictionaries[language]
  const texts = t.kinds[kind]
  const brand = oneLine(content.brand)
  const rows = factRows(content, t)
  return {
    language,
    subject: oneLine(texts.subject({ brand })),
    blocks: [
      paragraph(texts.what({ brand })),
      ...(rows.length === 0 ? [] : [{ type: 'facts', rows } as const]),
      ...proofBlocks(content, t),
      ...notYouBlocks(content, t)
    ],
    buttonHint: t.button,
    footer: { sentBy: t.footer({ brand }), origin: oneLine(content.origin) }
  }
}

/** The link, the code, and until when they work. */
function proofBlocks(content: MailContent, t: MailDictionary): MailBlock[] {
  const { kind, link, code, validUntil } = content
  if (link === null && code === null) return []
  const { next, action } = t.kinds[kind]
  const proves = link === null ? 'code' : code === null ? 'link' : 'both'
  const until = proofKinds.has(kind) ? timeInWords(validUntil, content.language, t) : null
  return [
    ...(next === null ? [] : [paragraph(next)]),
    ...(link === null ? [] : [{ type: 'link', label: action, href: link, isMain: true } as const]),
    ...(code === null
      ? []
      : [paragraph(link === null ? t.code : t.orCode), { type: 'code', code } as const]),
    ...(until === null ? [] : [paragraph(t.validUntil[proves]({ time: until }))]),
    ...(code === null ? [] : [paragraph(t.keepCode)])
  ]
}

/** What to do if it was not the reader. */
function notYouBlocks(content: MailContent, t: MailDictionary): MailBlock[] {
  const { notYou, notMe } = t.kinds[content.kind]
  const { notMeLink, validUntil, kind, language } = content
  if (notMe === null || notMeLink === null) return notYou === null ? [] : [paragraph(notYou)]
  const until = proofKinds.has(kind) ? null : timeInWords(validUntil, language, t)
  return [
    paragraph(notMe),
    { type: 'link', label: t.notMe, href: notMeLink, isMain: false },
    ...(until === null ? [] : [paragraph(t.validUntil.notMe({ time: until }))])
  ]
}

function factRows(
  { kind, account, facts, language }: MailContent,
  t: MailDictionary
): { label: string; value: string }[] {
  const at = facts.at === undefined ? null : timeInWords(new Date(facts.at), language, t)
  const newEmail = facts.newEmail === undefined ? '' : oneLine(facts.newEmail)
  return [
    ...(withoutAccount.has(kind) ? [] : [{ label: t.facts.account, value: oneLine(account) }]),
    ...(newEmail === '' || toStrangers.has(kind)
      ? []
      : [{ label: t.facts.newEmail, value: newEmail }]),
    ...(at === null ? [] : [{ label: t.facts.at, value: at }]),
    // An invitation was asked for by an administrator, whose address is not the reader's business.
    ...(kind === 'invitation'
      ? []
      : deviceRows(toStrangers.has(kind) ? null : deviceInWords(facts.device, t), facts.from, t))
  ]
}

/** "Device: Firefox on Linux, 203.0.113.5", or the one of them that is known. */
function deviceRows(device: string | null, from: string | undefined, t: MailDictionary) {
  const address = from !== undefined && isIP(from) !== 0 ? from : null
  if (device === null) return address === null ? [] : [{ label: t.facts.from, value: address }]
  return [{ label: t.facts.device, value: address === null ? device : `${device}, ${address}` }]
}

function deviceInWords(device: MailFacts['device'], t: MailDictionary): string | null {
  const program = deviceName(device?.program)
  const system = deviceName(device?.system)
  if (program === null) return system === SOME_APPLE_DEVICE ? t.device.apple : system
  if (system === null) return program
  return system === SOME_APPLE_DEVICE
    ? t.device.onApple({ program })
    : t.device.on({ program, system })
}

function deviceName(name: string | null | undefined): string | null {
  return typeof name === 'string' && DEVICE_NAME.test(name) ? name : null
}

/** A time in UTC, to the minute: "27 November 2026, 14:05 UTC". Null for what is no time. */
function timeInWords(at: Date | null, language: Language, t: MailDictionary): string | null {
  if (at === null || Number.isNaN(at.getTime())) return null
  const day = new Intl.DateTimeFormat(language === 'en' ? 'en-GB' : language, {
    dateStyle: 'long',
    timeZone: 'UTC'
  }).format(at)
  return t.time({ day, hour: at.toISOString().slice(-13, -8) })
}

function paragraph(text: string): MailBlock {
  return { type: 'paragraph', text }
}

/** Text from outside, on one line: it can begin neither a header nor a paragraph. */
function oneLine(text: string): string {
  return text.replaceAll(CONTROLS, ' ').replaceAll(/\s+/g, ' ').trim()
}
