import type { SessionRecord, SessionRow, UserRow } from '../session/session.js'

/** The version of this encoding. A process that does not know it treats the copy as missing. */
const FORM = 2

type Packed = readonly unknown[]

const UNKNOWN_LENGTH = 3

/** A decoded copy: the session as the store had it at one time, or that there was none. */
export interface Copy {
  record: SessionRecord | null
  /**
   * The database's clock when the store was read, in milliseconds. The copy's age is counted from
   * here.
   */
  readAt: number
  /** How long the copy may live, counted from `readAt`, in milliseconds. */
  livesMs: number
}

/** A copy that says "there is no such session". */
export function encodeUnknown(readAt: number, livesMs: number): string {
  return JSON.stringify([FORM, livesMs, readAt])
}

/**
 * Encodes a session for caches: the rows with the token's hash, never a token. Values are in a
 * fixed order, and dates are milliseconds, most of them relative to the session's start. With names
 * and ISO dates a copy would take twice the room and seven times as long to read.
 *
 * @param livesMs how long the copy may live, counted from the store read
 */
export function encodeRecord({ session: s, user, now }: SessionRecord, livesMs: number): string {
  const begun = s.issuedAt.getTime()
  const since = (date: Date) => date.getTime() - begun
  return JSON.stringify([
    FORM,
    livesMs,
    begun,
    since(now),
    s.token,
    s.userId,
    since(s.updatedAt),
    since(s.expiresAt),
    since(s.absoluteExpiresAt),
    inMs(s.revokedAt),
    s.revokedReason,
    s.version,
    s.ipAddress,
    s.userAgent,
    s.name,
    since(s.lastSeenAt),
    s.amr,
    since(s.authTime),
    s.impersonatedBy,
    s.clientId,
    user && encodeUser(user)
  ])
}

/**
 * Decodes a copy. Its `now` is the database's clock at the store read. Null for another encoding,
 * and for anything that is not a copy.
 */
export function decodeCopy(id: string, text: string): Copy | null {
  const packed = parsePacked(text)
  if (packed?.[0] !== FORM) return null
  if (packed.length === UNKNOWN_LENGTH)
    return { record: null, livesMs: packed[1] as number, readAt: packed[2] as number }
  const [
    ,
    livesMs,
    begun,
    now,
    token,
    userId,
    updatedAt,
    expiresAt,
    absoluteExpiresAt,
    revokedAt,
    revokedReason,
    version,
    ipAddress,
    userAgent,
    name,
    lastSeenAt,
    amr,
    authTime,
    impersonatedBy,
    clientId,
    user
  ] = packed as [
    number,
    number,
    number,
    number,
    string,
    string,
    number,
    number,
    number,
    number | null,
    string | null,
    number,
    string | null,
    string | null,
    string | null,
    number,
    string[],
    number,
    string | null,
    string,
    Packed | null
  ]
  const at = (since: number) => new Date(begun + since)
  const session: SessionRow = {
    id,
    token,
    userId,
    issuedAt: at(0),
    updatedAt: at(updatedAt),
    expiresAt: at(expiresAt),
    absoluteExpiresAt: at(absoluteExpiresAt),
    revokedAt: toDate(revokedAt),
    revokedReason,
    version,
    ipAddress,
    userAgent,
    name,
    lastSeenAt: at(lastSeenAt),
    amr,
    authTime: at(authTime),
    impersonatedBy,
    clientId
  }
  return {
    record: { session, user: user && decodeUser(userId, user), now: at(now) },
    livesMs,
    readAt: begun + now
  }
}

function parsePacked(text: string): Packed | null {
  try {
    return JSON.parse(text) as Packed | null
  } catch {
    return null
  }
}

/** The copy after some time: the database's clock is carried forward. */
export function agedBy(record: SessionRecord, ageMs: number): SessionRecord {
  return {
    session: record.session,
    user: record.user,
    now: new Date(record.now.getTime() + ageMs),
    ageMs
  }
}

function encodeUser(u: UserRow): Packed {
  return [
    u.name,
    u.email,
    u.emailVerified,
    u.image,
    u.role,
    u.banned,
    u.banReason,
    inMs(u.banExpires),
    u.twoFactorEnabled,
    u.credentialEpoch,
    u.createdAt.getTime(),
    u.updatedAt.getTime()
  ]
}

function decodeUser(id: string, packed: Packed): UserRow {
  const [
    name,
    email,
    emailVerified,
    image,
    role,
    banned,
    banReason,
    banExpires,
    twoFactorEnabled,
    credentialEpoch,
    createdAt,
    updatedAt
  ] = packed as [
    string,
    string,
    boolean,
    string | null,
    string | null,
    boolean | null,
    string | null,
    number | null,
    boolean | null,
    number,
    number,
    number
  ]
  return {
    id,
    name,
    email,
    emailVerified,
    image,
    role,
    banned,
    banReason,
    banExpires: toDate(banExpires),
    twoFactorEnabled,
    credentialEpoch,
    createdAt: new Date(createdAt),
    updatedAt: new Date(updatedAt)
  }
}

function inMs(date: Date | null): number | null {
  return date && date.getTime()
}

function toDate(ms: number | null): Date | null {
  return ms === null ? null : new Date(ms)
}
