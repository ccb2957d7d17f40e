import { createHmac, randomUUID } from 'node:crypto'
import { Pool } from 'pg'
import { deriveKeys } from '../../../src/secrets/keys.js'
import { hashPassword } from '../../../src/auth/password.js'
import { mintSessionToken } from '../../../src/session/session-token.js'

export const password = 'correct horse battery staple'
/** The session cookie's name where the base URL is http. */
const COOKIE = 'holdfast.session_token'

/** A session with its client's credentials. */
export interface Ticket {
  sessionId: string
  userId: string
  bearer: string
  cookie: string
}

export interface PersonWithSessions {
  userId: string
  email: string
  sessions: Ticket[]
}

/**
 * Inserts users and sessions directly into the store, as sign-ins would leave them. A real sign-in
 * costs an Argon2id hash, and a run needs thousands. No cache has seen them before they are used.
 */
export class People {
  readonly #pool: Pool
  readonly #secret: string
  #passwordHash: Promise<string> | null = null

  constructor(databaseUrl: string, authSecret: string) {
    this.#pool = new Pool({
      connectionString: databaseUrl,
      max: 4,
      connectionTimeoutMillis: 2_000,
      query_timeout: 4_000
    })
    this.#pool.on('error', () => {}) // the database may be restarted under it
    this.#secret = deriveKeys(authSecret).auth
  }

  /** Creates a user with this many sessions. */
  async make(sessions: number, role: 'user' | 'admin' = 'user'): Promise<PersonWithSessions> {
    const userId = randomUUID()
    const email = `${userId}@example.com`
    this.#passwordHash ??= hashPassword(password)
    const minted = Array.from({ length: sessions }, mintSessionToken)
    await this.#pool.query(
      `
      WITH person AS (
        INSERT INTO "user" ("id", "name", "email", "role") VALUES ($1, '0', $2, $3)
      ), secret AS (
        INSERT INTO "account" ("id", "accountId", "providerId", "userId", "password") VALUES ($1, $1, 'credential', $1, $4)
      )
      INSERT INTO "session" ("id", "token", "userId", "expiresAt", "absoluteExpiresAt", "amr", "reauthAt")
      SELECT "id", "token", $1, now() + interval '7 days', now() + interval '90 days', '{pwd}', now() FROM unnest($5::text[], $6::text[]) AS s ("id", "token")`,
      [
        userId,
        email,
        role,
        await this.#passwordHash,
        minted.map(({ sessionId }) => sessionId),
        minted.map(({ hash }) => hash)
      ]
    )
    return {
      userId,
      email,
      sessions: minted.map(({ sessionId, token }) => this.#ticket(sessionId, userId, token))
    }
  }

  /** Whether the store says that a session is revoked. */
  async isRevoked(sessionId: string): Promise<boolean> {
    const { rows } = await this.#pool.query<{ revoked: boolean }>(
      'SELECT "revokedAt" IS NOT NULL AS "revoked" FROM "session" WHERE "id" = $1',
      [sessionId]
    )
    return rows[0]?.revoked ?? false
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  #ticket(sessionId: string, userId: string, token: string): Ticket {
    const signed = `${token}.${createHmac('sha256', this.#secret).update(token).digest('base64')}`
    return { sessionId, userId, bearer: signed, cookie: `${COOKIE}=${encodeURIComponent(signed)}` }
  }
}

/** The ticket that a sign-in's answer holds. */
export function ticketOf(signed: string, sessionId: string, userId: string): Ticket {
  return { sessionId, userId, bearer: signed, cookie: `${COOKIE}=${encodeURIComponent(signed)}` }
}
