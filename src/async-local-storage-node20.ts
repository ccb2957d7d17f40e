import type { AsyncLocalStorage } from 'node:async_hooks'
import { isPromise } from 'node:util/types'

/**
 * Switches a storage off whenever no call runs in it. Before Node 24 a storage, once used, is
 * informed of every promise and every handle of the process. A check uses none, and loses 10 to 20
 * % of its speed by that (`bench/README.md`). A call is over when the promise that it returned has
 * settled: work that it leaves running may find no value. That promise counts as handled.
 *
 * Two kinds of storage are left unchanged: one in a Node that does not need this, and one that is
 * already in use, because uncounted calls may be running in it.
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
