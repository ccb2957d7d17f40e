import { HoldfastError, StaleError } from './errors.js'
import { parseKept, toSaved, toText, type Kept, type Saved, type TokenSet } from './saved.js'
import { memoryStorage, type Storage } from './storage.js'

export { HoldfastError, StaleError } from './errors.js'
export { localStorageAdapter, memoryStorage, type Storage } from './storage.js'

/** What a client is made with. */
export interface HoldfastClientOptions {
  /** Where the server is: its origin, with the prefix of a host application. */
  baseUrl: string
  /** Where the session is kept: in memory by default. `cookie`: no token is seen by script at all. */
  storage?: Storage | 'cookie'
  /** Further origins whose requests carry the access token. */
  origins?: readonly string[]
  fetch?: typeof fetch
  /** 16 random bytes. By default those of `crypto.getRandomValues`. */
  random?: () => Uint8Array
  /** Milliseconds since 1970, and milliseconds that never go back. */
  clock?: { now: () => number; monotonic: () => number }
  /** The locks between tabs. By default `navigator.locks`, where there are any. */
  locks?: Pick<LockManager, 'request'> | null
  /** The name of the device in the list of sessions. */
  deviceName?: string
}

/** What happens to a session. `cause` says why it ended; `signed_out` was asked for here. */
export interface HoldfastEvents {
  signedIn: { sessionId: string | null }
  signedOut: { cause: string }
  refreshed: { sessionId: string }
  /** Whether the session is valid is not known at present. Nobody is signed out. */
  stale: { retryAfterMs: number }
}

/** A person, as the server shows them. */
export interface HoldfastUser {
  id: string
  email: string
  emailVerified: boolean
  name: string
  image: string | null
  roles: string[]
}

/** A session, as the server shows it. Times are RFC 3339. */
export interface HoldfastSession {
  id: string
  userId: string
  issuedAt: string
  expiresAt: string
  lastSeenAt: string
  name: string | null
  [field: string]: unknown
}

/** What a sign-in or sign-up leads to. */
export type SignedIn =
  | { status: 'signed_in' }
  /** The code of the second factor must follow: `verifySecondFactor`. */
  | { status: 'second_factor' }
  /** The address must be proven first: a mail is on its way. */
  | { status: 'verify_email' }

interface Answer {
  twoFactorRedirect?: boolean
  challenge?: string
  tokens?: TokenSet
  token?: string | null
  device_token?: string
}

/** The causes with which a session is over. Nothing else ends it. */
const OVER =
  /^(session_(revoked|expired|unknown)|user_(banned|gone)|refresh_(reused|unknown|malformed))$/

/** How long a tab waits for another one's refresh, in milliseconds. Then it goes on without. */
const LOCK_MS = 5_000
/** How long an answer is waited for, where the platform can tell, in milliseconds. */
const ANSWER_MS = 20_000
const FIRST_BACKOFF_MS = 1_000
const LONGEST_BACKOFF_MS = 60_000

/** A client of Holdfast, for browsers, React Native and Node. */
export type HoldfastClient = ReturnType<typeof createHoldfast>

/**
 * Makes a client. It keeps one session, refreshes its tokens before they end, and takes nothing but
 * the server's word for a sign-out.
 *
 * @throws Error where there is no source of random numbers
 */
