import { Prisma, type Queryable } from '../database/database.js'
import { inBatches } from '../database/pace.js'
import type { Keys } from '../secrets/keys.js'
import {
  isCodeOf,
  isTokenOf,
  MAX_CODES,
  proofIdFrom,
  proofSeconds,
  type ProofIdentity,
  type ProofPurpose
} from './proof.js'

/** What a proof carries beside its address: never a secret in the clear. */
export interface ProofDetails {
  /** From where it was asked for. */
  from?: string
  userAgent?: string
  /** The new address, of a `change-confirm`. */
  newEmail?: string
  /** The address that a `not-me` restores. */
  restores?: string
  /** The second factor that a `not-me` removes, by its id: the one that its notice tells of. */
  removesFactor?: string
  /** The page of the application that a reset leads to, as an absolute address. */
  redirectTo?: string
  /** Where a sign-in by link leads on to. */
  callbackUrl?: string
  /** The account that begins with a `sign-up` or `sign-in`. */
  newUser?: NewUserDetails
  /** Whether an administrator has asked for it. */
  invited?: true
}

/** An account that waits for its proof. */
export interface NewUserDetails {
  id?: string
  name?: string
  image?: string
  /** The hash of the password (Argon2id). */
  password?: string
}

/** A proof as it is stored. */
export interface Proof extends ProofIdentity {
  purpose: ProofPurpose
  userId: string | null
  epoch: number | null
  handleHash: string | null
  details: ProofDetails | null
  createdAt: Date
  expiresAt: Date
}

export interface WantedProof {
  purpose: ProofPurpose
  /** In lower case. */
  email: string
  /** The account, where the request comes from one of its sessions. */
  userId?: string | null
  handleHash: string | null
  details?: ProofDetails
  /** By default the time of its purpose, in seconds. */
  ttlSeconds?: number
}

/** Proofs of a purpose that may live at once for one address. */
const MAX_LIVE = 3
/** The same for `not-me`: each tells of another change. */
const MAX_LIVE_NOT_ME = 30
/** Wrong codes for one address within a day. After that only links count. */
const MAX_WRONG_CODES_A_DAY = 20

const columns = Prisma.raw(
  `"id", "purpose", "email", "userId", "epoch", "handleHash", "keyId", "details", "createdAt", "expiresAt"`
)
const live = Prisma.sql`"usedAt" IS NULL AND "expiresAt" > clock_timestamp() AND "wrongCodes" < ${MAX_CODES}::int`

/**
 * Whether the account of a proof "p" is the one that was mailed: it has still this address, and these
 * credentials. A new address is not the account's yet, and a notice outlasts both.
 */
const accountStands = Prisma.sql`EXISTS (SELECT 1 FROM "user" u WHERE u."id" = p."userId" AND (p."purpose" = 'not-me'
  OR (u."credentialEpoch" = p."epoch" AND (p."purpose" = 'change-verify' OR u."email" = p."email"))))`

/** The ids of proofs, locked in their order: two statements that change several must not deadlock. */
const lockedInOrder = (which: Prisma.Sql) =>
  Prisma.sql`ARRAY(SELECT "id" FROM "proof" WHERE ${which} ORDER BY "id" FOR UPDATE)`

/**
 * Makes a proof. Where three of them live already, the newest one is used again: a request must not
 * end what an earlier one has mailed. It does the same whether or not there is such an account.
 *
 * @param db a transaction
 * @returns the proof's id
 */
