import { Prisma, type Queryable } from '../database/database.js'
import { AppError } from '../errors.js'
import type { PageOf, PageWanted } from '../page.js'
import { pick } from '../pick.js'
import { parseRoles } from '../roles.js'
import { live } from '../session/store.js'

/** A user as lists show them. */
export interface ListedUser {
  id: string
  email: string
  name: string
  emailVerified: boolean
  roles: string[]
  banned: boolean
  secondFactor: boolean
  createdAt: Date
}

/**
 * A user as support sees them: identity, ways to sign in, what prevents a sign-in, and when they
 * were last seen.
 */
export interface DescribedUser extends ListedUser {
  image: string | null
  banReason: string | null
  /** When the ban expires. */
  banExpires: Date | null
  /** The user's ways to sign in. `credential` is a password. */
  providers: string[]
  /** Until when the second factor is locked after too many wrong codes. */
  secondFactorLockedUntil: Date | null
  /** The number of active sessions. The count stops at a thousand. */
  sessions: number
  lastSeenAt: Date | null
  updatedAt: Date
}

/**
 * Users that one statement of a search reads, sessions that are counted, and sessions that are read
 * to find when the user was last seen.
 */
const SEARCHED = 20_000
const COUNTED = 1_000

/**
 * The id and address of a user.
 *
 * @param who an e-mail address, or an id
 * @throws AppError 404 where there is no such user
 */
export async function getUser(db: Queryable, who: string): Promise<{ id: string; email: string }> {
  const select = { id: true, email: true } as const
  const user = await db.user.findUnique({
    where: who.includes('@') ? { email: who.toLowerCase() } : { id: who },
    select
  })
  if (!user)
    throw new AppError(
      'not_found',
      `there is no user ${who}. \`holdfast user list --search <part of the address or name>\` may find them`
    )
  return user
}

/**
 * As the id of `getUser`, for a user who may have been deleted: an unknown id is returned as it is.
 */
export async function getUserIdOrPast(db: Queryable, who: string): Promise<string> {
  return who.includes('@') ? (await getUser(db, who)).id : who
}

const listedColumns =
  Prisma.raw(`"id", "email", "name", "emailVerified", "role", COALESCE("banned", false) AND ("banExpires" IS NULL OR "banExpires" > clock_timestamp()) AS "banned",
  COALESCE("twoFactorEnabled", false) AS "secondFactor", "createdAt"`)

type ListedRow = Omit<ListedUser, 'roles'> & { role: string | null }

/** A page of the users, latest first. */
export async function listUsers(
  db: Queryable,
  { limit, after }: PageWanted
): Promise<ListedUser[]> {
  const rows = await db.$queryRaw<
    ListedRow[]
  >`SELECT ${listedColumns} FROM "user" ${behind(after)} ORDER BY "id" DESC LIMIT ${limit}`
  return rows.map(toListed)
}

/**
 * A page of the users whose address or name contains the text, ignoring case, latest first. Each
 * statement reads a limited number of users. All are read until the page is full, or as many as
 * `maxStatements` allow: then the page may have fewer users than wanted, or none, and still have a
 * next one.
 */
export async function searchUsers(
  db: Queryable,
  text: string,
  { limit, after }: PageWanted,
  maxStatements = Infinity
): Promise<PageOf<ListedUser>> {
  const page: ListedUser[] = []
  let last = after
  for (let statement = 0; statement < maxStatements; statement++) {
    const { found, lastRead } = await searchStep(db, text, {
      limit: limit - page.length,
      after: last
    })
    page.push(...found)
    last = lastRead
    if (last === undefined) return { page, next: null }
    if (page.length >= limit) return { page, next: page.at(-1)?.id ?? null }
  }
  return { page, next: last ?? null }
}

/** One statement of a search. `lastRead` is where the next one begins; undefined at the end. */
async function searchStep(
  db: Queryable,
  text: string,
  { limit, after }: PageWanted
): Promise<{ found: ListedUser[]; lastRead: string | undefined }> {
  const rows: (ListedRow & { lastId: string; fits: boolean })[] = await db.$queryRaw`
    WITH page AS MATERIALIZED (
      SELECT * FROM "user" ${behind(after)} ORDER BY "id" DESC LIMIT ${SEARCHED}
    ), fitting AS (
      SELECT ${listedColumns} FROM page WHERE position(lower(${text}) IN lower("email")) > 0 OR position(lower(${text}) IN lower("name")) > 0
      ORDER BY "id" DESC LIMIT ${limit}
    )
    SELECT last."id" AS "lastId", fitting."id" IS NOT NULL AS "fits", fitting.*
    FROM (SELECT min("id") AS "id" FROM page HAVING count(*) > 0) last LEFT JOIN fitting ON true ORDER BY fitting."id" DESC`
  return {
    found: rows
      .filter(({ fits }) => fits)
      .map(({ lastId: _lastId, fits: _fits, ...row }) => toListed(row)),
    lastRead: rows[0]?.lastId
  }
}

/**
 * One user, found by an index. Null where there is none.
 *
 * @param who an e-mail address, or an id
 */
export async function findListedUser(db: Queryable, who: string): Promise<ListedUser | null> {
  const isThey = who.includes('@')
    ? Prisma.sql`"email" = ${who.toLowerCase()}`
    : Prisma.sql`"id" = ${who}`
  const [row] = await db.$queryRaw<ListedRow[]>`SELECT ${listedColumns} FROM "user" WHERE ${isThey}`
  return row ? toListed(row) : null
}

/** The start of a page. Written so that PostgreSQL finds it by the index with every plan. */
function behind(after: string | undefined): Prisma.Sql {
  return after === undefined ? Prisma.empty : Prisma.sql`WHERE "id" < ${after}`
}

function toListed({ role, ...row }: ListedRow): ListedUser {
  return { ...row, roles: parseRoles(role) }
}

/** The order in which a described user is shown. */
const describedFields = [
  'id',
  'email',
  'name',
  'emailVerified',
  'image',
  'roles',
  'banned',
  'banReason',
  'banExpires',
  'providers',
  'secondFactor',
  'secondFactorLockedUntil',
  'sessions',
  'lastSeenAt',
  'createdAt',
  'updatedAt'
] as const

/** All details of a user. Null where there is none. */
export async function describeUser(db: Queryable, userId: string): Promise<DescribedUser | null> {
  type Row = ListedRow & Omit<DescribedUser, keyof ListedUser>
  const [row] = await db.$queryRaw<Row[]>`
    SELECT ${listedColumns}, "image", "banReason", "banExpires", "updatedAt",
      ARRAY(SELECT "providerId" FROM "account" WHERE "userId" = ${userId} ORDER BY "providerId" LIMIT 100) AS "providers",
      (SELECT max("lockedUntil") FROM "two_factor" WHERE "userId" = ${userId} AND "lockedUntil" > clock_timestamp()) AS "secondFactorLockedUntil",
      (SELECT count(*)::int FROM (SELECT 1 FROM "session" WHERE "userId" = ${userId} AND "impersonatedBy" IS NULL AND ${live} LIMIT ${COUNTED}) counted) AS "sessions",
      (SELECT max("lastSeenAt") FROM (
        SELECT "lastSeenAt" FROM "session" WHERE "userId" = ${userId} AND "impersonatedBy" IS NULL ORDER BY "id" DESC LIMIT ${COUNTED}) latest) AS "lastSeenAt"
    FROM "user" WHERE "id" = ${userId}`
  return row ? pick({ ...row, roles: parseRoles(row.role) }, describedFields) : null
}
