import { randomBytes } from 'node:crypto'
import { Argument, Command, Option } from '@commander-js/extra-typings'
import { operatorOrigin } from '../account/origin.js'
import { exportPerson, isExportCursor, type ExportPage } from '../user/person-export.js'
import { writeAccountEvents } from '../account/store.js'
import { FIRST_ADMINISTRATOR_MINUTES } from '../auth/first-administrator.js'
import type { PrismaClient } from '../database/database.js'
import { normalizeRole, parseRoles } from '../roles.js'
import { AppError } from '../errors.js'
import { parseBanEnd } from './ban-end.js'
import { firstAdministratorLink } from './first-administrator-link.js'
import { after, filled, limit, operation, who, type Operation } from './operation.js'
import { writePersonDocument, type PersonPage } from './person-document.js'
import { describeUser, getUser, getUserIdOrPast, listUsers, searchUsers } from '../user/store.js'

/** Records that one step of an export reads. */
const EXPORTED = 500

const roles = 'a role, or several with commas between them'

/**
 * What an operator may do with users. A password is read from standard input, or made here and
 * shown once; it is never a word of the command.
 */
export const userOperations: Record<string, Operation> = {
  'user create': operation(
    new Command()
      .description(
        'Makes a user, also while SIGN_UP is closed. Without --password-stdin a password is made, and shown once, here.'
      )
      .argument('<e-mail>', 'the address with which one signs in', filled)
      .option('--name <text>', 'what people call the user; what stands before the @ without')
      .option('--role <roles>', roles, 'user')
      .option('--password-stdin', 'reads the password from standard input'),
    async ({ auth }, [email], { name, role }, { password: given }) => {
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
    },
    { asks: ({ passwordStdin }) => (passwordStdin ? 'stdin' : null) }
  ),
  'user admin-link': operation(
    new Command().description(
      `Makes a link with which somebody who can sign in becomes the first administrator. It works once, for ${FIRST_ADMINISTRATOR_MINUTES} minutes, while there is no administrator. It is shown once, here.`
    ),
    async (holdfast) => {
      if (!holdfast.config.pages)
        throw new AppError(
          'invalid_input',
          'the page of the link is off (PAGES): use `holdfast user set-role <e-mail> admin`'
        )
      const link = await firstAdministratorLink(holdfast)
      if (link === null)
        throw new AppError(
          'invalid_input',
          'there is an administrator already: `holdfast user set-role <e-mail> admin` makes another one'
        )
      return { link }
    }
  ),
  'user list': operation(
    new Command()
      .description('Lists users, latest first.')
      .option('--search <text>', 'those with this in their address or name')
      .addOption(limit)
      .addOption(after),
    async ({ prisma }, _args, { search, limit, after }) =>
      search === undefined || search === ''
        ? listUsers(prisma, { limit, after })
        : (await searchUsers(prisma, search, { limit, after })).page,
    {
      row: ({ id, email, name, roles, banned, createdAt }) => ({
        id,
        email,
        name,
        roles,
        banned: banned === true ? 'banned' : '',
        createdAt
      })
    }
  ),
  'user show': operation(
    new Command()
      .description(
        'Shows a user: roles, ban, second factor, how many active sessions there are, and when they were last here.'
      )
      .addArgument(who),
    async ({ prisma }, [named]) => {
      const { id } = await getUser(prisma, named)
      const user = await describeUser(prisma, id)
      if (!user) throw new AppError('not_found', `there is no user ${named}`)
      return user
    }
  ),
  'user ban': operation(
    new Command()
      .description(
        'Bans a user and ends all sessions: no node says "active" of one any more when it ends. Without --until the ban lasts until it is lifted.'
      )
      .addArgument(who)
      .option('--reason <text>', 'why')
      .option(
        '--until <time>',
        'when it ends: 30m, 12h, 7d or 2w from now, a day or a time with its zone',
        parseBanEnd
      ),
    async ({ prisma, auth }, [named], { reason = null, until = null }) => {
      const user = await getUser(prisma, named)
      const ban = { banned: true, banReason: reason, banExpires: until }
      const effectiveBy = await auth.users.update(user.id, ban)
      return { ...user, ...ban, ...pending(effectiveBy) }
    }
  ),
  'user unban': operation(
    new Command()
      .description('Lifts a ban. The sessions that it ended stay ended.')
      .addArgument(who),
    async ({ prisma, auth }, [named]) => {
      const user = await getUser(prisma, named)
      const effectiveBy = await auth.users.update(user.id, {
        banned: false,
        banReason: null,
        banExpires: null
      })
      return { ...user, banned: false, ...pending(effectiveBy) }
    }
  ),
  'user delete': operation(
    new Command()
      .description(
        'Deletes a user with all ways to sign in, and ends all sessions. Ended sessions and events stay until retention, with addresses and devices. It may be said again, with the id of a user who is gone.'
      )
      .addArgument(who)
      .option('--purge', 'takes from what stays, at once, what names the person'),
    async ({ prisma, auth }, [named], { purge }, { onProgress }) => {
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
  ),
  'user export': operation(
    new Command()
      .description(
        "Writes all that is stored of a person as one JSON document, without hashes, secrets and tokens. The account's events tell of it."
      )
      .addArgument(who)
      .addOption(new Option('--after <place>').hideHelp()),
    ({ prisma }, [named], { after }) => exportPage(prisma, named, after),
    {
      paged: {
        nextOf: (page) => (page as ExportPage).next,
        write: (pages, write) =>
          writePersonDocument(pages as AsyncIterable<PersonPage>, new Date(), write)
      }
    }
  ),
  'user set-password': operation(
    new Command()
      .description('Sets a password and ends all sessions. It asks for it on a terminal.')
      .addArgument(who)
      .option('--password-stdin', 'reads the password from standard input: a pipe or a file')
      .addOption(
        new Option('--generate', 'makes a password, and shows it once').conflicts('passwordStdin')
      ),
    async ({ prisma, auth }, [named], { generate }, { password: given }) => {
      const password = generate ? generatePassword() : given
      if (password === undefined) throw new AppError('invalid_input', 'there is no password')
      const user = await getUser(prisma, named)
      const effectiveBy = await auth.users.setPassword(user.id, password)
      return { ...user, ...(generate ? { password } : {}), ...pending(effectiveBy) }
    },
    {
      asks: ({ generate, passwordStdin }) => (generate ? null : passwordStdin ? 'stdin' : 'prompt')
    }
  ),
  'user set-role': operation(
    new Command()
      .description(
        'Sets the roles of a user. Every cache knows before it ends; impersonations by that user end.'
      )
      .addArgument(who)
      .addArgument(new Argument('<roles>', roles).argParser(filled)),
    async ({ prisma, auth }, [named, role]) => {
      const { id } = await getUser(prisma, named)
      const effectiveBy = await auth.users.update(id, { role })
      return { id, roles: parseRoles(normalizeRole(role)), ...pending(effectiveBy) }
    }
  )
}

/** A page of an export, with whose it is. */
async function exportPage(
  prisma: PrismaClient,
  named: string,
  after: string | undefined
): Promise<PersonPage> {
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
