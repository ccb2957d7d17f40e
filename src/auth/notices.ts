import type { AccountEventKind, NewAccountEvent } from '../account/account-event.js'
import type { MailKind } from '../mail/mail.js'

/** The events of which their user is told by mail. A change of address has a notice of its own. */
const kinds: Partial<Record<AccountEventKind, MailKind>> = {
  password_set: 'password-changed',
  password_changed: 'password-changed',
  password_reset: 'password-changed',
  second_factor_added: 'factor-added',
  second_factor_removed: 'factor-removed'
}

/** The mails that tell users of events: one of a kind for each user. */
export function noticesOf(
  events: readonly NewAccountEvent[]
): { userId: string; kind: MailKind }[] {
  const notices = new Map<string, { userId: string; kind: MailKind }>()
  for (const { userId, kind: of } of events) {
    const kind = kinds[of]
    if (userId !== null && kind !== undefined) notices.set(`${userId} ${kind}`, { userId, kind })
  }
  return [...notices.values()]
}