export async function requestProof(
  db: Queryable,
  keys: Keys,
  { purpose, email, userId = null, handleHash, details, ttlSeconds }: WantedProof
): Promise<string> {
  const maxLive = purpose === 'not-me' ? MAX_LIVE_NOT_ME : MAX_LIVE
  await db.$queryRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`holdfast proof ${purpose} ${email}`}, 0))::text`
  if (purpose === 'change-confirm') await endOtherChanges(db, email, details?.newEmail)
  const [row] = await db.$queryRaw<{ id: string }[]>`
    WITH known AS (
      SELECT "id", "createdAt" FROM "proof" p WHERE "email" = ${email} AND "purpose" = ${purpose} AND ${live}
        AND ${isOfSameUse({ userId, details })} AND (p."epoch" IS NULL OR ${accountStands})
      ORDER BY "createdAt" DESC LIMIT ${maxLive}
    ), made AS (
      INSERT INTO "proof" ("purpose", "email", "userId", "handleHash", "keyId", "details", "expiresAt")
      SELECT ${purpose}, ${email}, ${userId}, ${handleHash}, ${keys.id}, ${details === undefined ? Prisma.sql`NULL` : Prisma.sql`${JSON.stringify(details)}::jsonb`},
        clock_timestamp() + ${ttlSeconds ?? proofSeconds[purpose]}::int * interval '1 second'
      WHERE (SELECT count(*) FROM known) < ${maxLive}
      RETURNING "id"
    )
    SELECT "id" FROM made UNION ALL
    (SELECT "id" FROM known WHERE NOT EXISTS (SELECT 1 FROM made) ORDER BY "createdAt" DESC LIMIT 1)`
  if (!row) throw new Error('a proof was neither made nor found')
  return row.id
}

/**
 * The proofs that a request may use again. One that an account asked for is of that account alone:
 * the new address of another account must not be mailed the proof of this one. A notice undoes what
 * it tells of, and nothing else.
 */
function isOfSameUse({ userId, details }: Pick<WantedProof, 'userId' | 'details'>): Prisma.Sql {
  return Prisma.sql`(${userId}::text IS NULL OR "userId" = ${userId})
    AND "details" ->> 'restores' IS NOT DISTINCT FROM ${details?.restores ?? null}::text
    AND "details" ->> 'removesFactor' IS NOT DISTINCT FROM ${details?.removesFactor ?? null}::text`
}

/** Ends the requests of an account for other new addresses: the mail tells of the last one. */
async function endOtherChanges(
  db: Queryable,
  email: string,
  newEmail: string | undefined
): Promise<void> {
  const others = Prisma.sql`"email" = ${email} AND "purpose" = 'change-confirm' AND "usedAt" IS NULL
    AND "details" ->> 'newEmail' IS DISTINCT FROM ${newEmail ?? null}::text`
  await db.$executeRaw`UPDATE "proof" SET "usedAt" = clock_timestamp() WHERE "id" = ANY(${lockedInOrder(others)})`
}

/** Finds the proof of a token, if it still counts. It changes nothing. */
export async function findProof(
  db: Queryable,
  keys: Keys,
  token: string,
  purposes: readonly ProofPurpose[]
): Promise<Proof | null> {
  const id = proofIdFrom(token)
  if (id === null) return null
  const [proof] = await db.$queryRaw<Proof[]>`
    SELECT ${columns} FROM "proof" WHERE "id" = ${id} AND "purpose" = ANY(${purposes}::text[]) AND ${live}`
  return proof && isTokenOf(keys, proof, token) ? proof : null
}

/** The outcome of a code: the proof, or why there is none. */
export type CodeOutcome = Proof | 'wrong' | 'too_many'

/**
 * Tries a code. It counts only where the proof was asked for, and each try is counted before it is
 * looked at, so that tries at once are no more than tries in turn.
 *
 * @param db a transaction
 * @returns the proof; `too_many` where the proof has ended by wrong codes, or only links count for
 *   this address today
 */
export async function tryCode(
  db: Queryable,
  keys: Keys,
  {
    email,
    purposes,
    handleHash,
    code
  }: { email: string; purposes: readonly ProofPurpose[]; handleHash: string; code: string }
): Promise<CodeOutcome> {
  // Tries at once must not each find that fewer were wrong today.
  await db.$queryRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`holdfast codes ${email}`}, 0))::text`
  const theirs = Prisma.sql`"email" = ${email} AND "purpose" = ANY(${purposes}::text[]) AND "handleHash" = ${handleHash}
    AND "usedAt" IS NULL AND "expiresAt" > clock_timestamp()`
  const [known] = await db.$queryRaw<{ today: number; here: number }[]>`
    SELECT (SELECT COALESCE(sum("wrongCodes"), 0)::int FROM "proof" WHERE "email" = ${email} AND "createdAt" > clock_timestamp() - interval '1 day') AS "today",
      (SELECT count(*)::int FROM "proof" WHERE ${theirs}) AS "here"`
  const tried = await db.$queryRaw<Proof[]>`
    UPDATE "proof" SET "wrongCodes" = "wrongCodes" + 1
    WHERE "id" = ANY(${lockedInOrder(theirs)}) AND "wrongCodes" < ${MAX_CODES}::int AND ${known?.today ?? 0}::int < ${MAX_WRONG_CODES_A_DAY}::int
    RETURNING ${columns}`
  const right = tried.find((proof) => isCodeOf(keys, proof, code))
  if (right) {
    await giveBackCode(
      db,
      tried.map(({ id }) => id)
    )
    return right
  }
  return tried.length === 0 && (known?.here ?? 0) > 0 ? 'too_many' : 'wrong'
}

/** A right code is no wrong one. */
async function giveBackCode(db: Queryable, ids: readonly string[]): Promise<void> {
  const theirs = lockedInOrder(Prisma.sql`"id" = ANY(${ids}::text[])`)
  await db.$executeRaw`UPDATE "proof" SET "wrongCodes" = GREATEST("wrongCodes" - 1, 0) WHERE "id" = ANY(${theirs})`
}

/**
 * Counts a password that is typed on a link's page, as a code: before it is looked at.
 *
 * @returns whether it may be looked at
 */
export async function takeGuess(db: Queryable, { id }: Pick<Proof, 'id'>): Promise<boolean> {
  const taken = await db.$executeRaw`
    UPDATE "proof" SET "wrongCodes" = "wrongCodes" + 1 WHERE "id" = ${id} AND ${live}`
  return taken === 1
}

/** Gives back what `takeGuess` has counted, for a right password. */
export async function giveBackGuess(db: Queryable, { id }: Pick<Proof, 'id'>): Promise<void> {
  await giveBackCode(db, [id])
}

