import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings'
import { actingAsOperator } from '../account/origin.js'
import { purgeAccountEvents } from '../account/store.js'
import { systemClock } from '../clock.js'
import type { ControlRequest } from './control-socket.js'
import { AppError } from '../errors.js'
import { eventOperations } from './event-commands.js'
import { gatewayOperations } from './gateway-commands.js'
import type { Holdfast } from '../holdfast.js'
import { mailOperations } from './mail-commands.js'
import {
  after,
  filled,
  limit,
  operation,
  refusing,
  who,
  type Operation,
  type Progress
} from './operation.js'
import { pick } from '../pick.js'
import { countEnded, purgeEnded } from '../session/retention.js'
import { showPastSession } from '../session/past-session.js'
import { sessionRow } from '../session/session-row.js'
import { listEvents, listSessionHistory, listSessions } from '../session/store.js'
import { pending, userOperations } from './user-commands.js'
import { getUser, getUserIdOrPast } from '../user/store.js'

const revokeCommand = new Command()
  .description(
    'Ends one session, or all of a user. With `effective_by` in the result, a cache could not be told: by then every copy has ended.'
  )
  .usage('<session id> | --user <e-mail or id>')
  .argument('[session id]', 'the session that ends')
  .option('--user <e-mail or id>', 'ends all sessions of this user')

/** What `session list` shows of an active session. */
const sessionColumns = [
  'id',
  'userId',
  'name',
  'issuedAt',
  'lastSeenAt',
  'expiresAt',
  'absoluteExpiresAt',
  'ipAddress',
  'userAgent',
  'amr',
  'impersonatedBy',
  'refreshCount',
  'lastRefreshAt',
  'lastRefreshAddress'
] as const

/**
 * What an operator may ask of a running Holdfast, on the command line: the words of the command,
 * and what they do.
 */
export const operations: Record<string, Operation> = {
  ...userOperations,
  'session list': operation(
    new Command()
      .description('Lists the active sessions of a user, latest first.')
      .addArgument(who)
      .option('--all', 'lists those that have ended as well, with how')
      .addOption(limit)
      .addOption(after),
    async ({ prisma }, [named], { all, limit, after }) => {
      if (all) {
        const userId = await getUserIdOrPast(prisma, named)
        return (await listSessionHistory(prisma, userId, { limit, after })).map(showPastSession)
      }
      const userId = (await getUser(prisma, named)).id
      const rows = await listSessions(prisma, { userId }, { limit, after })
      return rows.map((row) => pick(row, sessionColumns))
    },
    { row: sessionRow }
  ),
  'session events': operation(
    new Command()
      .description(
        'Tells what happened to a session, oldest first: how it began, and why it ended.'
      )
      .argument('<session id>', 'which session', filled)
      .addOption(limit)
      .addOption(after),
    async ({ prisma }, [id], { limit, after }) => {
      const found = await listEvents(prisma, id, null, { limit, after })
      if (found.length === 0 && after === undefined)
        throw new AppError('not_found', `there is no session ${id}, or retention has removed it`)
      return found
    },
    { lines: true }
  ),
  'session revoke': operation(revokeCommand, async ({ prisma, revoker }, [sessionId], { user }) => {
    if (user !== undefined && sessionId === undefined) {
      const userId = (await getUser(prisma, user)).id
      const revoked = await revoker.revokeAll(null, { userId, reason: 'revoked_by_operator' })
      return { revoked: revoked?.count ?? 0, ...pending(revoked?.effectiveBy ?? null) }
    }
    if (user !== undefined || sessionId === undefined)
      return revokeCommand.error('name either a session or, with --user, a user')
    const revoked = await revoker.revoke([sessionId], null, 'revoked_by_operator')
    return { revoked: revoked?.count ?? 0, ...pending(revoked?.effectiveBy ?? null) }
  }),
  ...eventOperations,
  'keys list': operation(
    new Command().description(
      'Lists the keys that sign access tokens: which signs now, which comes next, which are only published still.'
    ),
    ({ signingKeys }) => signingKeys.list()
  ),
  'keys rotate': operation(
    new Command()
      .description(
        'Has the next key sign. Refused while gateways may keep a key set without it, unless --force.'
      )
      .option('--force', 'has them refuse tokens until they fetch it'),
    async ({ signingKeys }, _args, { force = false }) => {
      const waitSeconds = await signingKeys.rotate({ force })
      if (waitSeconds !== null) {
        throw new Error(
          `the next key has not been published long enough: gateways may keep a key set without it for ${waitSeconds} s more. Rotate then, or use --force and have them refuse tokens until they fetch it`
        )
      }
      return signingKeys.list()
    }
  ),
  ...gatewayOperations,
  ...mailOperations,
  retention: operation(
    new Command().description(
      'Removes sessions, with their events, that ended longer ago than SESSION_RETENTION_SECONDS, and account events older than ACCOUNT_EVENT_RETENTION_SECONDS, as a server does every hour.'
    ),
    async ({ prisma, config }, _args, _options, { onProgress }) => {
      const total = await countEnded(prisma, config.sessionRetentionSeconds)
      onProgress(0, total)
      const now = systemClock.monotonic
      const removed = await purgeEnded(prisma, config.sessionRetentionSeconds, {
        now,
        onRemoved: (done) => onProgress(done, total)
      })
      return {
        removed,
        removedEvents: await purgeAccountEvents(prisma, config.accountEventRetentionSeconds, now)
      }
    }
  )
}

/** All commands as a tree: `holdfast`, groups such as `user`, and what they are groups of. */
export const program = refusing(new Command('holdfast').usage('<command>'))

for (const [words, { command }] of Object.entries(operations)) {
  const [first = '', second] = words.split(' ')
  if (second === undefined) program.addCommand(command.name(first))
  else groupFrom(first).addCommand(command.name(second))
}

/** The group of commands with this name, such as `user`. It is made where there is none. */
export function groupFrom(name: string): CommandUnknownOpts {
  const found = program.commands.find((command) => command.name() === name)
  if (found) return found
  const group = refusing(new Command(name).usage('<command>'))
  program.addCommand(group)
  return group
}

/**
 * Runs one operation. @throws AppError for words that name none, or are not written as it wants them
 */
export async function runCommand(
  holdfast: Holdfast,
  { operation, args, password }: ControlRequest,
  onProgress: Progress = () => {}
): Promise<unknown> {
  const known = Object.hasOwn(operations, operation) ? operations[operation] : undefined
  if (!known) throw new AppError('invalid_input', `there is no operation ${operation}`)
  return actingAsOperator(() => known.run(holdfast, args, { onProgress, password }))
}
