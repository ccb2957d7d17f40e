/** Where a client keeps its session: one text. A keychain, a file, or the `localStorage` of a page. */
export interface Storage {
  get: () => Promise<string | null> | string | null
  /** A promise is waited for, as of `remove`. */
  set: (value: string) => unknown
  remove: () => unknown
  /** Calls `listener` when another tab has changed the text. Absent where there are no tabs. */
  watch?: (listener: () => void) => void
}

/** Goes on with what a storage gives: at once where it answers at once, so that no tab comes between. */
export const goOnWith = <Given, Next>(
  given: Given | Promise<Given>,
  goOn: (given: Given) => Next
) => (given instanceof Promise ? given.then(goOn) : goOn(given))

/** Keeps the session in memory: it ends with the page or the process. */
export function memoryStorage(): Storage {
  let kept: string | null = null
  return {
    get: () => kept,
    set: (value) => (kept = value),
    remove: () => (kept = null)
  }
}

/**
 * Keeps the session in `localStorage`, for all tabs of an origin. Any script of the page can read
 * it: where scripts of others run, use the cookie mode.
 *
 * @param name of the entry
 */
export function localStorageAdapter(name = 'holdfast'): Storage {
  return {
    get: () => localStorage.getItem(name),
    set: (value) => localStorage.setItem(name, value),
    remove: () => localStorage.removeItem(name),
    watch: (listener) =>
      addEventListener('storage', (event) => {
        if (event.key === name || event.key === null) listener()
      })
  }
}
