import type { Family } from '../figure.js'
import { batch } from './batch.js'
import { interference } from './interference.js'
import { introspection } from './introspection.js'
import { memory } from './memory.js'
import { refresh } from './refresh.js'
import { revocation } from './revocation.js'
import { scale } from './scale.js'
import { cold, shared } from './stores.js'
import { betterAuth, verify } from './verify.js'
import { workers } from './workers.js'

/** Every family of figures, in the order in which they run. */
export const families: readonly Family[] = [
  verify,
  betterAuth,
  workers,
  introspection,
  shared,
  cold,
  batch,
  refresh,
  interference,
  scale,
  memory,
  revocation
]
