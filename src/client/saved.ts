import { parseJson } from './json.js'

/** The tokens that the server gives (RFC 6749, section 5.1). */
export interface TokenSet {
  access_token: string
  /** Seconds. */
  expires_in: number
  refresh_token: string
  session_id: string
  revocation_token: string
}

/** A session as it is kept in storage. Names are short: some storages take 2 KB. */
export interface Saved {
  /** The session's id. */
  s: string
  /** The access token. Absent where it would not fit. */
  a?: string | undefined
  /** When it was asked for, by this machine's clock, in milliseconds. */
  t: number
  /** For how long it is valid from then, in seconds. */
  e: number
  /** The refresh token. */
  r: string
  /** Random, made with the session. With `n` it is the idempotency key of the next refresh. */
  k: string
  /** How often the session was refreshed. */
  n: number
  /** Ends the session, and is good for nothing else. */
  v: string
}

/** A sign-out that the server has not confirmed: what ends that session, and nothing else. */
export type PendingSignOut = string

/** Everything that is kept. */
export interface Kept {
  session: Saved | null
  /** Sign-outs to repeat. At most a few: the oldest are dropped. */
  out: PendingSignOut[]
  /** Tells the server that this device signed in before. */
  device?: string | undefined
}

/** How many sign-outs are kept that no server has confirmed. */
const MAX_PENDING = 8
/** The largest text that every storage takes, in bytes. */
const MAX_BYTES = 2_000

/** What a stored text says. Nothing where it is damaged. */
export function parseKept(text: string | null): Kept {
  const { session, out = [], device } = (parseJson(text ?? '') ?? {}) as Partial<Kept>
  return { session: session?.r ? session : null, out, device }
}

/** The sign-outs to keep: each once, the last ones of a list. */
export const newest = (...tokens: PendingSignOut[]) => [...new Set(tokens)].slice(-MAX_PENDING)

/** The text to store. Null where nothing is kept. */
export function toText({ session, out, device }: Kept): string | null {
  if (!session && out.length === 0 && device === undefined) return null
  const text = JSON.stringify({ session, out, device })
  return text.length > MAX_BYTES && session?.a
    ? toText({ session: { ...session, a: undefined }, out, device })
    : text
}

/** The next state of a session, from what the server answered. `before`: null at a sign-in. */
export function toSaved(
  tokens: TokenSet,
  before: Saved | null,
  key: () => string,
  now: number
): Saved {
  return {
    s: tokens.session_id,
    a: tokens.access_token,
    t: now,
    e: tokens.expires_in,
    r: tokens.refresh_token,
    k: before?.k ?? key(),
    n: before ? before.n + 1 : 0,
    v: tokens.revocation_token
  }
}
