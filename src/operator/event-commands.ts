import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings'
import { accountEventKinds } from '../account/account-event.js'
import { listAccountEvents } from '../account/reading.js'
import type { PrismaClient } from '../database/database.js'
import { getUserIdOrPast } from '../user/store.js'
import { after, limit, operation, type Operation } from './operation.js'
import { parseTimeSpan } from './time-span.js'

/** What happened to accounts, newest first. */
export const eventOperations: Record<string, Operation> = {
  events: operation(
    new Command()
      .description(
        'Tells what happened to accounts, newest first: failed sign-ins, changes of credentials and roles, what administrators did. --json has a line for each, with all that is known.'
      )
      .addOption(
        new Option(
          '--user <e-mail or id>',
          'of one user, also what was tried under their name'
        ).conflicts('name')
      )
      .option('--name <e-mail>', 'what was tried under any name')
      .option('--by <e-mail or id>', 'what this user did')
      .addOption(new Option('--kind <kind>', 'of one kind').choices(accountEventKinds))
      .option('--since <time>', 'a time, or how long ago: 30m, 12h, 7d', timeFrom)
      .addOption(limit)
      .addOption(after),
    async ({ prisma, hashesOf }, _args, { user, name, by, kind, since, limit, after }) => {
      const userId = user === undefined ? undefined : await getUserIdOrPast(prisma, user)
      const names = name ?? (userId === undefined ? undefined : await emailFrom(prisma, userId))
      return listAccountEvents(
        prisma,
        {
          userId,
          kind,
          nameHashes: names === undefined ? undefined : hashesOf(names),
          actorId: by === undefined ? undefined : await getUserIdOrPast(prisma, by),
          since
        },
        { limit, after }
      )
    },
    { row: eventRow, lines: true }
  )
}

async function emailFrom(prisma: PrismaClient, id: string): Promise<string | undefined> {
  const user = await prisma.user.findUnique({ where: { id }, select: { email: true } })
  return user?.email
}

/** A time, or how long ago it was. */
function timeFrom(text: string): Date {
  const agoMs = parseTimeSpan(text, /^(\d{1,6})([smhd])$/)
  if (agoMs !== null) return new Date(Date.now() - agoMs)
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time))
    throw new InvalidArgumentError(
      'It must be a time such as 2026-11-27T10:00:00Z, or how long ago, such as 30m, 12h or 7d.'
    )
  return new Date(time)
}

/**
 * An event in a list for people: when, what, whose, by whom and from where. `--json` has the rest.
 */
function eventRow({
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
