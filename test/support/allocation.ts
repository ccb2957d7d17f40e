import { answer, startApp } from './child.js'
import { until } from './poll.js'

/*
 * A server that tells its parent how many bytes a warm check of a session allocates. Started with
 * --expose-gc and a large young generation, so that nothing is collected while it counts.
 */
const { app, bearer } = await startApp()
const { reader } = app.holdfast
const credential = { kind: 'signed', value: bearer } as const
const CHECKS = 2_000

function isKnown(): boolean {
  return reader.checkCached(credential)?.active === true
}

/**
 * Bytes for a check. Infinite where the lease ended in between, and the session was not cached any
 * more.
 */
function count(): number {
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < CHECKS; i++) {
    if (!isKnown()) return Infinity
  }
  return (process.memoryUsage().heapUsed - before) / CHECKS
}

// Interpreted code allocates more than compiled code. The least of several counts is the code's
// own.
let bytes = Infinity
for (let i = 0; i < 12; i++) {
  // Between the counts the lease is renewed.
  await until(
    'the session to be known',
    async () => (await reader.check(credential)).active && isKnown()
  )
  bytes = Math.min(bytes, count())
}
await app.close()
answer({ bytes })
