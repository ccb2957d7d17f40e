import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { languages, type Language } from '../language.js'
import { mailKinds, type MailContent, type MailKind } from './mail.js'
import { proofKinds } from './mail-blocks.js'
import { renderMail } from './render-mail.js'

/** A mail that was written to files. */
export interface MailPreview {
  /** The path of its HTML. The text stands beside it, with the ending .txt. */
  file: string
  subject: string
}

const ORIGIN = 'https://auth.example.com'
const AT = '2026-11-27T14:05:00.000Z'
/** In an hour, and in three days. */
const PROOF_ENDS = '2026-11-27T15:05:00.000Z'
const NOT_ME_ENDS = '2026-11-30T14:05:00.000Z'

/** Mails with which there is nothing to undo. */
const harmless: ReadonlySet<MailKind> = new Set(['already-account', 'test'])

/** Writes mails with sample data into a folder, in every language, as text and as HTML. */
export async function previewMails(
  folder: string,
  names: readonly MailKind[] = mailKinds
): Promise<MailPreview[]> {
  await mkdir(folder, { recursive: true })
  const previews: MailPreview[] = []
  for (const kind of names) {
    for (const { code: language } of languages) {
      const { subject, text, html } = renderMail(sampleContent(kind, language))
      const path = join(folder, `${kind}.${language}`)
      await writeFile(`${path}.txt`, text)
      await writeFile(`${path}.html`, html)
      previews.push({ file: `${path}.html`, subject })
    }
  }
  return previews
}

/** A mail with sample data: addresses that are reserved for documentation. */
export function sampleContent(kind: MailKind, language: Language): MailContent {
  const proves = proofKinds.has(kind)
  const isNotice = !proves && !harmless.has(kind)
  const ends = proves ? PROOF_ENDS : isNotice ? NOT_ME_ENDS : null
  return {
    kind,
    language,
    brand: 'Example',
    origin: ORIGIN,
    account: 'ada@example.com',
    link: proves
      ? `${ORIGIN}/proof/${'s4mp1e'.repeat(6)}`
      : kind === 'already-account'
        ? `${ORIGIN}/sign-in`
        : null,
    code: proves && kind !== 'invitation' ? '314159' : null,
    validUntil: ends === null ? null : new Date(ends),
    notMeLink:
      isNotice || kind === 'change-confirm' ? `${ORIGIN}/not-me/${'n0tme1'.repeat(6)}` : null,
    facts: {
      at: AT,
      ...(kind === 'test'
        ? {}
        : { device: { program: 'Firefox', system: 'Linux' }, from: '203.0.113.5' }),
      ...(kind === 'change-confirm' || kind === 'email-changed'
        ? { newEmail: 'lovelace@example.com' }
        : {})
    }
  }
}
