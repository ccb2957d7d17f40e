import type { AsyncLocalStorage } from 'node:async_hooks'
import { isPromise } from 'node:util/types'

/**
 * Switches a storage off whenever no call runs in it. Before Node 24 a storage, from its first use
 * on, is told of every promise and every handle of the process; a check, which uses none, pays 10
 * to 20 % for that (`bench/README.md`). A call is over when the promise that it returned has
 * settled: what it leaves running behind it may find no value. That promise counts as handled.
 *
 * Left as it is: a storage of a Node that watches nothing, and one that is in use already, in which
 * calls may be running that nobody counts.
 */
export function disableWhenIdle<T>(storage: AsyncLocalStorage<T>): AsyncLocalStorage<T> {
  if (!('enabled' in storage) || storage.enabled !== false) return storage
  const run = storage.run.bind(storage)
  let running = 0
  const end = () => {
    running -= 1
    if (running === 0) storage.disable()
  }
  storage.run = <R, A extends unknown[]>(value: T, call: (...args: A) => R, ...args: A): R => {
    running += 1
    let result: R | undefined
    try {
      result = run(value, call, ...args)
      return result
    } finally {
      if (isPromise(result)) result.then(end, end)
      else end()
    }
  }
  return storage
}
