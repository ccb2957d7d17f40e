import { causeOf, retryAfterMs, toError, type Answer } from './answers.js'
import { HoldfastError, StaleError } from './errors.js'
import { locked } from './locks.js'
import type { HoldfastClientOptions, HoldfastEvents } from './options.js'
import { isExpired, originOf, withToken } from './requests.js'
import {
  newest,
  parseKept,
  toSaved,
  toText,
  type Kept,
  type PendingSignOut,
  type Saved,
  type TokenSet
} from './saved.js'
import { openServer, type OptionalHeaders } from './server.js'
import type { HoldfastSession, HoldfastUser, SignedIn } from './session.js'
import { goOnWith, memoryStorage } from './storage.js'
import { createTime } from './time.js'

export { HoldfastError, StaleError } from './errors.js'
export type { Locks } from './locks.js'
export type { HoldfastClientOptions, HoldfastEvents } from './options.js'
export type { HoldfastSession, HoldfastUser, SignedIn } from './session.js'
export { localStorageAdapter, memoryStorage, type Storage } from './storage.js'
export type { Clock } from './time.js'

/** A session, and since when by `time` its access token may have been running. */
interface Held {
  saved: Saved
  at: number
}

/** The causes with which a session is over. Nothing else ends it. */
const OVER =
  /^(session_(revoked|expired|unknown)|user_(banned|gone)|refresh_(reused|unknown|malformed))$/

/**
 * A pair that is younger is not replaced, in milliseconds. A request that was given up may still
 * arrive: it must not find its token two generations old, which is how the server knows a thief.
 */
