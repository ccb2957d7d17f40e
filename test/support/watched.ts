import { executionAsyncId } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { answer, startApp } from './child.js'

/*
 * A server that tells its parent whether Node watches its promises, which makes everything slower:
 * before better-auth has answered a request, during one, and after it.
 */
const { app, bearer } = await startApp()

/** Node numbers promises only while it watches them. */
async function isWatched(): Promise<boolean> {
  const ids = new Set<number>()
  for (let i = 0; i < 2; i++) await Promise.resolve().then(() => ids.add(executionAsyncId()))
  return ids.size > 1
}

const before = await isWatched()
let during = false
for (const path of ['/api/auth/get-session', '/api/auth/ok', '/session', '/openapi.json']) {
  const asked = app.inject({ path, headers: { authorization: `Bearer ${bearer}` } })
  let response: Awaited<typeof asked> | undefined
  while (!response) {
    during ||= await isWatched()
    response = await Promise.race([asked, turn(undefined)])
  }
  const { statusCode } = response
  if (statusCode !== 200) throw new Error(`${path} was answered ${statusCode}`)
}
const after = await isWatched()
await app.close()
answer({ before, during, after })