export function createHoldfast({
  baseUrl,
  storage: wanted = memoryStorage(),
  origins = [],
  fetch: send = (...request) => fetch(...request),
  random = () => crypto.getRandomValues(new Uint8Array(16)),
  clock = { now: () => Date.now(), monotonic: () => performance.now() },
  locks = globalThis.navigator?.locks ?? null,
  deviceName
}: HoldfastClientOptions) {
  const base = baseUrl.replace(/\/+$/, '')
  const isCookie = wanted === 'cookie'
  const storage = isCookie ? memoryStorage() : wanted
  const allowed = new Set([new URL(base).origin, ...origins])
  const listeners = new Map<string, Set<(detail: never) => void>>()
  /**
   * The session as this process has it, and since when by `monotonic` the access token may have been
   * running: minus infinity where an earlier process has stored it, because a clock may have been set
   * back since.
   */
  let held: { saved: Saved; at: number } | null = null
  /** When storage was last read. */
  let readAt = -Infinity
  let writing: Promise<unknown> = Promise.resolve()
  let refreshing: Promise<Saved | null> | null = null
  let failures = 0
  let notBefore = 0
  let challenge: string | undefined

  const newKey = () => Array.from(random(), (byte) => byte.toString(16).padStart(2, '0')).join('')
  if (newKey().length !== 32) throw new Error('random() must give 16 bytes')

  function emit<Name extends keyof HoldfastEvents>(name: Name, detail: HoldfastEvents[Name]): void {
    for (const listener of listeners.get(name) ?? [])
      queueMicrotask(() => (listener as (detail: HoldfastEvents[Name]) => void)(detail))
  }

  async function read(): Promise<Kept> {
    const now = clock.monotonic()
    const kept = parseKept(await storage.get())
    const { session } = kept
    // What another tab has stored came after it was last read.
    if (!session) held = null
    else if (held?.saved.r !== session.r) held = { saved: session, at: readAt }
    readAt = now
    return kept
  }

  /**
   * Changes what is stored, one change after the other. With a storage that answers at once, no other
   * tab comes between the reading and the writing.
   */
  function write(change: (kept: Kept) => Kept): Promise<void> {
    const apply = (before: string | null) => {
      const text = toText(change(parseKept(before)))
      return text === null ? storage.remove() : storage.set(text)
    }
    const step = async () => {
      await writing
      const before = storage.get()
      await (before instanceof Promise ? before.then(apply) : apply(before))
    }
    const written = step()
    writing = written.catch(() => {})
    return written
  }

  /** The time before a request: the token that it brings is younger. */
  const moment = (): Moment => ({ now: clock.now(), monotonic: clock.monotonic() })

  /** Milliseconds for which the access token is valid, by whichever clock says less. */
  function leftMs(): number {
    if (held?.saved.a === undefined) return 0
    const { t, e } = held.saved
    return e * 1000 - Math.max(clock.now() - t, clock.monotonic() - held.at)
  }

  async function call(path: string, init: RequestInit = {}): Promise<Response> {
    try {
      return await send(base + path, {
        credentials: isCookie ? 'include' : 'omit',
        cache: 'no-store',
        ...('timeout' in AbortSignal ? { signal: AbortSignal.timeout(ANSWER_MS) } : {}),
        ...init
      })
    } catch {
      throw new HoldfastError(0, null, 'the server did not answer', null)
    }
  }

  async function post<T>(
    path: string,
    body: object,
    headers: Record<string, string> = {}
  ): Promise<T> {
    const response = await call(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body)
    })
    if (!response.ok) throw await toError(response)
    return (await response.json()) as T
  }

  /** Runs work while no other tab does, or after a while without. */
  async function locked<T>(work: () => Promise<T>): Promise<T> {
    if (!locks) return work()
    let hasBegun = false
    const begin = () => {
      hasBegun = true
      return work()
    }
    const waiting = new AbortController()
    const timer = setTimeout(() => waiting.abort(), LOCK_MS)
    try {
      return await locks.request(`holdfast ${base}`, { signal: waiting.signal }, begin)
    } catch (error) {
      if (hasBegun) throw error
      return work()
    } finally {
      clearTimeout(timer)
    }
  }

  /** The session after a refresh. Null where nobody is signed in. @throws StaleError */
  function refresh(): Promise<Saved | null> {
    refreshing ??= locked(refreshNow).finally(() => {
      refreshing = null
    })
    return refreshing
  }

  async function refreshNow(): Promise<Saved | null> {
    const before = held?.saved.r
    const { session } = await read()
    // Another tab was first.
    if (!session || (session.r !== before && leftMs() > margin())) return session
    const sent = moment()
    if (sent.monotonic < notBefore) throw new StaleError('the server is asked again later')
    const response = await call('/oauth2/token', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'idempotency-key': `${session.k}.${session.n}`
      },
      body: JSON.stringify({ grant_type: 'refresh_token', refresh_token: session.r })
    }).catch(() => null)
    const body = response && ((await response.json().catch(() => null)) as RefreshBody | null)
    if (response?.status === 200 && body?.refresh_token && body.session_id === session.s) {
      failures = 0
      notBefore = 0
      return keepRefreshed(session, body as TokenSet, sent)
    }
    if (
      response?.status === 400 &&
      body?.error === 'invalid_grant' &&
      OVER.test(body.cause ?? '')
    ) {
      await end(session, body.cause ?? '')
      return read().then((kept) => kept.session)
    }
    const waitMs = retryAfterMs(response) ?? backoffMs()
    failures++
    notBefore = clock.monotonic() + waitMs
    emit('stale', { retryAfterMs: waitMs })
    throw new StaleError('the server did not say whether the session is valid')
  }

  function backoffMs(): number {
    const full = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS)
    return full * (0.5 + (random()[0] ?? 0) / 512)
  }

  /** Keeps a new pair, unless the session was ended or replaced here meanwhile. */
  async function keepRefreshed(
    session: Saved,
    tokens: TokenSet,
    sent: Moment
  ): Promise<Saved | null> {
    const next = toSaved(tokens, session, newKey, sent.now)
    let isOurs = false
    await write((kept) => {
      isOurs = kept.session?.s === next.s && kept.session.n <= next.n
      return isOurs ? { ...kept, session: next } : kept
    })
    if (!isOurs) return (await read()).session
    held = { saved: next, at: sent.monotonic }
    emit('refreshed', { sessionId: next.s })
    return next
  }

  /** Ends a session here that the server says is over. Another tab may have refreshed it meanwhile. */
  async function end({ s, r }: Saved, cause: string): Promise<void> {
    let wasOurs = false
    await write((kept) => {
      wasOurs = kept.session?.s === s && kept.session.r === r
      return wasOurs ? { ...kept, session: null } : kept
    })
    if (!wasOurs) return
    held = null
    emit('signedOut', { cause })
  }

  function margin(): number {
    return Math.max(30_000, ((held?.saved.e ?? 0) * 1000) / 10)
  }

  /**
   * The access token, refreshed where it ends soon.
   *
   * @param minTtl seconds for which it must be valid; 30, or a tenth of its life, by default
   * @returns null where nobody is signed in
   * @throws StaleError where it has ended, and the server does not say whether the session is valid
   */
  async function getToken({ minTtl }: { minTtl?: number } = {}): Promise<string | null> {
    if (isCookie) throw new Error('in cookie mode no token is seen by script')
    await read()
    if (!held) return null
    const wantedMs = minTtl === undefined ? margin() : minTtl * 1000
    if (leftMs() <= wantedMs) {
      try {
        await refresh()
      } catch (error) {
        if (!(error instanceof StaleError) || leftMs() <= 0) throw error
      }
    }
    return held === null ? null : (held.saved.a ?? null)
  }

  /**
   * As the platform's `fetch`. Requests to the server, and to the origins that the client was given,
   * carry the access token. One that is refused for an ended token is sent once more.
   */
  async function fetchWithToken(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    const request = new Request(input instanceof Request ? input : new URL(input, base), init)
    if (!allowed.has(new URL(request.url).origin)) return send(request)
    if (isCookie) return send(new Request(request, { credentials: 'include' }))
    const again = request.clone()
    const first = await send(withToken(request, await getToken()))
    if (first.status !== 401 || !(await isExpired(first))) return first
    await refresh()
    return send(withToken(again, await getToken()))
  }

  async function signedIn(answer: Answer, sent: Moment): Promise<SignedIn> {
    const { tokens, device_token: device } = answer
    if (answer.twoFactorRedirect) {
      challenge = answer.challenge
      return { status: 'second_factor' }
    }
    challenge = undefined
    if (isCookie) {
      if (answer.token === null) return { status: 'verify_email' }
      emit('signedIn', { sessionId: null })
      return { status: 'signed_in' }
    }
    if (!tokens) return { status: 'verify_email' }
    const saved = toSaved(tokens, null, newKey, sent.now)
    await write((kept) => ({
      ...kept,
      session: saved,
      // The session that this one takes the place of ends with the next chance.
      out: kept.session && kept.session.s !== saved.s ? [...kept.out, kept.session.v] : kept.out,
      ...(device === undefined ? {} : { device })
    }))
    held = { saved, at: sent.monotonic }
    failures = 0
    notBefore = 0
    emit('signedIn', { sessionId: saved.s })
    void repeatSignOuts()
    return { status: 'signed_in' }
  }

  async function begin(path: string, body: object): Promise<SignedIn> {
    const { device } = parseKept(await storage.get())
    const sent = moment()
    const answer = await post<Answer>(`/api/auth${path}`, body, {
      ...(isCookie ? {} : { 'token-transport': 'body' }),
      ...(device === undefined ? {} : { 'device-token': device }),
      ...(deviceName === undefined ? {} : { 'device-name': encodeURIComponent(deviceName) }),
      ...(challenge === undefined ? {} : { 'two-factor-challenge': challenge })
    })
    return signedIn(answer, sent)
  }

  /** Sends sign-outs that were not confirmed. @returns whether all are now */
  async function repeatSignOuts(): Promise<boolean> {
    const { out } = parseKept(await storage.get())
    for (const token of out) {
      const response = await call('/oauth2/revoke', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token })
      }).catch(() => null)
      if (response?.status !== 200) return false
      await write((kept) => ({ ...kept, out: kept.out.filter((each) => each !== token) }))
    }
    return true
  }

  const withHeaders = async (): Promise<Record<string, string>> => {
    if (isCookie) return {}
    const token = await getToken()
    return token === null ? {} : { authorization: `Bearer ${token}` }
  }

  async function ask<T>(path: string, method = 'GET'): Promise<T | null> {
    const response = await call(path, { method, headers: await withHeaders() })
    if (response.status === 401) {
      const error = await toError(response)
      if (isCookie && error.code !== 'credential_missing')
        emit('signedOut', { cause: error.code ?? '' })
      return null
    }
    if (!response.ok) throw await toError(response)
    return (response.status === 204 ? null : await response.json()) as T
  }

  async function noticeOtherTabs(): Promise<void> {
    const before = held
    await read()
    if (before && !held) emit('signedOut', { cause: 'signed_out' })
    else if (!before && held) emit('signedIn', { sessionId: held.saved.s })
  }

  storage.watch?.(() => void noticeOtherTabs())
  globalThis.addEventListener?.('online', () => {
    notBefore = 0
    void repeatSignOuts()
  })
  if (!isCookie) void Promise.resolve(storage.get()).then(repeatSignOuts)

  return {
    /** @throws HoldfastError for any answer but a success */
    signUp: (person: { email: string; password: string; name: string }) =>
      begin('/sign-up/email', person),
    /** @throws HoldfastError for any answer but a success */
    signIn: (person: { email: string; password: string }) => begin('/sign-in/email', person),
    /** Ends a sign-in that waits for a second factor: by a code of the app, or a backup code. */
    verifySecondFactor: ({ code, isBackup = false }: { code: string; isBackup?: boolean }) =>
      begin(`/two-factor/verify-${isBackup ? 'backup-code' : 'totp'}`, { code }),
    /**
     * Signs out here at once. `final`: whether the server has confirmed it; else it is repeated.
     */
    async signOut(): Promise<{ final: boolean }> {
      if (isCookie) {
        const response = await call('/api/auth/sign-out', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{}'
        })
        if (!response.ok) throw await toError(response)
        emit('signedOut', { cause: 'signed_out' })
        return { final: !response.headers.has('session-revocation') }
      }
      let wasSignedIn = false
      await write((kept) => {
        wasSignedIn = kept.session !== null
        return {
          ...kept,
          session: null,
          out: kept.session ? [...kept.out, kept.session.v] : kept.out
        }
      })
      held = null
      if (wasSignedIn) emit('signedOut', { cause: 'signed_out' })
      return { final: await repeatSignOuts() }
    },
    getToken,
    fetch: fetchWithToken,
    /** Who is signed in. Null where nobody is. @throws StaleError, HoldfastError where that is not known */
    session: () => ask<{ session: HoldfastSession; user: HoldfastUser }>('/session'),
    /** The devices on which the person is signed in. */
    sessions: () => ask<{ sessions: HoldfastSession[] }>('/sessions'),
    /** Signs out another device. */
    revoke: (sessionId: string) => ask(`/sessions/${encodeURIComponent(sessionId)}`, 'DELETE'),
    /** Calls `listener` with what happens. It is never waited for. Returns how to end that. */
    on<Name extends keyof HoldfastEvents>(
      name: Name,
      listener: (detail: HoldfastEvents[Name]) => void
    ): () => void {
      const set = listeners.get(name) ?? new Set()
      listeners.set(name, set.add(listener))
      return () => set.delete(listener)
    }
  }
}

