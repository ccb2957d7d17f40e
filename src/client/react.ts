import { useSyncExternalStore } from 'react'
import type { HoldfastClient, HoldfastSession, HoldfastUser } from './client.js'

/** Who is signed in. `pending` before it is known. */
export interface SessionState {
  status: 'pending' | 'signed_in' | 'signed_out' | 'stale'
  session: HoldfastSession | null
  user: HoldfastUser | null
}

const nobody: SessionState = { status: 'signed_out', session: null, user: null }
const pending: SessionState = { status: 'pending', session: null, user: null }

interface Store {
  subscribe: (onChange: () => void) => () => void
  get: () => SessionState
}

/** How long after an outage the server is asked again, in milliseconds. */
const ASK_AGAIN_MS = 5_000

const stores = new WeakMap<HoldfastClient, Store>()

/**
 * Who is signed in, for components of React 18 and later.
 *
 * @param initial what the server that rendered the page has found out
 */
export function useSession(client: HoldfastClient, initial: SessionState = pending): SessionState {
  const store = storeOf(client, initial)
  return useSyncExternalStore(store.subscribe, store.get, () => initial)
}

function storeOf(client: HoldfastClient, initial: SessionState): Store {
  const known = stores.get(client)
  if (known) return known
  let state = initial
  const listeners = new Set<() => void>()
  const set = (next: SessionState) => {
    state = next
    for (const listener of listeners) listener()
  }
  // Only the last question counts: an answer may be older than a sign-out.
  let question = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  const ask = async () => {
    const asked = ++question
    clearTimeout(timer)
    try {
      const found = await client.session()
      if (asked === question) set(found ? { status: 'signed_in', ...found } : nobody)
    } catch {
      if (asked === question) wait()
    }
  }
  /** An outage signs nobody out. It is asked again while a component looks. */
  const wait = () => {
    set({ ...state, status: 'stale' })
    clearTimeout(timer)
    timer = setTimeout(() => {
      if (listeners.size > 0) void ask()
    }, ASK_AGAIN_MS)
  }
  client.on('signedIn', () => void ask())
  client.on('signedOut', () => {
    question++
    clearTimeout(timer)
    set(nobody)
  })
  client.on('stale', () => {
    if (state.status === 'signed_in') wait()
  })
  client.on('refreshed', () => {
    if (state.status === 'stale') void ask()
  })
  const store: Store = {
    subscribe(onChange) {
      listeners.add(onChange)
      if (state.status === 'stale' || (state.status === 'pending' && question === 0)) void ask()
      return () => listeners.delete(onChange)
    },
    get: () => state
  }
  stores.set(client, store)
  return store
}
