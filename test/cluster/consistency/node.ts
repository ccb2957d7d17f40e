import Fastify from 'fastify'
import { optionsFromEnvironment } from '../../../src/config.js'
import { loadHoldfast } from '../../support/weakened-build.js'

/*
 * One node of the consistency checker: the real plugin in a process of its own, which the checker
 * may stop and kill. It can be a weakened one, without the protections that HOLDFAST_TEST_LEAVE_OUT
 * names, and takes orders from its parent.
 */
export type Order =
  | { kind: 'block'; ms: number }
  | { kind: 'revoke'; sessionId: string }
  | { kind: 'revokeUser'; userId: string }
  | { kind: 'setRole'; userId: string; role: string }

export interface OrderDone {
  effectiveBy: string | null
}

const leaveOut = (process.env['HOLDFAST_TEST_LEAVE_OUT'] ?? '').split(',').filter(Boolean)
const options = optionsFromEnvironment(process.env)
const app = Fastify({ logger: { level: 'error' } })
await app.register(await loadHoldfast(leaveOut), options)

async function obey(order: Order): Promise<OrderDone> {
  if (order.kind === 'block') {
    const end = performance.now() + order.ms
    while (performance.now() < end); // nothing else runs: that is the fault
    return { effectiveBy: null }
  }
  if (order.kind === 'setRole') {
    await app.holdfast.auth.users.update(order.userId, { role: order.role })
    return { effectiveBy: null }
  }
  const revoked =
    order.kind === 'revoke'
      ? await app.holdfast.revoker.revoke([order.sessionId], null, 'revoked_by_operator')
      : await app.holdfast.revoker.revokeAll(null, {
          userId: order.userId,
          reason: 'revoked_by_operator'
        })
  return { effectiveBy: revoked?.effectiveBy?.toISOString() ?? null }
}

process.on('message', ({ id, order }: { id: number; order: Order }) => {
  obey(order).then(
    (done) => process.send?.({ id, done }),
    (error: unknown) => process.send?.({ id, error: String(error) })
  )
})
process.on('disconnect', () => process.exit(0))
await app.listen({ host: '127.0.0.1', port: options.port ?? 0 })
process.send?.({ ready: true })