/**
 * Uses a proof, and ends the others of its purpose and address. Call it in the transaction of what
 * it allows. It locks the account first.
 *
 * @returns whether it counts: unused, not expired, and of an account that has still this address and
 *   these credentials; of two calls with one proof, one
 */
export async function useProof(db: Queryable, proof: Proof): Promise<boolean> {
  if (proof.userId !== null)
    await db.$queryRaw`SELECT 1 FROM "user" WHERE "id" = ${proof.userId} FOR NO KEY UPDATE`
  const others = Prisma.sql`"email" = ${proof.email} AND "purpose" = ${proof.purpose} AND "usedAt" IS NULL`
  await db.$queryRaw`SELECT "id" FROM "proof" WHERE ${others} ORDER BY "id" FOR UPDATE`
  const used = await db.$executeRaw`
    UPDATE "proof" p SET "usedAt" = clock_timestamp() WHERE p."id" = ${proof.id} AND ${live} AND ${accountCondition(proof)}`
  if (used !== 1) return false
  // Each of these is about another change.
  if (proof.purpose === 'not-me') return true
  await db.$executeRaw`UPDATE "proof" SET "usedAt" = clock_timestamp() WHERE ${others}`
  return true
}

/** Which account a proof is for, and in what state that account must be. */
function accountCondition({ userId, email }: Proof): Prisma.Sql {
  if (userId === null) return Prisma.sql`NOT EXISTS (SELECT 1 FROM "user" WHERE "email" = ${email})`
  return accountStands
}

/**
 * Notes for which account a proof is, and with which credentials. The mail that carries it is about
 * to be sent. A second call changes nothing.
 */
export async function pinProof(db: Queryable, id: string, userId: string): Promise<void> {
  await db.$executeRaw`
    UPDATE "proof" p SET "userId" = u."id", "epoch" = u."credentialEpoch" FROM "user" u
    WHERE p."id" = ${id} AND u."id" = ${userId} AND p."epoch" IS NULL`
}

/**
 * Ends all proofs of an account, among them those that were not mailed yet. "This was not me" stays:
 * each is about another change.
 */
export async function endProofs(
  db: Queryable,
  { userId, email }: { userId: string; email: string }
): Promise<void> {
  const theirs = Prisma.sql`("userId" = ${userId} OR "email" = ${email}) AND "usedAt" IS NULL AND "purpose" <> 'not-me'`
  await db.$executeRaw`UPDATE "proof" SET "usedAt" = clock_timestamp() WHERE "id" = ANY(${lockedInOrder(theirs)})`
}

/**
 * Ends what other addresses were told of an account: that they may have it back. The one who has
 * restored an address must not lose it to who took it.
 */
export async function endOtherNotices(
  db: Queryable,
  { userId, email }: { userId: string; email: string }
): Promise<void> {
  const others = Prisma.sql`"userId" = ${userId} AND "email" <> ${email} AND "purpose" = 'not-me' AND "usedAt" IS NULL`
  await db.$executeRaw`UPDATE "proof" SET "usedAt" = clock_timestamp() WHERE "id" = ANY(${lockedInOrder(others)})`
}

/** Reads a proof for its mail. Null where it does not count any more. */
export async function readProof(db: Queryable, id: string): Promise<Proof | null> {
  const [proof] = await db.$queryRaw<Proof[]>`
    SELECT ${columns} FROM "proof" WHERE "id" = ${id} AND ${live}`
  return proof ?? null
}

/** Finds the sign-up that waits in the browser or app which holds a handle. */
export async function findPendingSignUp(
  db: Queryable,
  { email, handleHash }: { email: string; handleHash: string | null }
): Promise<Proof | null> {
  if (handleHash === null) return null
  const [proof] = await db.$queryRaw<Proof[]>`
    SELECT ${columns} FROM "proof" WHERE "email" = ${email} AND "purpose" = 'sign-up' AND "handleHash" = ${handleHash} AND ${live}
    ORDER BY "createdAt" DESC LIMIT 1`
  return proof ?? null
}

/**
 * Removes proofs that ended more than a day ago, in batches: wrong codes are counted for a day.
 * Several nodes may run it at once.
 *
 * @param now monotonic milliseconds
 * @returns how many were removed
 */
export async function purgeProofs(db: Queryable, now: () => number): Promise<number> {
  return inBatches(
    now,
    (rows) => db.$executeRaw`
    DELETE FROM "proof" WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM "proof" WHERE "createdAt" < statement_timestamp() - interval '1 day' AND "expiresAt" < statement_timestamp() - interval '1 day'
      ORDER BY "createdAt" LIMIT ${rows} FOR UPDATE SKIP LOCKED))`
  )
}

/** Removes what names a person. Call it in the transaction that deletes the user. */
export async function eraseMail(
  db: Queryable,
  { userId, email }: { userId: string; email: string | null }
): Promise<void> {
  await db.$executeRaw`DELETE FROM "mail" WHERE "userId" = ${userId} OR "recipient" = ${email}`
  await db.$executeRaw`DELETE FROM "proof" WHERE "userId" = ${userId} OR "email" = ${email}`
}
