/** An address, with the name that is shown beside it. */
export interface Mailbox {
  name: string
  address: string
}

/** What may not stand in an address outside quotes (RFC 5322 3.2.3), and control characters. */
const OUTSIDE = String.raw`[^\s\p{Cc}\p{Cf}<>()[\]\\,;:"@]`
const ADDRESS = new RegExp(`^${OUTSIDE}{1,64}@${OUTSIDE}{1,255}$`, 'u')
const SENDER =
  /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*)$/
const MAILBOX = /^(?:"([^"<>]{1,128})"|([^"<>]{1,128}?))\s*<([^<>]+)>$/

/**
 * Whether a mail can be sent there: one plain address, with nothing that a header or a command of
 * SMTP would read as more than one.
 */
export function isMailAddress(text: string): boolean {
  return ADDRESS.test(text)
}

/**
 * Parses a sender, `Name <a@example.com>` or `a@example.com`. The host is one that SMTP and headers
 * take as it stands: international names are written in their ASCII form (`xn--…`).
 *
 * @returns null for any other text, also for one with a line break or another control character
 */
export function parseMailbox(text: string): Mailbox | null {
  if (/[\p{Cc}\p{Zl}\p{Zp}\ud800-\udfff]/u.test(text)) return null
  const [, quoted, plain, inBrackets] = MAILBOX.exec(text.trim()) ?? []
  const address = inBrackets ?? text.trim()
  if (!SENDER.test(address) || address.length > 254) return null
  return { name: (quoted ?? plain ?? '').trim(), address }
}

/** The host of an address. */
export function hostOfAddress(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1)
}
