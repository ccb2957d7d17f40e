import { parseArgs } from 'node:util'
import { accountEventKinds, type AccountEvent } from '../account/account-event.js'
import { listAccountEvents } from '../account/reading.js'
import type { PrismaClient } from '../database/database.js'
import { AppError } from '../errors.js'
import { getUserIdOrPast } from '../user/store.js'
import { parseTimeSpan } from './time-span.js'

/** Events that one list shows at most. */
const MAX_LISTED = 1_000

export const eventsUsage =
  'events [--user <e-mail or id>] [--name <e-mail>] [--by <e-mail or id>] [--kind <kind>] [--since <time or 30m, 12h, 7d>] [--limit <1 to 1000>] [--after <event id>]'

const options = {
  user: { type: 'string' },
  name: { type: 'string' },
  by: { type: 'string' },
  kind: { type: 'string' },
  since: { type: 'string' },
  limit: { type: 'string', default: '100' },
  after: { type: 'string' }
} as const

export interface ReadingOptions {
  prisma: PrismaClient
  /** The keyed hashes of a name, one for each secret that counts. */
  hashesOf: (name: string) => string[]
  /** Milliseconds since 1970. */
  now: number
}

/**
 * What happened to accounts, newest first. `--user` also finds what was tried under the user's
 * name; `--name` what was tried under any.
 */
export async function listEventsFor(
  { prisma, hashesOf, now }: ReadingOptions,
  args: string[]
): Promise<AccountEvent[]> {
  const {
    values: { user, name, by, kind, since, limit, after },
    positionals
  } = parseArgs({ args, options, allowPositionals: true })
  if (positionals.length > 0 || (user !== undefined && name !== undefined))
    throw new AppError('invalid_input', `usage: holdfast ${eventsUsage}`)
  if (kind !== undefined && !accountEventKinds.some((each) => each === kind))
    throw new AppError(
      'invalid_input',
      `there is no kind ${kind}: it is one of ${accountEventKinds.join(', ')}`
    )
  const userId = user === undefined ? undefined : await getUserIdOrPast(prisma, user)
  const names = name ?? (userId === undefined ? undefined : await emailOf(prisma, userId))
  return listAccountEvents(
    prisma,
    {
      userId,
      kind,
      nameHashes: names === undefined ? undefined : hashesOf(names),
      actorId: by === undefined ? undefined : await getUserIdOrPast(prisma, by),
      since: since === undefined ? undefined : timeOf(since, now)
    },
    { limit: limitOf(limit), after }
  )
}

/** How many records a list shall have. @throws Refusal for what is no number from 1 to 1000 */
export function limitOf(text: string): number {
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > MAX_LISTED)
    throw new AppError('invalid_input', `--limit must be a number from 1 to ${MAX_LISTED}`)
  return limit
}

async function emailOf(prisma: PrismaClient, id: string): Promise<string | undefined> {
  const user = await prisma.user.findUnique({ where: { id }, select: { email: true } })
  return user?.email
}

/** A time, or how long ago it was. */
function timeOf(text: string, now: number): Date {
  const agoMs = parseTimeSpan(text, /^(\d{1,6})([smhd])$/)
  if (agoMs !== null) return new Date(now - agoMs)
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time))
    throw new AppError(
      'invalid_input',
      '--since must be a time such as 2026-11-27T10:00:00Z, or how long ago, such as 30m, 12h or 7d'
    )
  return new Date(time)
}

/**
 * An event in a list for people: when, what, whose, by whom and from where. `--json` has the rest.
 */
export function eventRow({
  at,
  kind,
  cause,
  userId,
  actor,
  actorId,
  ipAddress,
  count,
  detail
}: Record<string, unknown>): Record<string, unknown> {
  const times = typeof count === 'number' && count > 1 ? ` × ${count}` : ''
  const why = typeof cause === 'string' ? ` (${cause})` : ''
  return {
    at,
    what: `${String(kind)}${why}${times}`,
    user: userId,
    by: typeof actorId === 'string' ? `${String(actor)} ${actorId}` : actor,
    from: ipAddress,
    detail
  }
}
