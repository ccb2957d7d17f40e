import { parseArgs } from 'node:util'
import { actingAsOperator } from '../account/origin.js'
import { purgeAccountEvents } from '../account/store.js'
import type { ControlRequest } from './control-socket.js'
import { AppError } from '../errors.js'
import { createGateway, disable, gatewayUsage, listAll, rotateSecret } from './gateway-commands.js'
import type { Holdfast } from '../holdfast.js'
import { countEnded, purgeEnded } from '../session/retention.js'
import { showPastSession } from '../session/past-session.js'
import { sessionRow } from '../session/session-row.js'
import {
  listEvents as listSessionEventsOf,
  listSessionHistory,
  listSessions
} from '../session/store.js'
import { pending, userOperations } from './user-commands.js'
import { eventRow, eventsUsage, limitOf, listEventsFor } from './event-commands.js'
import { getUser, getUserIdOrPast } from '../user/store.js'

/** Told how far a long operation has come. */
export type Progress = (done: number, total: number) => void

/** A command: how it is written, what it does, in a sentence or two, and how. */
export interface Operation {
  usage: string
  help?: string
  /** What of a record of its list a terminal shows; all of it without. */
  row?: (record: Record<string, unknown>) => Record<string, unknown>
  /** Whether its JSON has a line for each record. */
  lines?: boolean
  /**
   * What it takes beside its words: a password from standard input, or one that a person is asked
   * for. Null where these words ask for none.
   */
  asks?: (args: readonly string[]) => 'stdin' | 'prompt' | null
  /** Where a result comes in pages: how they are written, and where the next one begins. */
  paged?: PagedResult
  run: (holdfast: Holdfast, args: string[], input: OperationInput) => Promise<unknown>
}

/** A result that comes in pages, each of a run of its own with `--after`. */
export interface PagedResult {
  /** For `--after`; null where the page was the last one. */
  nextOf: (page: unknown) => string | null
  /** Writes the pages as they come; `write` resolves when more can be taken. */
  write: (pages: AsyncIterable<unknown>, write: (text: string) => Promise<void>) => Promise<void>
}

/** What an operation is given beside its words. */
export interface OperationInput {
  onProgress: Progress
  password?: string | undefined
}

/**
 * What an operator may ask of a running Holdfast, on the command line: the words of the command,
 * and what they do.
 */
export const operations: Record<string, Operation> = {
  ...userOperations,
  'session list': {
    usage: 'session list <e-mail or user id> [--all] [--limit <1 to 1000>] [--after <session id>]',
    help: 'Lists the active sessions of a user, latest first: 100 of them, unless --limit says otherwise. --all lists those that have ended as well, with how; --after goes on behind a session.',
    run: list,
    row: sessionRow
  },
  'session events': {
    usage: 'session events <session id> [--limit <1 to 1000>] [--after <event id>]',
    help: 'Tells what happened to a session, oldest first: how it began, and why it ended.',
    run: listSessionEvents,
    lines: true
  },
  'session revoke': {
    usage: 'session revoke <session id> | --user <e-mail or user id>',
    help: 'Ends one session, or all of a user. With `effective_by` in the result, a cache could not be told: by then every copy has ended.',
    run: revoke
  },
  events: {
    usage: eventsUsage,
    help: 'Tells what happened to accounts, newest first: failed sign-ins, changes of credentials and roles, what administrators did. --json has a line for each, with all that is known.',
    run: listEvents,
    row: eventRow,
    lines: true
  },
  'keys list': {
    usage: 'keys list',
    help: 'Lists the keys that sign access tokens: which signs now, which comes next, which are only published still.',
    run: listKeys
  },
  'keys rotate': {
    usage: 'keys rotate [--force]',
    help: 'Has the next key sign. Refused while gateways may keep a key set without it, unless --force.',
    run: rotateKeys
  },
  'gateway create': {
    usage: gatewayUsage.create,
    help: 'Makes a gateway. Its secret is shown once, here, and kept as a hash.',
    run: ({ prisma }, args) => createGateway(prisma, args)
  },
  'gateway list': {
    usage: gatewayUsage.list,
    help: 'Lists the gateways, with their last use.',
    run: ({ prisma }, args) => listAll(prisma, args)
  },
  'gateway rotate': {
    usage: gatewayUsage.rotate,
    help: 'Gives a gateway a new secret, shown once; the one before stays good until the next change.',
    run: ({ prisma }, args) => rotateSecret(prisma, args)
  },
  'gateway disable': {
    usage: gatewayUsage.disable,
    help: 'Refuses a gateway from now on, on every node within seconds.',
    run: ({ prisma }, args) => disable(prisma, args)
  },
  retention: {
    usage: 'retention',
    help: 'Removes sessions, with their events, that ended longer ago than SESSION_RETENTION_SECONDS, and account events older than ACCOUNT_EVENT_RETENTION_SECONDS, as a server does every hour.',
    run: retention
  }
}

/**
 * Runs one operation. @throws Refusal for words that name none, or are not written as it wants them
 */
