import { beginnings, staleCheck, steps, type Bounds, type Rule, type State } from './protocol.js'

export interface Outcome {
  states: number
  /**
   * The shortest way to a stale answer, by the names of its steps. Null when there is none within
   * the bounds.
   */
  trace: string[] | null
}

/**
 * Visits every state that the steps lead to, nearest first, until a check that starts after the 200
 * would get a stale answer.
 */
export function explore(rule: Rule, bounds: Bounds): Outcome {
  const seen = new Set<string>()
  const cameFrom: number[] = []
  const names: string[] = []
  let frontier: [state: State, id: number][] = []
  const add = (state: State, from: number, name: string, into: [State, number][]) => {
    const key = Object.values(state).join()
    if (seen.has(key)) return
    seen.add(key)
    into.push([state, names.length])
    cameFrom.push(from)
    names.push(name)
  }
  for (const state of beginnings())
    add(state, -1, state.entry ? 'begin with a shared copy' : 'begin', frontier)
  while (frontier.length > 0) {
    const next: typeof frontier = []
    for (const [state, id] of frontier) {
      const stale = staleCheck(rule, bounds, state)
      if (stale !== null)
        return { states: seen.size, trace: [...traceOf(id, cameFrom, names), stale] }
      steps(rule, bounds, state, (name, change) => {
        const after = { ...state }
        change(after)
        add(after, id, name, next)
      })
    }
    frontier = next
  }
  return { states: seen.size, trace: null }
}

function traceOf(id: number, cameFrom: readonly number[], names: readonly string[]): string[] {
  const trace: string[] = []
  for (let at = id; at >= 0; at = cameFrom[at] ?? -1) trace.unshift(names[at] ?? '')
  return trace
}
