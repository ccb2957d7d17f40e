import { usePage } from './page.js'
import { exactTime, Time } from './parts.js'
import type { Texts } from './texts/texts.js'
import { describeDevice, SOME_APPLE_DEVICE, type Device } from '../../src/session/device-words.js'

/** An event of an account, as the API shows it. */
export interface AccountEventShown {
  id: string
  at: string
  kind: string
  cause: string | null
  actor: string
  actorId?: string | null
  userId?: string | null
  sessionId: string | null
  ipAddress: string | null
  userAgent: string | null
  detail: Record<string, unknown> | null
  count: number
  lastAt: string | null
}

/** A page of events of an account. */
export interface AccountEventPage {
  events: AccountEventShown[]
  next: string | null
}

/** An event of a session, as the API shows it. */
export interface SessionEventShown {
  id: string
  type: string
  cause: string | null
  at: string
  ipAddress: string | null
}

/** A page of events of a session. */
export interface SessionEventPage {
  events: SessionEventShown[]
  next: string | null
}

/** What happened to an account, in a sentence. */
export function accountEventInWords(event: AccountEventShown, t: Texts, language: string): string {
  const kind = t.accountEvents[event.kind as keyof Texts['accountEvents']] ?? event.kind
  // Of ended sessions the kind says enough, and who did it.
  const cause =
    event.cause === null || event.kind === 'sessions_revoked'
      ? null
      : (t.attemptCauses[event.cause as keyof Texts['attemptCauses']] ??
        t.ends[event.cause as keyof Texts['ends']] ??
        event.cause)
  const parts = [
    cause === null ? kind : `${kind}: ${cause}`,
    ...(event.count > 1 ? [t.times({ count: event.count })] : []),
    ...detailInWords(event, t, language),
    ...(event.actor === 'administrator' || event.actor === 'operator'
      ? [t.actors[event.actor]]
      : [])
  ]
  return parts.join(', ')
}

function detailInWords({ kind, detail }: AccountEventShown, t: Texts, language: string): string[] {
  if (!detail) return []
  const list = (value: unknown) =>
    Array.isArray(value) && value.length > 0 ? value.join(', ') : t.nothing
  if (kind === 'role_changed')
    return [t.fromTo({ from: list(detail['from']), to: list(detail['to']) })]
  if (typeof detail['sessions'] === 'number')
    return [t.sessions.count({ count: detail['sessions'] })]
  if (typeof detail['until'] === 'string')
    return [t.until({ time: exactTime(detail['until'], language) })]
  const plain = detail['provider'] ?? detail['gateway']
  return typeof plain === 'string' ? [plain] : []
}

/** What happened to a session, in a sentence. */
export function sessionEventInWords({ type, cause }: SessionEventShown, t: Texts): string {
  if (type === 'revoked') return endInWords(cause, t)
  return t.sessionEvents[type as keyof Texts['sessionEvents']] ?? type
}

/** Why a session ended, in a sentence. */
export function endInWords(reason: string | null, t: Texts): string {
  if (reason === null) return t.ends.expired
  return t.ends[reason as keyof Texts['ends']] ?? t.endOther({ reason })
}

/** A device in the language of the page. Null where the user agent says nothing. */
export function deviceInTexts(userAgent: string | null, t: Texts): string | null {
  const device = describeDevice(userAgent)
  return device && deviceNamed(device, t)
}

/** A device that the API has described. */
export function deviceNamed(device: Device, t: Texts): string {
  const system = device.system === SOME_APPLE_DEVICE ? t.devices.apple : device.system
  if (device.program === null) return system ?? t.devices.unknownProgram
  return system === null ? device.program : t.devices.on({ program: device.program, system })
}

/** From where something was done, and with what. */
export function EventOrigin({
  event: { ipAddress, userAgent }
}: {
  event: { ipAddress: string | null; userAgent: string | null }
}) {
  const { t } = usePage()
  const device = deviceInTexts(userAgent, t)
  const parts = [
    ...(device === null ? [] : [device]),
    ...(ipAddress === null ? [] : [t.fromAddress({ address: ipAddress })])
  ]
  return parts.length === 0 ? null : <>{` · ${parts.join(' · ')}`}</>
}

/** Events of an account, with when and from where. */
export function AccountEventList({
  events,
  linkTo
}: {
  events: readonly AccountEventShown[]
  /** The page of an account, where the list is about several. */
  linkTo?: (userId: string) => string
}) {
  const { t, language } = usePage()
  if (events.length === 0) return <p>{t.noEvents}</p>
  return (
    <ul class="events">
      {events.map((event) => (
        <li>
          <p>{accountEventInWords(event, t, language)}</p>
          <p class="hint">
            <Time at={event.lastAt ?? event.at} />
            <EventOrigin event={event} />
            {linkTo && event.userId ? (
              <>
                {' · '}
                <a href={linkTo(event.userId)}>{t.admin.who}</a>
              </>
            ) : null}
          </p>
        </li>
      ))}
    </ul>
  )
}

/** Events of a session, with when and from where. */
export function SessionEventList({ events }: { events: readonly SessionEventShown[] }) {
  const { t } = usePage()
  if (events.length === 0) return <p>{t.noEvents}</p>
  return (
    <ul class="events">
      {events.map((event) => (
        <li>
          <p>{sessionEventInWords(event, t)}</p>
          <p class="hint">
            <Time at={event.at} />
            <EventOrigin event={{ ipAddress: event.ipAddress, userAgent: null }} />
          </p>
        </li>
      ))}
    </ul>
  )
}
