import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { deriveKeys } from '../src/secrets/keys.js'
import { hashPassword } from '../src/auth/password.js'
import { mintSessionToken, signToken } from '../src/session/session-token.js'
import { firstRefreshToken } from '../src/token/refresh-token.js'
import type { LoadRequest } from './drive.js'
import { authSecret } from './stage.js'

/** A session with its client's credentials. */
export interface Ticket {
  sessionId: string
  userId: string
  bearer: string
  refreshToken: string
}

/** How many sessions a user has. */
const PER_PERSON = 4
/** Rows of one statement. */
const BATCH = 5_000

/**
 * Inserts sessions directly into the store, as sign-ins would leave them. No server has seen them
 * before they are used.
 */
export async function makeSessions(databaseUrl: string, count: number): Promise<Ticket[]> {
  const { auth, pepper } = deriveKeys(authSecret)
  const tickets: Ticket[] = []
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    for (let made = 0; made < count; made += BATCH) {
      const minted = Array.from({ length: Math.min(BATCH, count - made) }, () => {
        const session = mintSessionToken()
        return { ...session, refresh: firstRefreshToken(session.sessionId, pepper) }
      })
      const people = Array.from({ length: Math.ceil(minted.length / PER_PERSON) }, () =>
        randomUUID()
      )
      const owners = minted.map((_token, index) => people[Math.floor(index / PER_PERSON)] ?? '')
      await client.query(
        `INSERT INTO "user" ("id", "name", "email", "emailVerified", "role")
        SELECT "id", 'Ada Lovelace', "id" || '@example.com', true, 'user' FROM unnest($1::text[]) AS person ("id")`,
        [people]
      )
      await client.query(
        `INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt", "amr", "refreshHash", "rotationPepper", "ipAddress", "userAgent")
        SELECT "id", "token", "userId", now() + interval '7 days', now() + interval '90 days', '{pwd}', "refreshHash", $5, '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS made ("id", "token", "userId", "refreshHash")`,
        [
          minted.map(({ sessionId }) => sessionId),
          minted.map(({ hash }) => hash),
          owners,
          minted.map(({ refresh }) => refresh.hash),
          pepper.id
        ]
      )
      for (const [index, { sessionId, token, refresh }] of minted.entries()) {
        tickets.push({
          sessionId,
          userId: owners[index] ?? '',
          bearer: signToken(token, auth),
          refreshToken: refresh.token
        })
      }
    }
  } finally {
    await client.end()
  }
  return tickets
}

/** Creates a user who can sign in. */
export async function makePerson(
  databaseUrl: string,
  email: string,
  password: string
): Promise<void> {
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await client.query(
      `WITH person AS (INSERT INTO "user" ("id", "name", "email") VALUES ($1, 'Ada', $2))
      INSERT INTO "account" ("id", "accountId", "providerId", "userId", "password") VALUES ($1, $1, 'credential', $1, $3)`,
      [randomUUID(), email, await hashPassword(password)]
    )
  } finally {
    await client.end()
  }
}

/** Exchanges each session's refresh token. Returns the access tokens. */
export async function accessTokensOf(url: string, tickets: readonly Ticket[]): Promise<string[]> {
  const tokens: string[] = []
  for (const { refreshToken } of tickets) {
    const response = await fetch(`${url}/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken })
    })
    if (response.status !== 200)
      throw new Error(`a refresh was answered ${response.status}: ${await response.text()}`)
    tokens.push(((await response.json()) as { access_token: string }).access_token)
  }
  return tokens
}

/** Requests that check each of these sessions, as a proxy does. */
export function verifying(bearers: readonly string[]): LoadRequest[] {
  return bearers.map((bearer) => ({
    method: 'GET',
    path: '/verify',
    headers: { authorization: `Bearer ${bearer}` }
  }))
}

/** The session tokens of tickets, as bearer tokens. */
export function bearersOf(tickets: readonly Ticket[]): string[] {
  return tickets.map(({ bearer }) => bearer)
}

/** Each connection's part of a list, so that nothing in it is sent twice. */
export function parts<T>(all: readonly T[], connections: number): (connection: number) => T[] {
  return (connection) => all.filter((_item, index) => index % connections === connection)
}
