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
  const ask = () =>
    client.session().then(
      (found) => set(found ? { status: 'signed_in', ...found } : nobody),
      // Nobody is signed out by an outage.
      () => set({ ...state, status: 'stale' })
    )
  client.on('signedIn', () => void ask())
  client.on('signedOut', () => set(nobody))
  let hasAsked = initial !== pending
  const store: Store = {
    subscribe(onChange) {
      listeners.add(onChange)
      if (!hasAsked) {
        hasAsked = true
        void ask()
      }
      return () => listeners.delete(onChange)
    },
    get: () => state
  }
  stores.set(client, store)
  return store
}
