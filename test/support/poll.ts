import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'

/**
 * Repeats until the result is truthy. Fails when the deadline passes first. Errors count as "not
 * yet".
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T> | T,
  deadlineMs = 20_000
): Promise<NonNullable<T>> {
  const deadline = Date.now() + deadlineMs
  let last: unknown = 'no answer'
  while (Date.now() < deadline) {
    try {
      const answer = await ask()
      if (answer) return answer
      last = answer
    } catch (error) {
      last = error
    }
    await sleep(25)
  }
  const said = (last instanceof Error ? last.message : inspect(last)).replace(/\s+/g, ' ').trim()
  throw new Error(`waited ${deadlineMs} ms for ${what}, and was last told: ${said}`, {
    cause: last
  })
}