const YOUNG_MS = 60_000
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
  const { call, post } = openServer(base, send, isCookie ? 'include' : 'omit')
  const time = createTime(clock)
  const allowed = [base, ...origins].map((url) => originOf(new Request(url).url))
  const listeners = new Map<string, Set<(detail: never) => void>>()
  /** The session as this process has it. */
  let held: Held | null = null
  /** When storage was last read. Undefined: never. */
  let readAt: number | undefined
  /** The last session that ended here. Another tab's late write does not bring it back. */
  let ended: string | undefined
  /** Sign-outs of this process that are not confirmed. Storage may be full. */
  let unconfirmed: PendingSignOut[] = []
  let turn: Promise<unknown> = Promise.resolve()
  let refreshing: Promise<void> | null = null
  let failures = 0
  let notBefore = 0
  let challenge: string | undefined
  let repeating: ReturnType<typeof setTimeout> | undefined

  const newKey = () => Array.from(random(), (byte) => byte.toString(16).padStart(2, '0')).join('')
  if (newKey().length !== 32) throw new Error('random() must give 16 bytes')

  function emit<Name extends keyof HoldfastEvents>(name: Name, detail: HoldfastEvents[Name]): void {
    for (const listener of listeners.get(name) ?? [])
      queueMicrotask(() => (listener as (detail: HoldfastEvents[Name]) => void)(detail))
  }

  /** Takes over what was read from storage at `since`. */
  function adopt({ session }: Kept, since: number): void {
    const before = held?.saved.s
    if (!session || session.s === ended) held = null
    else if (held?.saved.r !== session.r) {
      // It came after storage was last read. A clock may have been set since it was stored, so that
      // the age on it is believed only of a pair that would not be replaced.
      const age = clock.now() - session.t
      const isYoung = age >= 0 && age < youngMs(session)
      held = { saved: session, at: isYoung ? since - age : (readAt ?? -Infinity) }
    }
    const hasRead = readAt !== undefined
    readAt = since
    const after = held?.saved.s
    if (!hasRead || before === after) return
    if (after === undefined) emit('signedOut', { cause: 'signed_out' })
    else emit('signedIn', { sessionId: after })
  }

  /**
   * Reads storage, and may change it. One access comes after the other. With a storage that answers
   * at once, no other tab comes between the reading and the writing.
   */
  function access(change?: (kept: Kept) => Kept): Promise<Kept> {
    const step = async () => {
      const since = time()
      const apply = async (before: string | null) => {
        const kept = parseKept(before)
        adopt(kept, since)
        if (!change) return kept
        const next = change(kept)
        next.out = newest(...next.out, ...unconfirmed)
        const text = toText(next)
        if (text === before) return next
        const write = () => (text === null ? storage.remove() : storage.set(text))
        try {
          await write()
        } catch (error) {
          // What is stored stays, unless it could refresh a session that has ended.
          if (next.session || !kept.session) throw error
          unconfirmed = newest(...next.out, ...unconfirmed)
          // Once it is gone there may be room.
          await goOnWith(storage.remove(), write)
        }
        return next
      }
      return goOnWith(storage.get(), apply)
    }
    const done = turn.then(step)
    turn = done.catch(() => {})
    return done
  }

  /** How long the access token may have been running, in milliseconds. */
  const ageOf = ({ saved, at }: Held) => (saved.a ? time() - at : Infinity)

  /** The server counts whole seconds, from the last one that had begun. */
  const leftMs = (pair: Held) =>
    pair.saved.e * 1000 - Math.min(1000, youngMs(pair.saved)) - ageOf(pair)

  const isYoung = (pair: Held) => ageOf(pair) < youngMs(pair.saved)

  /** Refreshes the pair, if that is due once it is this tab's turn. @throws StaleError */
  function refresh(isDue: (pair: Held) => boolean): Promise<void> {
    refreshing ??= locked(locks, `holdfast ${base}`, () => refreshNow(isDue)).finally(() => {
      refreshing = null
    })
    return refreshing
  }

  async function refreshNow(isDue: (pair: Held) => boolean): Promise<void> {
    await access()
    if (!held || !isDue(held)) return
    const session = held.saved
    const at = time()
    const now = clock.now()
    if (at < notBefore) throw new StaleError()
    const answer = await post(
      '/oauth2/token',
      { grant_type: 'refresh_token', refresh_token: session.r },
      { 'idempotency-key': `${session.k}.${session.n}` }
    ).catch(() => null)
    const body = answer?.body
    if (answer?.status === 200 && body?.refresh_token && body.session_id === session.s) {
      failures = 0
      notBefore = 0
      return keepRefreshed(session, body as TokenSet, now, at)
    }
    const cause = causeOf(answer)
    if (answer?.status === 400 && body?.error === 'invalid_grant' && OVER.test(cause))
      return end(session, cause)
    const waitMs = (answer && retryAfterMs(answer)) ?? backoffMs(failures++)
    notBefore = time() + waitMs
    emit('stale', { retryAfterMs: waitMs })
    throw new StaleError()
  }

  /** The time to wait after so many failures. No two clients come back together. */
  const backoffMs = (count: number) =>
    Math.min(FIRST_BACKOFF_MS * 2 ** count, LONGEST_BACKOFF_MS) * (0.5 + (random()[0] ?? 0) / 512)

  /** Keeps a new pair, unless the session has ended or was replaced here since it was asked for. */
  async function keepRefreshed(
    session: Saved,
    tokens: TokenSet,
    now: number,
    at: number
  ): Promise<void> {
    const next = toSaved(tokens, session, newKey, now)
    let isOurs = true
    const isKept = await access((kept) => {
      isOurs = kept.session?.s === next.s && kept.session.n <= next.n && ended !== next.s
      return isOurs ? { ...kept, session: next } : kept
    }).then(
      () => true,
      () => false
    )
    if (!isOurs || ended === next.s) return
    // Storage is full: the pair in it is repeated the next time, and gets the same successor.
    const { a, t, e } = next
    held = { saved: isKept ? next : { ...session, a, t, e }, at }
    emit('refreshed', { sessionId: next.s })
  }

  /** Ends a session here that the server says is over. Another tab may have a newer pair. */
  async function end({ s, r }: Saved, cause: string): Promise<void> {
    let isOurs = false
    await access((kept) => {
      isOurs = kept.session?.s === s && (kept.session.r === r || !cause.startsWith('refresh_'))
      return isOurs ? { ...kept, session: null } : kept
    }).catch(() => {})
    if (!isOurs || ended === s) return
    ended = s
    held = null
    emit('signedOut', { cause })
    // Where storage is full, no other tab may know of those that were kept beside it.
    repeatLater()
  }

  /**
   * The access token, refreshed where it ends soon.
   *
   * @param minTtl seconds for which it must be valid; 30, or a tenth of its life, by default. A token
   *   of the last minute is not replaced
   * @returns null where nobody is signed in
   * @throws StaleError where it has ended, and the server does not say whether the session is valid
   */
  async function getToken({ minTtl }: { minTtl?: number } = {}): Promise<string | null> {
    if (isCookie) throw new Error('no token is seen in cookie mode')
    await access()
    if (!held) return null
    const wantedMs = minTtl === undefined ? Math.max(30_000, held.saved.e * 100) : minTtl * 1000
    const isDue = (pair: Held) => leftMs(pair) <= wantedMs && !isYoung(pair)
    if (isDue(held)) {
      await refresh(isDue).catch((error: unknown) => {
        if (!(error instanceof StaleError)) throw error
      })
      // Time has passed, and another tab may have signed out.
      await access()
    }
    if (held === null) return null
    if (leftMs(held) <= 0) throw new StaleError()
    return held.saved.a ?? null
  }

  /**
   * As the platform's `fetch`; a path that begins with `/` is below `baseUrl`. Requests to the server,
   * and to the origins that the client was given, carry the access token. One that is refused for an
   * ended token is sent once more.
   */
  async function fetchWithToken(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    const isPath = typeof input === 'string' && input.startsWith('/')
    const request = new Request(isPath ? base + input : input, init)
    const origin = originOf(request.url)
    if (origin === null || !allowed.includes(origin)) return send(request)
    if (isCookie) return send(new Request(request, { credentials: 'include' }))
    const again = request.clone()
    const token = await getToken()
    const first = await send(withToken(request, token))
    if (token === null || first.status !== 401 || !(await isExpired(first))) return first
    await refresh((pair) => pair.saved.a === token && !isYoung(pair))
    const next = await getToken()
    return next === null || next === token ? first : send(withToken(again, next))
  }

  async function begin(
    path: string,
    body: object,
    headers: OptionalHeaders = {}
  ): Promise<SignedIn> {
    const { device } = await access()
    const at = time()
    const now = clock.now()
    const answer = await post(`/api/auth${path}`, body, {
      'token-transport': isCookie ? 'cookie' : 'body',
      'device-token': device,
      'device-name': deviceName && encodeURIComponent(deviceName),
      ...headers
    })
    if (answer.status !== 200 || !answer.body) throw toError(answer)
    if (answer.body.twoFactorRedirect) {
      challenge = answer.body.challenge
      return { status: 'second_factor' }
    }
    challenge = undefined
    const { tokens, token, device_token: newDevice } = answer.body
    if (tokens) await keepSignedIn(toSaved(tokens, null, newKey, now), at, newDevice)
    else if (token === null) return { status: 'verify_email' }
    else if (isCookie) emit('signedIn', { sessionId: null })
    else throw toError(answer)
    return { status: 'signed_in' }
  }

  async function keepSignedIn(saved: Saved, at: number, device?: string): Promise<void> {
    try {
      await access(({ session, out, ...kept }) => ({
        session: saved,
        // The session that this one takes the place of ends with the next chance.
        out: session ? [...out, session.v] : out,
        device: device ?? kept.device
      }))
    } catch (error) {
      // Storage is full: the session would be lost with the page.
      unconfirmed = newest(...unconfirmed, saved.v)
      repeatLater()
      throw error
    }
    held = { saved, at }
    failures = 0
    notBefore = 0
    emit('signedIn', { sessionId: saved.s })
    repeatLater()
  }

  /** Sends sign-outs that were not confirmed. @returns whether all are now */
  async function repeatSignOuts(): Promise<boolean> {
    let stored: PendingSignOut[] = []
    // Those for which there was no room may find it now.
    await access((kept) => {
      stored = kept.out
      return kept
    }).catch(() => {})
    let areConfirmed = true
    for (const token of newest(...stored, ...unconfirmed)) {
      const answer = await post('/oauth2/revoke', { token }).catch(() => null)
      // A network that wants to be paid says 200 as well, with a page.
      if (answer?.status === 200 && answer.text === '') {
        unconfirmed = unconfirmed.filter((each) => each !== token)
        await access((kept) => ({
          ...kept,
          out: kept.out.filter((each) => each !== token)
        })).catch(() => {})
      } else areConfirmed = false
    }
    if (!areConfirmed) {
      clearTimeout(repeating)
      repeating = setTimeout(repeatLater, backoffMs(9))
      // In Node it keeps no process alive.
      ;(repeating as { unref?: () => void }).unref?.()
    }
    return areConfirmed
  }

  const repeatLater = () => void repeatSignOuts()

  /** Asks the server as the person who is signed in. Null where nobody is. */
  async function ask(path: string, method = 'GET'): Promise<Answer | null> {
    const token = isCookie ? undefined : await getToken()
    if (token === null) return null
    const askWith = (bearer?: string) =>
      call(method, path, { authorization: bearer && `Bearer ${bearer}` })
    let answer = await askWith(token)
    const cause = causeOf(answer)
    const isOver = OVER.test(cause)
    if (answer.status === 401 && token === undefined && cause) {
      if (isOver) emit('signedOut', { cause })
      return null
    }
    if (answer.status === 401 && token !== undefined && (isOver || cause === 'token_expired')) {
      // The refresh says why it is over, or gives another token.
      await refresh((pair) => pair.saved.a === token && (isOver || !isYoung(pair)))
      const next = await getToken()
      if (next === null) return null
      if (next !== token) answer = await askWith(next)
    }
    if (answer.status >= 300) throw toError(answer)
    return answer
  }

  if (!isCookie) {
    storage.watch?.(() => void access().catch(() => {}))
    globalThis.addEventListener?.('online', () => {
      notBefore = 0
      repeatLater()
    })
    repeatLater()
  }

  return {
    /** @throws HoldfastError for any answer but a success */
    signUp: (person: { email: string; password: string; name: string }) =>
      begin('/sign-up/email', person),
    /** @throws HoldfastError for any answer but a success */
    signIn: (person: { email: string; password: string }) => begin('/sign-in/email', person),
    /** Ends a sign-in that waits for a second factor: by a code of the app, or a backup code. */
    verifySecondFactor: ({ code, isBackup = false }: { code: string; isBackup?: boolean }) =>
      begin(
        `/two-factor/verify-${isBackup ? 'backup-code' : 'totp'}`,
        { code },
        { 'two-factor-challenge': challenge }
      ),
    /**
     * Signs out here at once. `final`: whether the server has confirmed it; else it is repeated.
     *
     * @throws HoldfastError in cookie mode, where the server did not answer
     */
    async signOut(): Promise<{ final: boolean }> {
      if (isCookie) {
        const answer = await post('/api/auth/sign-out', {})
        if (answer.status !== 200) throw toError(answer)
        emit('signedOut', { cause: 'signed_out' })
        return { final: !answer.headers.has('session-revocation') }
      }
      let wasSignedIn = false
      const leave = (session: Saved | null | undefined) => {
        if (!session) return
        ended = session.s
        unconfirmed = newest(...unconfirmed, session.v)
        held = null
        wasSignedIn = true
      }
      leave(held?.saved)
      await access((kept) => {
        leave(kept.session)
        return { ...kept, session: null }
      }).catch(() => {})
      if (wasSignedIn) emit('signedOut', { cause: 'signed_out' })
      return { final: await repeatSignOuts() }
    },
    getToken,
    fetch: fetchWithToken,
    /** Who is signed in. Null where nobody is. @throws StaleError, HoldfastError where that is not known */
    session: async () =>
      ((await ask('/session'))?.body ?? null) as unknown as {
        session: HoldfastSession
        user: HoldfastUser
      } | null,
    /** The devices on which the person is signed in. Null where nobody is. */
    sessions: async () =>
      ((await ask('/sessions'))?.body ?? null) as unknown as {
        sessions: HoldfastSession[]
      } | null,
    /** Signs out another device. @throws HoldfastError for any answer but a success */
    async revoke(sessionId: string): Promise<void> {
      if (!(await ask(`/sessions/${encodeURIComponent(sessionId)}`, 'DELETE')))
        throw new HoldfastError(401, 'credential_missing', 'nobody is signed in', null)
    },
    /** Calls `listener` with what happens. It is never waited for. Returns how to end that. */
    on<Name extends keyof HoldfastEvents>(
      name: Name,
      listener: (detail: HoldfastEvents[Name]) => void
    ): () => void {
      const set = listeners.get(name) ?? new Set()
      listeners.set(name, set.add(listener))
      return () => {
        set.delete(listener)
      }
    }
  }
}

const youngMs = ({ e }: Saved) => Math.min(YOUNG_MS, e * 500)
