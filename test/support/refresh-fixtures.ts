import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { deriveKeys } from '../../src/secrets/keys.js'
import type { PrismaClient } from '../../src/database/database.js'
import { mintSessionToken } from '../../src/session/session-token.js'
import { insertSession } from '../../src/session/store.js'
import { firstRefreshToken } from '../../src/token/refresh-token.js'
import type { TokenSet } from '../../src/token/token-set.js'
import type { Person, Running } from './server.js'

/** A refresh family, as its client knows it. */
export interface TestFamily {
  sessionId: string
  userId: string
  refreshToken: string
}

/**
 * Inserts refresh families directly into the store, each for its own user. A real sign-in costs an
 * Argon2id hash, and tests need thousands.
 */
export async function makeFamilies(
  prisma: PrismaClient,
  authSecret: string,
  count: number
): Promise<TestFamily[]> {
  const families: TestFamily[] = []
  while (families.length < count)
    families.push(
      ...(await Promise.all(
        Array.from({ length: Math.min(8, count - families.length) }, () =>
          insertFamily(prisma, authSecret)
        )
      ))
    )
  return families
}

async function insertFamily(prisma: PrismaClient, authSecret: string): Promise<TestFamily> {
  const userId = randomUUID()
  await prisma.user.create({
    data: { id: userId, name: 'Ada', email: `${userId}@example.com`, role: 'user' }
  })
  const { sessionId, refreshToken } = await insertSessionOf(prisma, authSecret, userId)
  return { sessionId, userId, refreshToken }
}

async function insertSessionOf(
  prisma: PrismaClient,
  authSecret: string,
  userId: string,
  credentialEpoch: number | null = null
): Promise<{ sessionId: string; token: string; refreshToken: string }> {
  const pepper = deriveKeys(authSecret).peppers.current
  const { sessionId, hash, token } = mintSessionToken()
  const first = firstRefreshToken(sessionId, pepper)
  await insertSession(
    prisma,
    {
      id: sessionId,
      hash,
      userId,
      idleTtlSeconds: 604_800,
      absoluteTtlSeconds: 7_776_000,
      ipAddress: null,
      userAgent: null,
      name: null,
      amr: ['pwd'],
      impersonatedBy: null,
      impersonator: null,
      reauth: 'now',
      credentialEpoch,
      actingSessionId: null,
      replaces: null,
      sourceSessionId: null,
      refresh: { hash: first.hash, pepperId: pepper.id }
    },
    null
  )
  return { sessionId, token, refreshToken: first.token }
}

/** A session of a user, with its signed token. */
export type Device = Pick<Person, 'id' | 'sessionId' | 'bearer'>

/**
 * Inserts further sessions of a user, each with a refresh family, directly into the store and past
 * the cap.
 *
 * @param epoch the user's credential epoch when the credential was verified; it must still be the
 *   same
 */
export async function makeDevices(
  { app, options }: Running,
  id: string,
  count: number,
  epoch: number | null = null
): Promise<(Device & { refreshToken: string })[]> {
  const { prisma, auth } = app.holdfast
  return Promise.all(
    Array.from({ length: count }, async () => {
      const { sessionId, token, refreshToken } = await insertSessionOf(
        prisma,
        options.authSecret ?? '',
        id,
        epoch
      )
      return { id, sessionId, refreshToken, bearer: encodeURIComponent(auth.sign(token)) }
    })
  )
}

/** Begins one family. */
export async function makeFamily({ app, options }: Running): Promise<TestFamily> {
  const [family] = await makeFamilies(app.holdfast.prisma, options.authSecret ?? '', 1)
  if (!family) throw new Error('no family was made')
  return family
}

/**
 * An access token of a user's session, as the token routes issue it. `changed` claims are signed as
 * well.
 */
export async function accessTokenOf(
  { app }: Pick<Running, 'app'>,
  sessionId: string,
  changed: Record<string, unknown> = {}
): Promise<string> {
  const { accessTokens, prisma } = app.holdfast
  const session = await prisma.session.findUniqueOrThrow({ where: { id: sessionId } })
  const { token } = await accessTokens.issue({
    session,
    roles: ['user'],
    generation: session.refreshGeneration
  })
  return Object.keys(changed).length === 0
    ? token
    : accessTokens.sign('at+jwt', { ...decodeJwt(token), ...changed })
}

/**
 * Lets time pass for one session: every time on its row moves into the past (or, for a clock that
 * steps back, into the future).
 */
export async function elapse(
  prisma: PrismaClient,
  sessionId: string,
  seconds: number
): Promise<void> {
  await prisma.$executeRaw`
    UPDATE "session" SET "rotatedAt" = "rotatedAt" - ${seconds}::int * interval '1 second', "issuedAt" = "issuedAt" - ${seconds}::int * interval '1 second',
      "lastSeenAt" = "lastSeenAt" - ${seconds}::int * interval '1 second', "expiresAt" = "expiresAt" - ${seconds}::int * interval '1 second',
      "absoluteExpiresAt" = "absoluteExpiresAt" - ${seconds}::int * interval '1 second', "version" = "version" + 1
    WHERE "id" = ${sessionId}`
}

/** The answer to a refresh. */
export interface RefreshAnswer {
  status: number
  headers: Headers
  body: TokenSet & { error: string; error_description: string; cause: string }
}

/** Exchanges a refresh token as an OAuth client does. */
export async function refresh(
  url: string,
  refreshToken: string,
  { key, ...extra }: Record<string, string> & { key?: string } = {}
): Promise<RefreshAnswer> {
  const response = await fetch(`${url}/oauth2/token`, {
    method: 'POST',
    headers: key === undefined ? {} : { 'idempotency-key': key },
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
      ...extra
    })
  })
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as RefreshAnswer['body']
  }
}

/** "200", or the status with error and cause. */
export function outcomeOf({ status, body }: RefreshAnswer): string {
  return status === 200 ? '200' : `${status} ${body.error} ${body.cause}`
}

/** The generation that a refresh token names. */
export function generationOf(refreshToken: string): number {
  return Buffer.from(refreshToken.slice(5), 'base64url').readUInt32BE(16)
}
