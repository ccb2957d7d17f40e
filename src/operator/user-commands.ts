import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { operatorOrigin } from '../account/origin.js'
import { exportPerson, isExportCursor, type ExportPage } from '../user/person-export.js'
import { writeAccountEvents } from '../account/store.js'
import { normalizeRole } from '../roles.js'
import { AppError } from '../errors.js'
import type { Holdfast } from '../holdfast.js'
import type { Operation, OperationInput } from './commands.js'
import { parseRoles } from '../roles.js'
import { parseBanEnd } from './ban-end.js'
import { limitOf } from './event-commands.js'
import { writePersonDocument, type PersonPage } from './person-document.js'
import { describeUser, getUser, getUserIdOrPast, listUsers, searchUsers } from '../user/store.js'

/** Records that one step of an export reads. */
const EXPORTED = 500

const who = '<e-mail or id>'

/**
 * What an operator may do with users. A password is read from standard input, or made here and
 * shown once; it is never a word of the command.
 */
export const userOperations: Record<string, Operation> = {
  'user create': {
    usage: 'user create <e-mail> [--name <text>] [--role <role>[,<role>…]] [--password-stdin]',
    help: 'Makes a user, also while SIGN_UP is closed. Without --password-stdin a password is made, and shown once, here.',
    asks: asksForNew,
    run: create
  },
  'user list': {
    usage:
      'user list [--search <part of address or name>] [--limit <1 to 1000>] [--after <user id>]',
    help: 'Lists users, latest first: 100 of them, unless --limit says otherwise. --after goes on behind a user.',
    run: list,
    row: ({ id, email, name, roles, banned, createdAt }) => ({
      id,
      email,
      name,
      roles,
      banned: banned === true ? 'banned' : '',
      createdAt
    })
  },
  'user show': {
    usage: `user show ${who}`,
    help: 'Shows a user: roles, ban, second factor, how many active sessions there are, and when they were last here.',
    run: show
  },
  'user ban': {
    usage: `user ban ${who} [--reason <text>] [--until <time>|<number>m|h|d|w]`,
    help: 'Bans a user and ends all sessions: no node says "active" of one any more when it ends. Without --until the ban lasts until it is lifted.',
    run: ban
  },
  'user unban': {
    usage: `user unban ${who}`,
    help: 'Lifts a ban. The sessions that it ended stay ended.',
    run: unban
  },
  'user delete': {
    usage: `user delete ${who} [--purge]`,
    help: 'Deletes a user with all ways to sign in, and ends all sessions. Ended sessions and events stay until retention, with addresses and devices: --purge takes from them at once what names the person. It may be said again, with the id of a user who is gone.',
    run: remove
  },
  'user export': {
    usage: `user export ${who}`,
    help: "Writes all that is stored of a person as one JSON document, without hashes, secrets and tokens. The account's events tell of it.",
    run: exportPage,
    paged: {
      nextOf: (page) => (page as ExportPage).next,
      write: (pages, write) =>
        writePersonDocument(pages as AsyncIterable<PersonPage>, new Date(), write)
    }
  },
  'user set-password': {
    usage: `user set-password ${who} [--password-stdin | --generate]`,
    help: 'Sets a password and ends all sessions. It asks for it on a terminal; --password-stdin reads it from a pipe or file; --generate makes one, and shows it once.',
    asks: asksForPassword,
    run: setPassword
  },
  'user set-role': {
    usage: `user set-role ${who} <role>[,<role>…]`,
    help: 'Sets the roles of a user. Every cache knows before it ends; impersonations by that user end.',
    run: setRole
  }
}

async function create(
  { auth }: Holdfast,
  args: string[],
  { password: given }: OperationInput
): Promise<unknown> {
  const {
    values: { name, role = 'user' },
    words: [email = '']
  } = read('user create', args, 1, createOptions)
  const password = given ?? generatePassword()
  const created = await auth.users.create({
    email,
    name: name ?? email.split('@', 1)[0] ?? '',
    role,
    password
  })
  return {
    ...created,
    name: name ?? created.email.split('@', 1)[0],
    roles: parseRoles(normalizeRole(role)),
    ...(given === undefined ? { password } : {})
  }
}

async function list({ prisma }: Holdfast, args: string[]): Promise<unknown> {
  const {
    values: { search, limit = '100', after }
  } = read('user list', args, 0, {
    search: { type: 'string' },
    limit: { type: 'string' },
    after: { type: 'string' }
  })
  const page = { limit: limitOf(limit), after }
  return search === undefined || search === ''
    ? listUsers(prisma, page)
    : searchUsers(prisma, search, page)
}

async function show({ prisma }: Holdfast, args: string[]): Promise<unknown> {
  const {
    words: [named = '']
  } = read('user show', args, 1, {})
  const { id } = await getUser(prisma, named)
  const user = await describeUser(prisma, id)
  if (!user) throw new AppError('not_found', `there is no user ${named}`)
  return user
}

async function ban({ prisma, auth }: Holdfast, args: string[]): Promise<unknown> {
  const {
    values: { reason, until },
    words: [named = '']
  } = read('user ban', args, 1, { reason: { type: 'string' }, until: { type: 'string' } })
  const banExpires = until === undefined ? null : parseBanEnd(until, Date.now())
  const user = await getUser(prisma, named)
  const effectiveBy = await auth.users.update(user.id, {
    banned: true,
    banReason: reason ?? null,
    banExpires
  })
  return { ...user, banned: true, banReason: reason ?? null, banExpires, ...pending(effectiveBy) }
}