export async function runCommand(
  holdfast: Holdfast,
  { operation, args, password }: ControlRequest,
  onProgress: Progress = () => {}
): Promise<unknown> {
  const known = Object.hasOwn(operations, operation) ? operations[operation] : undefined
  if (!known) throw new AppError('invalid_input', `there is no operation ${operation}`)
  try {
    return await actingAsOperator(() => known.run(holdfast, args, { onProgress, password }))
  } catch (error) {
    if (!(
      error instanceof Error &&
      'code' in error &&
      String(error.code).startsWith('ERR_PARSE_ARGS')
    ))
      throw error
    throw new AppError('invalid_input', `${error.message}\nusage: holdfast ${known.usage}`, {
      cause: error
    })
  }
}

async function list({ prisma }: Holdfast, args: string[]): Promise<unknown> {
  const options = {
    all: { type: 'boolean', default: false },
    limit: { type: 'string', default: '100' },
    after: { type: 'string' }
  } as const
  const {
    values: { all, limit, after },
    positionals: [who = '', ...rest]
  } = parseArgs({ args, options, allowPositionals: true })
  if (!who || rest.length > 0)
    throw new AppError('invalid_input', `usage: holdfast ${operations['session list']?.usage}`)
  const wanted = { limit: limitOf(limit), after }
  if (all)
    return (await listSessionHistory(prisma, await getUserIdOrPast(prisma, who), wanted)).map(
      showPastSession
    )
  const rows = await listSessions(prisma, { userId: (await getUser(prisma, who)).id }, wanted)
  return rows.map(
    ({
      id,
      userId,
      name,
      issuedAt,
      lastSeenAt,
      expiresAt,
      absoluteExpiresAt,
      ipAddress,
      userAgent,
      amr,
      impersonatedBy,
      refreshCount,
      lastRefreshAt,
      lastRefreshAddress
    }) => ({
      id,
      userId,
      name,
      issuedAt,
      lastSeenAt,
      expiresAt,
      absoluteExpiresAt,
      ipAddress,
      userAgent,
      amr,
      impersonatedBy,
      refreshCount,
      lastRefreshAt,
      lastRefreshAddress
    })
  )
}

async function listSessionEvents({ prisma }: Holdfast, args: string[]): Promise<unknown> {
  const options = { limit: { type: 'string', default: '100' }, after: { type: 'string' } } as const
  const {
    values: { limit, after },
    positionals: [id = '', ...rest]
  } = parseArgs({ args, options, allowPositionals: true })
  if (!id || rest.length > 0)
    throw new AppError('invalid_input', `usage: holdfast ${operations['session events']?.usage}`)
  const found = await listSessionEventsOf(prisma, id, null, { limit: limitOf(limit), after })
  if (found.length === 0 && after === undefined)
    throw new AppError('not_found', `there is no session ${id}, or retention has removed it`)
  return found
}

async function listEvents({ prisma, hashesOf }: Holdfast, args: string[]): Promise<unknown> {
  return listEventsFor({ prisma, hashesOf, now: Date.now() }, args)
}

async function revoke({ prisma, revoker }: Holdfast, args: string[]): Promise<unknown> {
  const {
    values: { user },
    positionals: [sessionId, ...rest]
  } = parseArgs({ args, options: { user: { type: 'string' } }, allowPositionals: true })
  if (rest.length > 0 || (user === undefined) === (sessionId === undefined)) {
    throw new AppError(
      'invalid_input',
      'usage: holdfast session revoke <session id> | --user <e-mail or user id>'
    )
  }
  const revoked =
    user === undefined
      ? await revoker.revoke([sessionId ?? ''], null, 'revoked_by_operator')
      : await revoker.revokeAll(null, {
          userId: (await getUser(prisma, user)).id,
          reason: 'revoked_by_operator'
        })
  return { revoked: revoked?.count ?? 0, ...pending(revoked?.effectiveBy ?? null) }
}

async function listKeys({ signingKeys }: Holdfast, args: string[]): Promise<unknown> {
  if (args.length > 0) throw new AppError('invalid_input', 'usage: holdfast keys list')
  return signingKeys.list()
}

async function rotateKeys({ signingKeys }: Holdfast, args: string[]): Promise<unknown> {
  const {
    values: { force = false },
    positionals
  } = parseArgs({ args, options: { force: { type: 'boolean' } }, allowPositionals: true })
  if (positionals.length > 0)
    throw new AppError('invalid_input', 'usage: holdfast keys rotate [--force]')
  const waitSeconds = await signingKeys.rotate({ force })
  if (waitSeconds !== null) {
    throw new Error(
      `the next key has not been published long enough: gateways may keep a key set without it for ${waitSeconds} s more. Rotate then, or use --force and have them refuse tokens until they fetch it`
    )
  }
  return signingKeys.list()
}

async function retention(
  { prisma, config }: Holdfast,
  args: string[],
  { onProgress }: OperationInput
): Promise<unknown> {
  if (args.length > 0) throw new AppError('invalid_input', 'usage: holdfast retention')
  const total = await countEnded(prisma, config.sessionRetentionSeconds)
  onProgress(0, total)
  const removed = await purgeEnded(prisma, config.sessionRetentionSeconds, (removed) =>
    onProgress(removed, total)
  )
  return {
    removed,
    removedEvents: await purgeAccountEvents(prisma, config.accountEventRetentionSeconds)
  }
}