interface Moment {
  now: number
  monotonic: number
}

interface RefreshBody extends Partial<TokenSet> {
  error?: string
  cause?: string
}

function withToken(request: Request, token: string | null): Request {
  if (token === null) return request
  const headers = new Headers(request.headers)
  headers.set('authorization', `Bearer ${token}`)
  return new Request(request, { headers, credentials: 'omit' })
}

async function isExpired(response: Response): Promise<boolean> {
  const header = response.headers.get('www-authenticate') ?? ''
  if (header.includes('token_expired')) return true
  const body = (await response
    .clone()
    .json()
    .catch(() => null)) as { cause?: string } | null
  return body?.cause === 'token_expired'
}

function retryAfterMs(response: Response | null): number | null {
  const seconds = Number(response?.headers.get('retry-after') ?? Number.NaN)
  return seconds > 0 ? Math.min(seconds * 1000, 3_600_000) : null
}

async function toError(response: Response): Promise<HoldfastError> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>
  const code = body['cause'] ?? body['code']
  const message = body['detail'] ?? body['message'] ?? body['error_description']
  return new HoldfastError(
    response.status,
    typeof code === 'string' ? code.toLowerCase() : null,
    typeof message === 'string' ? message : `the server answered ${response.status}`,
    retryAfterMs(response)
  )
}