async function unban({ prisma, auth }: Holdfast, args: string[]): Promise<unknown> {
  const {
    words: [named = '']
  } = read('user unban', args, 1, {})
  const user = await getUser(prisma, named)
  const effectiveBy = await auth.users.update(user.id, {
    banned: false,
    banReason: null,
    banExpires: null
  })
  return { ...user, banned: false, ...pending(effectiveBy) }
}

async function remove(
  { prisma, auth }: Holdfast,
  args: string[],
  { onProgress }: OperationInput
): Promise<unknown> {
  const {
    values: { purge },
    words: [named = '']
  } = read('user delete', args, 1, { purge: { type: 'boolean' } })
  if (purge) {
    const id = await getUserIdOrPast(prisma, named)
    const done = await auth.users.erase(id, onProgress)
    if (!done)
      throw new AppError('not_found', `there is no user ${named}, and nothing is kept of one`)
    return { id, deleted: true, erased: done.erased, ...pending(done.effectiveBy) }
  }
  const user = await getUser(prisma, named)
  const deleted = await auth.users.delete(user.id)
  if (!deleted) throw new AppError('not_found', `there is no user ${named} any more`)
  return { ...user, deleted: true, ...pending(deleted.effectiveBy) }
}

async function setPassword(
  { prisma, auth }: Holdfast,
  args: string[],
  { password: given }: OperationInput
): Promise<unknown> {
  const {
    values,
    words: [named = '']
  } = read('user set-password', args, 1, passwordOptions)
  const password = values.generate ? generatePassword() : given
  if (password === undefined) throw usageError('user set-password', 'there is no password')
  const user = await getUser(prisma, named)
  const effectiveBy = await auth.users.setPassword(user.id, password)
  return { ...user, ...(values.generate ? { password } : {}), ...pending(effectiveBy) }
}

async function setRole({ prisma, auth }: Holdfast, args: string[]): Promise<unknown> {
  const {
    words: [named = '', role = '']
  } = read('user set-role', args, 2, {})
  const { id } = await getUser(prisma, named)
  const effectiveBy = await auth.users.update(id, { role })
  return { id, roles: parseRoles(normalizeRole(role)), ...pending(effectiveBy) }
}

/** A page of an export, with whose it is. */
async function exportPage({ prisma }: Holdfast, args: string[]): Promise<PersonPage> {
  const {
    values: { after },
    words: [named = '']
  } = read('user export', args, 1, { after: { type: 'string' } })
  if (after !== undefined && !isExportCursor(after))
    throw new AppError('invalid_input', '--after is no place in an export')
  const userId = await getUserIdOrPast(prisma, named)
  const page = await exportPerson(prisma, userId, { limit: EXPORTED, after })
  if (after !== undefined) return { userId, ...page }
  if (page.records.length === 0)
    throw new AppError('not_found', `there is no user ${named}, and nothing is kept of one`)
  await writeAccountEvents(prisma, operatorOrigin, [{ userId, kind: 'user_exported' }])
  return { userId, ...page }
}

/** As in the answers over HTTP: a cache could not be told, and by then every copy has ended. */
export function pending(effectiveBy: Date | null): { effective_by?: Date } {
  return effectiveBy === null ? {} : { effective_by: effectiveBy }
}

/** 120 bits, without what a shell or a person reads otherwise. */
function generatePassword(): string {
  return randomBytes(15).toString('base64url')
}

function usageError(command: string, problem: string): AppError {
  return new AppError(
    'invalid_input',
    `${problem}\nusage: holdfast ${userOperations[command]?.usage}`
  )
}

const createOptions = {
  name: { type: 'string' },
  role: { type: 'string' },
  'password-stdin': { type: 'boolean' }
} as const
const passwordOptions = {
  'password-stdin': { type: 'boolean' },
  generate: { type: 'boolean' }
} as const

function asksForNew(args: readonly string[]): 'stdin' | null {
  return read('user create', args, 1, createOptions).values['password-stdin'] ? 'stdin' : null
}

function asksForPassword(args: readonly string[]): 'stdin' | 'prompt' | null {
  const { values } = read('user set-password', args, 1, passwordOptions)
  if (values['password-stdin'] && values.generate)
    throw usageError('user set-password', '--password-stdin and --generate exclude each other')
  if (values.generate) return null
  return values['password-stdin'] ? 'stdin' : 'prompt'
}

type Options = Record<string, { readonly type: 'string' | 'boolean' }>
type Values<O extends Options> = {
  [Name in keyof O]?: O[Name]['type'] extends 'boolean' ? boolean : string
}

/**
 * Takes the words of a command apart.
 *
 * @param count how many words there must be beside the options
 * @throws Refusal that never repeats a word: one too many may be a password
 */
function read<const O extends Options>(
  command: string,
  args: readonly string[],
  count: number,
  options: O
): { values: Values<O>; words: string[] } {
  const { values, positionals: words } = parse(command, args, options)
  if (words.length === count && !words.includes('')) return { values: values as Values<O>, words }
  if (words.length > count && 'password-stdin' in options)
    throw usageError(
      command,
      'there is a word too many. A password is not written into the command, where others see it'
    )
  throw usageError(
    command,
    words.length > count ? 'there is a word too many' : 'something is missing'
  )
}

function parse(command: string, args: readonly string[], options: Options) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    throw usageError(command, error instanceof Error ? error.message : 'an option is wrong')
  }
}
