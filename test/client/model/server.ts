import type { SessionRow, UserRow } from '../../../src/session/session.js'
import { judgeRefresh, type RefreshRecord } from '../../../src/token/rotation.js'

const GRACE_SECONDS = 30
const REFRESH = /^hrt-(s\d+)-(\d+)$/

export interface ServerAnswer {
  status: number
  body?: object
  headers?: Record<string, string>
}

/** The row of one session, and what was given out for it. */
interface Family {
  session: SessionRow
  refresh: RefreshRecord['refresh']
}

const user = { id: 'ada', email: 'ada@example.com', banned: false, role: null } as UserRow

/** A server in memory. Its verdicts on refresh tokens are those of `judgeRefresh`. */
export class ModelServer {
  readonly families = new Map<string, Family>()
  /** When each access token ends, by its text, in true milliseconds. */
  readonly accessTokens = new Map<string, { sessionId: string; bornAt: number; endsAt: number }>()
  /** Called before a session ends by its revocation token. */
  onRevocation: (sessionId: string) => void = () => {}
  readonly #now: () => number
  readonly #lifeSeconds: number

  constructor(now: () => number, lifeSeconds: number) {
    this.#now = now
    this.#lifeSeconds = lifeSeconds
  }

  isAlive(id: string): boolean {
    return this.families.get(id)?.session.revokedAt === null
  }

  end(id: string, reason: string): void {
    const session = this.families.get(id)?.session
    if (session?.revokedAt !== null) return
    session.revokedAt = new Date(this.#now())
    session.revokedReason = reason
  }

  answer(path: string, headers: Headers, body: Record<string, string>): ServerAnswer {
    if (path === '/api/auth/sign-in/email') return { status: 200, body: { tokens: this.#begin() } }
    if (path === '/oauth2/token')
      return this.#refresh(body['refresh_token'] ?? '', headers.get('idempotency-key'))
    if (path === '/oauth2/revoke') {
      const [, id = ''] = /^hrv-(s\d+)$/.exec(body['token'] ?? '') ?? []
      if (this.isAlive(id)) this.onRevocation(id)
      this.end(id, 'signed_out')
      return { status: 200 }
    }
    return this.#check(headers.get('authorization')?.slice('Bearer '.length) ?? '')
  }

  #begin(): object {
    const id = `s${this.families.size}`
    const far = new Date(8.64e15)
    const session = {
      id,
      userId: user.id,
      expiresAt: far,
      absoluteExpiresAt: far,
      clientId: 'holdfast',
      revokedAt: null,
      revokedReason: null
    } as SessionRow
    this.families.set(id, {
      session,
      refresh: {
        refreshGeneration: 0,
        refreshHash: `hrt-${id}-0`,
        previousRefreshHash: null,
        rotatedAt: null,
        rotationSalt: null,
        rotationPepper: null,
        idempotencyHash: null
      }
    })
    return this.#tokens(id, 0)
  }

  #tokens(id: string, generation: number): object {
    const accessToken = `hat-${id}-${this.accessTokens.size}`
    const bornAt = this.#now()
    const endsAt = (Math.floor(bornAt / 1000) + this.#lifeSeconds) * 1000
    this.accessTokens.set(accessToken, { sessionId: id, bornAt, endsAt })
    return {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: this.#lifeSeconds,
      refresh_token: `hrt-${id}-${generation}`,
      session_id: id,
      revocation_token: `hrv-${id}`
    }
  }

  #refresh(hash: string, idempotencyHash: string | null): ServerAnswer {
    const [, sessionId = '', generation] = REFRESH.exec(hash) ?? []
    const family = this.families.get(sessionId)
    if (!family) return refuse('refresh_malformed')
    const token = { sessionId, generation: Number(generation), secret: Buffer.alloc(0), hash }
    const record: RefreshRecord = { ...family, user, now: new Date(this.#now()) }
    const verdict = judgeRefresh(record, { token, clientId: null, idempotencyHash }, GRACE_SECONDS)
    if (typeof verdict === 'object') return refuse(verdict.refuse)
    if (verdict === 'reuse') {
      this.end(sessionId, 'refresh_reused')
      return refuse('refresh_reused')
    }
    const { refresh } = family
    if (verdict === 'rotate')
      Object.assign(refresh, {
        refreshGeneration: token.generation + 1,
        refreshHash: `hrt-${sessionId}-${token.generation + 1}`,
        previousRefreshHash: hash,
        rotatedAt: record.now,
        idempotencyHash
      })
    return { status: 200, body: this.#tokens(sessionId, refresh.refreshGeneration) }
  }

  #check(accessToken: string): ServerAnswer {
    const found = this.accessTokens.get(accessToken)
    if (!found) return { status: 401, body: { cause: 'credential_missing' } }
    if (found.endsAt <= this.#now()) return { status: 401, body: { cause: 'token_expired' } }
    if (!this.isAlive(found.sessionId)) return { status: 401, body: { cause: 'session_revoked' } }
    return { status: 200, body: { session: { id: found.sessionId }, user } }
  }
}

const refuse = (cause: string): ServerAnswer => ({
  status: 400,
  body: { error: 'invalid_grant', cause }
})
