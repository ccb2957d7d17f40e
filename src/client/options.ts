import type { Locks } from './locks.js'
import type { Clock } from './time.js'
import type { Storage } from './storage.js'

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
  /** By default `Date.now` and `performance.now`. */
  clock?: Clock
  /** The locks between tabs. By default `navigator.locks`, where there are any. */
  locks?: Locks | null
  /** The name of the device in the list of sessions. */
  deviceName?: string
}

/** What happens to a session. `cause` says why it ended; `signed_out` was asked for here. */
export interface HoldfastEvents {
  signedIn: { sessionId: string | null }
  signedOut: { cause: string }
  refreshed: { sessionId: string }
  /** Whether the session is valid is not known at present. The person is still signed in. */
  stale: { retryAfterMs: number }
}
